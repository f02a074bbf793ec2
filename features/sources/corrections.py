"""Corrects the clips of a source by reviews: labels that are changed, clips left out, checked windows added."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import UsageError
from features.runtime.quantities import counted
from features.sources.clip_order import limit
from features.sources.clips import Source, clip_table, numbered
from features.sources.judged import Judged, end_frame
from features.sources.judged_recordings import Recording, find_recordings
from features.sources.labels import near_labels
from features.sources.paths import unescape_path
from features.sources.review import Review
from features.sources.table_times import frame_at

_SHOWN_LABELS = 5
_PLACED = ("group", "partition")


def correct(
    source: Source, reviews: Sequence[Review], number: int | None = None, is_divided: bool = False
) -> tuple[Source, NDArray[np.bool_] | None]:
    """Corrects the clips of a source.

    A row of a review that is a clip of the source (path and start, rounded to frames as the times of tables are) finds
    its label right, changes it, or, where no label is correct, leaves the clip out. Every other row whose recording
    lies below the root makes a clip of its window, with the label that is right; where none is known it does nothing.
    Group and partition of such a clip are those that all clips of its recording have, else None.

    Args:
        source: with labels.
        reviews: in their order.
        number: of clips that a limit takes of the source, None without one; windows that are added do not count.
        is_divided: whether the partitions that the source names are those of the set, so that a window needs one.

    Returns:
        The source with the labels that are right, without the clips left out, with the windows that were added; and
        which of these clips the limit takes, bool of shape (clips,), None for all.

    Raises:
        UsageError: a row fits no clip and no recording of the source, judges a label that its clip does not have, or
            disagrees with another; a window has no partition; or no clip is left.
    """
    judgements = [judgement for review in reviews for judgement in review.judgements]
    recordings, name = find_recordings(source, judgements), source.table or source.root
    judged, placed = _clips_of(source, recordings.values())
    # A window has the end with which it becomes a clip; what makes none, wherever it stands, says nothing of that end.
    for judgement in sorted(judgements, key=lambda judgement: judgement.outcome is None):
        recording = recordings[judgement.path]
        rate_hz, frames = recording.rate_hz, recording.frames
        key = recording.path, frame_at(judgement.start_seconds, rate_hz)
        if key not in judged and key[1] >= frames:
            raise UsageError(f"{judgement.where}: {judgement.part} begins past the end of the recording, "
                             f"{frames / rate_hz:.6f} s; leave the line out")  # fmt: skip
        window = Judged(name, key[1], min(end_frame(judgement, rate_hz), frames))
        judged.setdefault(key, window).take(judgement, recording)
    by_number = {one.number: one for one in judged.values() if one.number is not None and one.decided}
    windows = {key: one for key, one in judged.items() if one.number is None and one.outcome is not None}
    by_path = {recording.path: recording for recording in recordings.values()}
    taken = _taken(source.clips, number)
    limited = [one for place, one in by_number.items() if taken is None or taken[place]]
    notes = _new_classes(source.clips, [*by_number.values(), *windows.values()])
    record = {
        "files": [review.record for review in reviews],
        "relabelled": sum(one.is_relabelled for one in limited),
        "left_out": sum(one.outcome is None for one in limited),
        "added": len(windows),
        "right": sum(one.outcome == one.label for one in limited),
    }
    clips = _relabelled(source.clips, by_number)
    kept = np.ones(len(clips), bool)
    kept[[place for place, one in by_number.items() if one.outcome is None]] = False
    clips, taken = clips.filter(pa.array(kept)), None if taken is None else taken[kept]
    if windows:
        added = _table(windows, by_path, placed, is_divided)
        clips = pa.concat_tables([clips, added.select(clips.column_names)]).unify_dictionaries()
        order = _source_order(clips)
        clips = clips.take(order)
        taken = None if taken is None else np.append(taken, np.ones(len(windows), bool))[order]
    if not len(clips):
        raise UsageError(f"the corrections leave no clip of {name}")
    notes = [*source.notes, *notes]
    return replace(source, clips=clips.combine_chunks(), notes=notes, corrections=record), taken


def corrections_sentence(record: Mapping[str, Any] | None) -> str:
    """Returns what the last paragraph says of corrections, as a manifest has them; nothing without any."""
    return "" if record is None else f" {corrections_text(record)}."


def corrections_text(record: Mapping[str, Any]) -> str:
    """Returns what corrections have changed, as a manifest has them."""
    return (
        f"{counted(record['relabelled'], 'label')} corrected, {counted(record['left_out'], 'clip')} left out, "
        f"{counted(record['added'], 'window')} added"
    )


def _taken(clips: pa.Table, number: int | None) -> NDArray[np.bool_] | None:
    """Returns which clips a limit takes, None for all."""
    if number is None or number >= len(clips):
        return None
    numbered = clips.select(["path", "start"]).append_column("number", pa.array(np.arange(len(clips))))
    taken = np.zeros(len(clips), bool)
    taken[limit(numbered, number)["number"].to_numpy()] = True
    return taken


def _clips_of(
    source: Source, recordings: Iterable[Recording]
) -> tuple[dict[tuple[str, int], Judged], dict[str, dict[str, set[str | None]]]]:
    """Returns the clips of recordings by path and start, and by path the groups and partitions that they have."""
    paths = pa.array([recording.path for recording in recordings], pa.string())
    numbers = np.flatnonzero(np.asarray(pc.is_in(source.clips["path"], value_set=paths)))
    rows = source.clips.take(pa.array(numbers)).to_pylist()
    judged: dict[tuple[str, int], Judged] = {}
    placed: dict[str, dict[str, set[str | None]]] = {}
    for number, row in zip(numbers.tolist(), rows, strict=True):
        path, start, duration = row["path"], row["start"], row["duration"]
        end = None if duration is None else start + duration
        judged[path, start] = Judged(source.table or source.root, start, end, number, row["label"])
        for name in _PLACED:
            placed.setdefault(path, {}).setdefault(name, set()).add(row.get(name))
    return judged, placed


def _relabelled(clips: pa.Table, by_number: Mapping[int, Judged]) -> pa.Table:
    """Returns clips with the labels that were corrected."""
    labels = {number: one.outcome for number, one in sorted(by_number.items()) if one.is_relabelled}
    if not labels:
        return clips
    changed = np.zeros(len(clips), bool)
    changed[list(labels)] = True
    old = clips["label"].combine_chunks().cast(pa.string())
    new = pc.replace_with_mask(old, pa.array(changed), pa.array(list(labels.values()), pa.string()))
    return clips.set_column(clips.column_names.index("label"), "label", numbered(new))


def _table(
    windows: Mapping[tuple[str, int], Judged],
    recordings: Mapping[str, Recording],
    placed: Mapping[str, Mapping[str, set[str | None]]],
    is_divided: bool,
) -> pa.Table:
    """Returns windows as clips."""
    columns: dict[str, list[str | None]] = {name: [] for name in _PLACED}
    for (path, _), window in windows.items():
        for name, values in columns.items():
            found = placed.get(path, {}).get(name, set())
            values.append(next(iter(found)) if len(found) == 1 else None)
        if is_divided and columns["partition"][-1] is None and window.decided:
            several = "no clip" if path not in placed else "clips of several partitions"
            raise UsageError(f"{window.decided.where}: {window.decided.part} becomes a clip of the partition that the "
                             f"clips of its recording have, and the source has {several} of that; leave the line out, "
                             "or divide the clips anew by --split")  # fmt: skip
    files = [recordings[path].file for path, _ in windows]
    return clip_table(
        pa.array([path for path, _ in windows], pa.string()),
        [file.size for file in files],
        [file.mtime_ns for file in files],
        start=[window.start for window in windows.values()],
        duration=[(window.end or 0) - window.start for window in windows.values()],
        label=[window.outcome for window in windows.values()],
        version=[file.version for file in files],
        **columns,
    )


def _source_order(clips: pa.Table) -> NDArray[np.int64]:
    """Returns the numbers of clips in the order of a source: of the paths' bytes, then of the starts."""
    paths = pa.array(map(unescape_path, clips["path"].to_pylist()), pa.binary())
    keys = pa.table({"path": paths, "start": clips["start"]})
    return np.asarray(pc.sort_indices(keys, [("path", "ascending"), ("start", "ascending")]), np.int64)


def _new_classes(clips: pa.Table, judged: Iterable[Judged]) -> list[str]:
    """Returns a note of labels that no clip of the source has, with what they may have been meant to be."""
    labels = sorted(pc.unique(clips["label"]).to_pylist())
    new: dict[str, str] = {}
    for one in judged:
        if one.decided is not None and one.outcome is not None and one.outcome not in labels:
            new.setdefault(one.outcome, one.decided.where)
    if not new:
        return []
    shown = [f"{label!r} ({where}; {near_labels(label, labels)})" for label, where in list(new.items())[:_SHOWN_LABELS]]
    more = f" and {len(new) - _SHOWN_LABELS} more" if len(new) > _SHOWN_LABELS else ""
    return [f"no clip of the source has these labels, which the corrections make classes: {', '.join(shown)}{more}"]
