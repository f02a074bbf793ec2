"""What became of the recordings of a scoring: a row each, out of what is said of their units."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import Reason, Reject
from features.runtime.quantities import counted, rate_text, sound_text
from features.sources.policies import Policies, refusal
from features.sources.rejects import in_order
from model.labels.output_manifest import FILES_SCHEMA
from model.scoring.part import PartNote
from model.scoring.plan import Plan


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a scoring.

    Attributes:
        table: of `FILES_SCHEMA`, all recordings that were listed, in the order of the output.
        files: number of files that were labelled.
        windows: number of windows that were labelled.
        audio_seconds: how long the labelled files are together.
        short_windows: how many of them lack a last window, as it is too short.
        rejects: files that could not be used, in the order of their paths.
        warnings: of files that were labelled all the same, in that order; a file may have several.
        empty: whether the labels have no line, as no label is probable enough.
        lines: how many lines of labels were written, beside those that stay.
        cut_outs: how many were written.
        known: how many files had their features from a set.
        events: how many of each label, the most frequent first, beside those that stay; None where none were asked for.
    """

    table: pa.Table
    files: int
    windows: int
    audio_seconds: float
    short_windows: int
    rejects: list[Reject]
    warnings: list[Reject]
    empty: bool = False
    lines: int = 0
    cut_outs: int = 0
    known: int = 0
    events: Mapping[str, int] | None = None


def outcome_of(table: pa.Table, listed: Iterable[Reject]) -> Outcome:
    """Sums up what became of recordings.

    Args:
        table: of `FILES_SCHEMA`.
        listed: files that were seen when the recordings were listed, and cannot be used.
    """
    used = table.filter(table["reason"].is_null())
    refused = table.filter(table["reason"].is_valid()).select(["path", "stage", "reason", "message", "size"])
    rejects = {row["path"]: Reject(**row) for row in refused.to_pylist()}
    for reject in listed:
        rejects.setdefault(reject.path, replace(reject, size=None))
    warned = used.filter(used["warnings"].is_valid()).select(["path", "size", "warnings"])
    warnings = [Reject(path=row["path"], size=row["size"], **warning)
                for row in warned.to_pylist() for warning in row["warnings"]]  # fmt: skip
    return Outcome(
        table=table,
        files=len(used),
        windows=int(used["windows"].to_numpy().sum()),
        audio_seconds=float(used["seconds"].to_numpy().sum()),
        short_windows=int(np.asarray(used["shortened"], np.bool_).sum()),
        rejects=in_order(rejects.values()),
        warnings=in_order(warnings),
    )


def scored_files(
    states: pa.Table,
    plan: Plan,
    notes: Sequence[PartNote],
    listed: Iterable[Reject],
    more_warnings: Iterable[Reject],
    policies: Policies,
) -> pa.Table:
    """Returns what became of the recordings of a plan, of `FILES_SCHEMA`.

    Args:
        states: of the recordings, in the order of the plan: path, size, mtime_ns, version, kept.
        plan: of their units.
        notes: what is said of these, a note a batch.
        listed: files that were seen when the recordings were listed, and cannot be used.
        more_warnings: of files, beside those of the notes.
        policies: whether truncated and silent files are used.
    """
    rejects: dict[str, Reject] = {}
    for reject in chain(*(note.rejects for note in notes), plan.rejects, listed):
        rejects.setdefault(reject.path, reject)
    found = list(chain(*(note.warnings for note in notes), more_warnings))
    warnings: dict[str, list[Reject]] = {}
    for warning in file_warnings(found, plan.units_of(warning.path for warning in found)):
        if warning.path in rejects:
            continue
        if error := refusal(warning.reason, policies):
            rejects[warning.path] = Reject(warning.path, error.stage, str(error.reason), error.message)
        else:
            warnings.setdefault(warning.path, []).append(warning)
    windows = np.bincount(plan.files, _windows(notes), len(plan.paths)).astype(np.int64)
    numbers = {path: number for number, path in enumerate(plan.paths.to_pylist()) if path in rejects}
    windows[list(numbers.values())] = 0
    columns: dict[str, list[object]] = {name: [None] * len(plan.paths) for name in ("stage", "reason", "message")}
    for path, number in numbers.items():
        for name, column in columns.items():
            column[number] = str(getattr(rejects[path], name))
    of_warnings: list[object] = [None] * len(plan.paths)
    if warnings:
        for number, path in enumerate(plan.paths.to_pylist()):
            if path in warnings and path not in rejects:
                of_warnings[number] = [{"stage": one.stage, "reason": one.reason, "message": one.message}
                                       for one in warnings[path]]  # fmt: skip
    return pa.table(
        {
            **{name: states[name] for name in states.column_names},
            "windows": windows,
            "seconds": plan.seconds,
            "shortened": plan.shortened,
            **columns,
            "warnings": of_warnings,
        },
        schema=FILES_SCHEMA,
    )


def work_sentence(figures: Mapping[str, Any]) -> str:
    """Returns what the last paragraph says first: of all recordings, and of those that were scored, how fast."""
    seconds, audio_seconds = figures["seconds"], figures["new_audio_seconds"]
    speed = f" in {seconds:.1f} s ({rate_text(audio_seconds / seconds)} times real time)."
    said = (f"{counted(figures['files'], 'file')} in = {figures['scored']:,} scored + {figures['rejected']:,} "
            f"rejected; {sound_text(figures['audio_seconds'])}, {counted(figures['clips'], 'window')}")  # fmt: skip
    if not figures["kept"] and not figures["removed"]:
        return said + speed
    said += f"; {figures['kept']:,} stay as they were"
    if removed := figures["removed"]:
        said += f", {counted(removed, 'earlier one is', 'earlier ones are')} gone"
    if not figures["new"]:
        return f"{said}, and none is new."
    return (f"{said}. New or changed: {counted(figures['new'], 'file')}, {sound_text(audio_seconds)}, "
            f"{counted(figures['new_clips'], 'window')}{speed}")  # fmt: skip


def lines_sentence(figures: Mapping[str, Any], threshold: float | str | None) -> str:
    """Returns what the last paragraph says of the lines of labels.

    Args:
        figures: of the scoring.
        threshold: as it was given; a word for each class' own.
    """
    least = "the threshold of its class" if isinstance(threshold, str) else f"--threshold {threshold or 0:g}"
    if figures["no_lines"]:
        return f" No line was written: no window has a label that reaches {least}."
    if not figures["new_clips"]:
        return ""
    new = "new " if figures["kept"] else ""
    said = f" {counted(figures['lines'], f'{new}line was', f'{new}lines were')} written"
    if left_out := figures["lines_left_out"]:
        below = "the thresholds of their classes" if isinstance(threshold, str) and left_out > 1 else least
        said += f"; {counted(left_out, 'label')} below {below} {'was' if left_out == 1 else 'were'} left out"
    return said + "."


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
