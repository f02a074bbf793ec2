"""The time lines of a page: of a recording its spectrogram, its labels over it, and its sound where there is room."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import ClipError
from features.pictures.image import spectrogram_image
from features.runtime.progress import Progress
from features.sources.paths import csv_path
from model.labels.events import SAME_SECONDS
from model.pages.card import sound_of
from model.pages.line_events import threshold_places
from model.pages.score_figures import RecordingFigures
from model.pages.scored_recordings import OpenRecording, ScoredRecordings
from model.pages.scored_table import Lines

_MOST_FRAMES = 1000
_MOST_MARKS = 2_000
_MOST_STRETCH_SECONDS = 60.0
# MP3 takes more than that; what would not have room even so is not encoded.
_LEAST_BYTES_PER_SECOND = 3_000
_MEAN_BYTES_PER_SECOND = 9_000
# Of more sound together no spectrograms are made: they are computed at a few hundred times the speed of the sound.
_MOST_TRACED_SECONDS = 6 * 3600.0


@dataclass
class ByteBudget:
    """How many bytes of a page may still be used.

    Attributes:
        left: as many.
    """

    left: int

    def take(self, num_bytes: int) -> bool:
        """Takes so many bytes; returns False, and takes none, where fewer are left."""
        if num_bytes > self.left:
            return False
        self.left -= num_bytes
        return True


def timelines(
    listed: Sequence[RecordingFigures],
    lines: Mapping[str, Lines],
    numbers: NDArray[np.int64],
    recordings: ScoredRecordings,
    budget: ByteBudget,
) -> list[dict[str, Any]]:
    """Returns the time lines of recordings, ready for JSON.

    Sounds are taken of the shortest recordings first, so that as many as possible can be heard whole; of those that do
    not fit, the windows of their most probable lines.

    Args:
        listed: the recordings, in the order of the page.
        lines: of each, by its path.
        numbers: of the page for each label of the table.
        recordings: where they are.
        budget: of bytes that their sounds take in the page.
    """
    made = []
    traced_seconds = 0.0
    progress = Progress("time lines", 2 * len(listed), "recordings")
    for number, recording in enumerate(listed):
        progress.update(number)
        of_recording = lines[recording.path]
        line = {
            "path": csv_path(recording.path),
            "seconds": recording.end_seconds,
            "lines": recording.lines,
            **_marks(of_recording, numbers),
            "stretches": [],
        }
        try:
            with recordings.open(recording.path) as opened:
                line["seconds"] = max(round(opened.seconds, 6), recording.end_seconds)
                line["rate"] = opened.info.rate_hz
                if traced_seconds + opened.seconds <= _MOST_TRACED_SECONDS:
                    traced_seconds += opened.seconds
                    trace = opened.trace()
                    line["image"] = base64.b64encode(spectrogram_image(trace, _MOST_FRAMES)).decode("ascii")
                    # The last column may reach beyond the end.
                    line["imageSeconds"] = len(trace.spectrum) * trace.spectrum_column_seconds
                else:
                    line["note"] = (
                        f"no spectrogram, as the page draws {_MOST_TRACED_SECONDS / 3600:g} h of sound at most"
                    )
        except ClipError as error:
            line["note"] = _unheard(error)
        made.append(line)
    shortest = sorted(range(len(listed)), key=lambda number: (made[number]["seconds"], number))
    for done, number in enumerate(shortest):
        progress.update(len(listed) + done)
        if "rate" in made[number]:
            _add_sound(made[number], lines[listed[number].path], recordings, budget, len(shortest) - done)
    progress.close()
    return made


def _unheard(error: ClipError) -> str:
    return f"{error.reason}: {error.message}"


def _add_sound(
    line: dict[str, Any], lines: Lines, recordings: ScoredRecordings, budget: ByteBudget, others: int
) -> None:
    """Adds the sound of a recording, or of some of its windows; the room is for `others` recordings, it among them."""
    try:
        with recordings.open(lines.paths[0]) as opened:
            if encoded_bytes(opened.seconds * _LEAST_BYTES_PER_SECOND) <= budget.left:
                sound = _sound(opened, 0.0, None)
                if budget.take(len(sound["sound"])):
                    line |= sound | {"soundSeconds": sound["seconds"], "seconds": line["seconds"]}
                    return
            most_seconds = min(_MOST_STRETCH_SECONDS, budget.left / others / encoded_bytes(_MEAN_BYTES_PER_SECOND))
            for start, end in _surest_stretches(lines, most_seconds):
                sound = _sound(opened, start, end)
                if not budget.take(len(sound["sound"])):
                    break
                line["stretches"].append({"start": start, "end": end, **sound})
    except ClipError as error:
        line["note"] = _unheard(error)


def _sound(opened: OpenRecording, start_seconds: float, end_seconds: float | None) -> dict[str, Any]:
    heard = dict(sound_of(opened.waveform(start_seconds, end_seconds), opened.info.rate_hz))
    del heard["envelope"]
    return heard


def _surest_stretches(lines: Lines, most_seconds: float) -> list[tuple[float, float]]:
    """Returns where some windows lie together, in their order: the most probable of each label, then of any."""
    order = np.lexsort((lines.start_seconds, -lines.probabilities))
    _, first = np.unique(lines.labels[order], return_index=True)
    windows: dict[tuple[float, float], None] = {}
    seconds = 0.0
    for number in [*order[np.sort(first)].tolist(), *order[:_MOST_MARKS].tolist()]:
        window = float(lines.start_seconds[number]), float(lines.end_seconds[number])
        if window not in windows and seconds + window[1] - window[0] <= most_seconds:
            windows[window] = None
            seconds += window[1] - window[0]
    stretches: list[tuple[float, float]] = []
    for start, end in sorted(windows):
        if stretches and start <= stretches[-1][1] + SAME_SECONDS:
            stretches[-1] = stretches[-1][0], max(end, stretches[-1][1])
        else:
            stretches.append((start, end))
    return stretches


def _marks(lines: Lines, numbers: NDArray[np.int64]) -> dict[str, Any]:
    """Returns the lines of a recording as marks: label, start, end, and the highest threshold that each reaches.

    Of too many, that of the highest probability stands for those of its label within a thousandth of the recording, and
    reaches from the first to the last of them.
    """
    labels, places = numbers[lines.labels], threshold_places(lines.probabilities)
    start, end = lines.start_seconds, lines.end_seconds
    joined = len(lines) > _MOST_MARKS
    if joined:
        width = float(end.max()) / _MOST_FRAMES
        columns = np.minimum((start / width).astype(np.int64), _MOST_FRAMES - 1)
        order = np.lexsort((columns, labels))
        pairs = (labels * _MOST_FRAMES + columns)[order]
        first = np.flatnonzero(np.diff(pairs, prepend=-1))
        labels, places = labels[order][first], np.maximum.reduceat(places[order], first)
        start, end = np.minimum.reduceat(start[order], first), np.maximum.reduceat(end[order], first)
        kept = np.sort(np.lexsort((start, -places))[:_MOST_MARKS])
        labels, places, start, end = labels[kept], places[kept], start[kept], end[kept]
    order = np.lexsort((labels, start))
    marks = [[int(labels[number]), _short(start[number]), _short(end[number]), int(places[number])] for number in order]
    return {"marks": marks, "joined": joined}


def _short(seconds: float) -> float:
    return round(float(seconds), 3)


def encoded_bytes(num_bytes: float) -> int:
    """Returns how many characters of base64 so many bytes are."""
    return int(num_bytes * 4 / 3) + 1
