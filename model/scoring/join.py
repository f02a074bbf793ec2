"""The union of the parts of a job: the outputs, the table of rejects, and the table of warnings.

Batches are planned in the order of the output, so it is the windows of the parts one after the other. What is said of a
recording as a whole is decided here, since its units may lie in several parts.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import google_crc32c

from features.errors import Reject, RunError
from features.io.filesystem import filesystem_of
from features.sources.policies import Policies
from features.sources.rejects import COLUMNS, in_order, to_csv
from model.labels.labels import LabelRules
from model.labels.output import LABELS, LabelsOutput, Output
from model.labels.recording_columns import RecordingColumns
from model.labels.window_rows import WindowRows, in_blocks
from model.scoring.cut_outs import CutOuts, CutOutsJob
from model.scoring.further_outputs import FurtherOutputs
from model.scoring.increment import Increment
from model.scoring.job import Parts
from model.scoring.job_folder import manifest_place
from model.scoring.outcome import Outcome, outcome_of, scored_files
from model.scoring.output_files import OutputFiles
from model.scoring.part import PartNote
from model.scoring.plan import Plan

_TABLE_COLUMNS = (*COLUMNS, "size")


@dataclass(frozen=True)
class JoinJob:
    """What joining the parts takes beside these.

    Attributes:
        outputs: the files to write.
        increment: what is scored, and what stays of an earlier output.
        rejects: files that could not be listed.
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
    increment: Increment
    rejects: list[Reject]
    allowed: Sequence[int]
    rules: LabelRules
    policies: Policies
    warnings: list[Reject] = field(default_factory=list)
    root: str = ""
    further: FurtherOutputs | None = None
    columns: RecordingColumns | None = None
    cut_outs: CutOutsJob | None = None


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
    increment = job.increment
    scored = scored_files(increment.states, plan, notes, job.rejects, job.warnings, job.policies)
    outcome = outcome_of(increment.all_files(scored), job.rejects)
    write_tables(job.outputs, outcome)
    if not outcome.files:
        first = outcome.rejects[0]
        raise RunError(
            f"every file was rejected, {len(outcome.rejects):,} in all; the first: {first.path}: {first.reason}, "
            f"{first.message}; all are in {job.outputs.rejects}"
        )
    rejected = set(scored["path"].filter(scored["reason"].is_valid()).to_pylist())
    with contextlib.ExitStack() as opened:
        outputs: list[Output] = [
            LabelsOutput(job.outputs.labels, job.rules, job.columns, increment.merge(LABELS, job.outputs.labels))
        ]
        if job.further:
            embedding = notes[0].embedding if notes else None
            outputs += job.further.outputs(job.root, job.columns, embedding, increment.merge)
        if job.cut_outs:
            outputs.append(CutOuts(job.cut_outs, job.rules.classes))
        for output in outputs:
            opened.enter_context(output)
        for rows in in_blocks(_stream(parts, plan, notes)):
            # A file is rejected as a whole: other units of it may have windows, and one that a policy refuses has too.
            wanted = rows.without(rejected).of_classes(job.allowed)
            for output in outputs:
                output.write(wanted)
        for output in outputs:
            output.keep(increment.kept_paths)
            output.complete()
        tables = {name: table for output in outputs for name, table in output.tables.items()}
        written = {form: found for output in outputs for form, found in output.checksums.items()}
        manifest = increment.manifest(outcome.table, tables, written)
        content = manifest.content()
        # A run that is killed from here on leaves tables of which some are the new ones: the next sees by it which.
        draft = manifest_place(job.outputs.parts, google_crc32c.value(content))
        filesystem_of(draft).write(draft, content)
        for output in reversed(outputs):  # the labels last
            output.finish()
    filesystem_of(job.outputs.manifest).write(job.outputs.manifest, content)
    return replace(
        outcome,
        empty=not manifest.extents[LABELS].any(),
        lines=tables[LABELS].rows,
        cut_outs=sum(output.written for output in outputs if isinstance(output, CutOuts)),
        known=sum(note.known for note in notes),
        events=job.further.counts(outputs) if job.further else None,
    )


def _stream(parts: Parts, plan: Plan, notes: Sequence[PartNote]) -> Iterator[WindowRows]:
    """Yields the windows of all parts, in the order of the output."""
    found = parts.map(parts.read, range(len(notes)), lambda number: notes[number].num_bytes)
    for number, labels in enumerate(found):
        yield labels.rows(plan.unit_paths(number))


def write_tables(outputs: OutputFiles, outcome: Outcome) -> None:
    """Writes the tables of rejects and of warnings; of these none where no file was labelled."""
    write_rejects(outputs, outcome.rejects)
    if outcome.files:
        filesystem_of(outputs.warnings).write(outputs.warnings, to_csv(outcome.warnings, _TABLE_COLUMNS))


def write_rejects(outputs: OutputFiles, rejects: Iterable[Reject]) -> None:
    """Writes the table of files that could not be used."""
    filesystem_of(outputs.rejects).write(outputs.rejects, to_csv(in_order(rejects), _TABLE_COLUMNS))


def _check_counts(parts: Parts, notes: Sequence[PartNote], planned: int) -> None:
    scored, rejected = sum(note.scored for note in notes), sum(len(note.rejects) for note in notes)
    if scored + rejected != planned:
        raise RunError(
            f"of {planned:,} units of work {scored:,} were scored and {rejected:,} rejected; this does not add up: "
            f"remove {parts.folder} and run again"
        )
