"""The union of the parts of a job: the outputs, the table of rejects, and the table of warnings.

Batches are planned in the order of the output, so it is the windows of the parts one after the other. What is said of a
recording as a whole is decided here, since its units may lie in several parts.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import Reason, Reject, RunError
from features.io.filesystem import filesystem_of
from features.sources.policies import Policies, refusal
from features.sources.rejects import COLUMNS, in_order, to_csv
from model.labels.labels import LabelRules
from model.labels.output import LabelsOutput, Output
from model.labels.recording_columns import RecordingColumns
from model.labels.window_rows import WindowRows, in_blocks
from model.scoring.cut_outs import CutOuts, CutOutsJob
from model.scoring.further_outputs import FurtherOutputs
from model.scoring.job import Parts
from model.scoring.output_files import OutputFiles
from model.scoring.part import PartNote
from model.scoring.plan import Plan

_TABLE_COLUMNS = (*COLUMNS, "size")


@dataclass(frozen=True)
class JoinJob:
    """What joining the parts takes beside these.

    Attributes:
        outputs: the files to write.
        clips: table of the files, with path and size.
        rejects: files that are in no batch, as they could not be listed or their header could not be read.
        allowed: numbers of the classes that the outputs know, all others are left out of them.
        rules: which lines a window has; its classes are those that are allowed.
        policies: whether truncated and silent files are kept.
        warnings: of files, beside those of the parts.
        root: where the paths of recordings begin.
        further: what is written beside the labels, None for nothing.
        columns: that outputs have of their recordings.
        cut_outs: what is cut out of the recordings, None for nothing.
    """

    outputs: OutputFiles
    clips: pa.Table
    rejects: list[Reject]
    allowed: Sequence[int]
    rules: LabelRules
    policies: Policies
    warnings: list[Reject] = field(default_factory=list)
    root: str = ""
    further: FurtherOutputs | None = None
    columns: RecordingColumns | None = None
    cut_outs: CutOutsJob | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of all batches.

    Attributes:
        files: number of files that were labelled.
        windows: number of windows that were labelled.
        rejects: files that could not be used, in the order of their paths.
        warnings: of files that were labelled all the same, in that order; a file may have several.
        empty: whether the file has no line, as no label is probable enough.
        cut_outs: how many were written.
        known: how many files had their features from a set.
        events: how many of each label, the most frequent first; None where none were asked for.
    """

    files: int
    windows: int
    rejects: list[Reject]
    warnings: list[Reject]
    empty: bool = False
    cut_outs: int = 0
    known: int = 0
    events: Mapping[str, int] | None = None


def join(parts: Parts, plan: Plan, job: JoinJob) -> Outcome:
    """Writes the tables of rejects and of warnings, and last the outputs.

    Args:
        parts: the folder with the parts of all batches.
        plan: of the batches.
        job: the files to write, and what they follow from beside the parts.

    Raises:
        RunError: a part is missing, damaged or of another job, the counts of the parts are not those of the plan, or
            every file was rejected.
    """
    notes = list(parts.map(parts.read_note, range(len(plan.ends))))
    _check_counts(parts, notes, len(plan.files))
    rejects: dict[str, Reject] = {}
    for reject in chain(*(note.rejects for note in notes), job.rejects):
        rejects.setdefault(reject.path, reject)
    found = list(chain(*(note.warnings for note in notes), job.warnings))
    warnings = file_warnings(found, plan.units_of(warning.path for warning in found))
    warnings = [warning for warning in warnings if warning.path not in rejects]
    refused = _refused(warnings, job.policies)
    rejects |= refused
    warnings = [warning for warning in warnings if warning.path not in refused]
    sizes = _sizes(job.clips, [*rejects, *(warning.path for warning in warnings)])
    outcome = Outcome(
        files=len(plan.paths) - len(plan.rejects) + len(job.rejects) - len(rejects),
        windows=int(_windows(notes)[~plan.are_of(rejects)].sum()),
        rejects=_with_sizes(rejects.values(), sizes),
        warnings=_with_sizes(warnings, sizes),
        known=sum(note.known for note in notes),
    )
    write_rejects(job.outputs, outcome.rejects)
    if not outcome.files:
        first = outcome.rejects[0]
        raise RunError(
            f"every file was rejected, {len(rejects):,} in all; the first: {first.path}: {first.reason}, "
            f"{first.message}; all are in {job.outputs.rejects}"
        )
    filesystem_of(job.outputs.warnings).write(job.outputs.warnings, to_csv(outcome.warnings, _TABLE_COLUMNS))
    with contextlib.ExitStack() as opened:
        labels = opened.enter_context(LabelsOutput(job.outputs.labels, job.rules, job.columns))
        outputs: list[Output] = [labels]
        if job.further:
            further = job.further.outputs(job.root, job.columns, notes[0].embedding)
            outputs += map(opened.enter_context, further)
        if job.cut_outs:
            outputs.append(opened.enter_context(CutOuts(job.cut_outs, job.rules.classes)))
        for rows in in_blocks(_stream(parts, plan, notes)):
            # A file is rejected as a whole: other units of it may have windows, and one that a policy refuses has too.
            wanted = rows.without(rejects.keys()).of_classes(job.allowed)
            for output in outputs:
                output.write(wanted)
        for output in outputs:
            output.complete()
        for output in reversed(outputs):  # the labels last
            output.finish()
    cut_outs = sum(output.written for output in outputs if isinstance(output, CutOuts))
    events = job.further.counts(outputs) if job.further else None
    return replace(outcome, empty=not labels.table.rows, cut_outs=cut_outs, events=events)


def _stream(parts: Parts, plan: Plan, notes: Sequence[PartNote]) -> Iterator[WindowRows]:
    """Yields the windows of all parts, in the order of the output."""
    found = parts.map(parts.read, range(len(notes)), lambda number: notes[number].num_bytes)
    for number, labels in enumerate(found):
        yield labels.rows(plan.unit_paths(number))


def write_rejects(outputs: OutputFiles, rejects: Iterable[Reject]) -> None:
    """Writes the table of files that could not be used."""
    filesystem_of(outputs.rejects).write(outputs.rejects, to_csv(in_order(rejects), _TABLE_COLUMNS))


def file_warnings(found: Iterable[Reject], units: Counter[str]) -> list[Reject]:
    """Returns the warnings of each file: it is silent where all units of it are, all else where any unit is.

    Args:
        found: the warnings of units.
        units: how many units each file has.
    """
    warnings = list(found)
    silent = Counter(warning.path for warning in warnings if warning.reason == Reason.SILENT)
    once = {(warning.path, warning.reason): warning for warning in warnings
            if warning.reason != Reason.SILENT or silent[warning.path] == units[warning.path]}  # fmt: skip
    return list(once.values())


def _windows(notes: Iterable[PartNote]) -> NDArray[np.int64]:
    """Returns how many windows of each unit were labelled."""
    return np.fromiter(chain.from_iterable(note.windows for note in notes), np.int64)


def _check_counts(parts: Parts, notes: Sequence[PartNote], planned: int) -> None:
    scored, rejected = sum(note.scored for note in notes), sum(len(note.rejects) for note in notes)
    if scored + rejected != planned:
        raise RunError(
            f"of {planned:,} units of work {scored:,} were scored and {rejected:,} rejected; this does not add up: "
            f"remove {parts.folder} and run again"
        )


def _refused(warnings: Iterable[Reject], policies: Policies) -> dict[str, Reject]:
    """Returns a reject for each file with a warning that the policies refuse, by path."""
    errors = ((warning.path, refusal(warning.reason, policies)) for warning in warnings)
    return {path: Reject(path, error.stage, str(error.reason), error.message)
            for path, error in errors if error}  # fmt: skip


def _sizes(clips: pa.Table, paths: list[str]) -> dict[str, int]:
    asked = clips.filter(pc.is_in(clips["path"], value_set=pa.array(paths, pa.string())))
    return dict(zip(asked["path"].to_pylist(), asked["size"].to_pylist(), strict=True))


def _with_sizes(rejects: Iterable[Reject], sizes: dict[str, int]) -> list[Reject]:
    return [replace(reject, size=sizes.get(reject.path)) for reject in in_order(rejects)]
