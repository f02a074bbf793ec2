"""From the probabilities of windows to events: a class at a time, whatever other classes say of the same window.

In this order: the probabilities are smoothed; an event begins at a window that reaches the threshold, and goes on in
both directions over windows that touch one another and reach the lower threshold that keeps it; events that are not
further apart than the gap to be merged become one; what is shorter than the least duration is left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import UsageError
from model.inference.classes import NOT_NAMED

DEFAULT_THRESHOLD = 0.5
EVENTS_SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "start_seconds": pa.float64(),
        "end_seconds": pa.float64(),
        "label": pa.string(),
        "peak_probability": pa.float64(),
        "mean_probability": pa.float64(),
        "windows": pa.int64(),
    }
)
"""The columns of a table of events."""

_OPTIONS = {
    "keep_threshold": "keep-threshold",
    "smooth": "smooth",
    "merge_gap_seconds": "merge-gap",
    "min_duration_seconds": "min-duration",
}
# Tables have microseconds: times that are equal there count as equal, whatever binary fractions made of them.
SAME_SECONDS = 5e-7


@dataclass(frozen=True)
class EventRules:
    """What makes an event.

    Attributes:
        classes: in the order of the network's outputs.
        thresholds: of each class, which a window reaches where an event begins; above 1 for one that has no events.
        keep_threshold: which the other windows of an event reach; where it is None, or a class' own threshold is
            lower, they reach the threshold.
        smooth: over how many windows the median is taken, an odd number; 1 for none. The recording is reflected at its
            ends, as SciPy's filters do by default.
        merge_gap_seconds: events of a class that are so far apart become one; with 0, those that touch or overlap.
        min_duration_seconds: how long an event is at least.
    """

    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    keep_threshold: float | None = None
    smooth: int = 1
    merge_gap_seconds: float = 0.0
    min_duration_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Raises `UsageError` where a value is not what it may be."""
        if self.smooth < 1 or self.smooth % 2 == 0:
            raise UsageError(f"--smooth is an odd number of windows, as the median is that of a window and as many on "
                             f"both sides, not {self.smooth}")  # fmt: skip
        for option, seconds in (("merge-gap", self.merge_gap_seconds), ("min-duration", self.min_duration_seconds)):
            if not 0 <= seconds < math.inf:
                raise UsageError(f"--{option} is a number of seconds, at least 0, not {seconds:g}")
        keep = self.keep_threshold
        if keep is None:
            return
        if not 0 <= keep <= 1:
            raise UsageError(f"--keep-threshold is a probability from 0 to 1, not {keep:g}")
        own = [threshold for threshold in self.thresholds if threshold <= 1]
        if own and keep > max(own):
            raise UsageError(f"an event begins at the threshold and goes on down to --keep-threshold, so this is at "
                             f"most {max(own):g}, the highest threshold, not {keep:g}")  # fmt: skip

    def limits(self, number: int) -> tuple[float, float]:
        """Returns the thresholds at which events of a class begin and go on: above 1 where it has none."""
        threshold = math.inf if self.classes[number] in NOT_NAMED else self.thresholds[number]
        return threshold, threshold if self.keep_threshold is None else min(self.keep_threshold, threshold)


@dataclass(frozen=True)
class EventOptions:
    """Options of events as they were given, None for those that were not; see `EventRules`.

    Attributes:
        path: of the table of events.
        keep_threshold: of all classes.
        smooth: a number of windows.
        merge_gap_seconds: as in the rules.
        min_duration_seconds: as in the rules.
    """

    path: str | None = None
    keep_threshold: float | None = None
    smooth: int | None = None
    merge_gap_seconds: float | None = None
    min_duration_seconds: float | None = None

    def rules(self, classes: Sequence[str], thresholds: Sequence[float]) -> EventRules | None:
        """Returns the rules of a network's events; None where no events are asked for.

        Args:
            classes: in the order of the network's outputs.
            thresholds: of each class.

        Raises:
            UsageError: an option is not what it may be, or is given without the table.
        """
        given = {name: value for name, value in vars(self).items() if value is not None and name != "path"}
        if self.path is None:
            if given:
                option = _OPTIONS[next(iter(given))]
                raise UsageError(f"--{option} is of events; name their table with --events, or leave it out")
            return None
        return EventRules(tuple(classes), tuple(thresholds), **given)


@dataclass(frozen=True, eq=False)
class Events:
    """Events as columns, in the order of their recordings, then by start, then in the order of the classes.

    Attributes:
        recordings: number of the recording of each, int64 of shape (events,), as all of them.
        classes: number of its class.
        start_seconds: where its first window begins, float64.
        end_seconds: where its last one ends, float64.
        peak_probability: highest probability of its windows, smoothed as `EventRules` say, so that it reaches the
            threshold; float64.
        mean_probability: mean of the same, float64.
        windows: number of all windows from its first to its last, those between merged events among them.
    """

    recordings: NDArray[np.int64]
    classes: NDArray[np.int64]
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]
    peak_probability: NDArray[np.float64]
    mean_probability: NDArray[np.float64]
    windows: NDArray[np.int64]

    def __len__(self) -> int:
        """Returns the number of events."""
        return len(self.windows)

    def to_table(self, paths: Sequence[str], classes: Sequence[str]) -> pa.Table:
        """Returns the table of events, a row each, with the columns of `EVENTS_SCHEMA`.

        Args:
            paths: of the recordings.
            classes: names of the classes.
        """
        return pa.table(
            [
                pa.array(list(paths), pa.string()).take(pa.array(self.recordings)),
                pa.array(self.start_seconds),
                pa.array(self.end_seconds),
                pa.array(list(classes), pa.string()).take(pa.array(self.classes)),
                pa.array(self.peak_probability),
                pa.array(self.mean_probability),
                pa.array(self.windows),
            ],
            schema=EVENTS_SCHEMA,
        )


def find_events(
    counts: NDArray[np.int64],
    start_seconds: NDArray[np.float64],
    end_seconds: NDArray[np.float64],
    probabilities: NDArray[np.float32],
    rules: EventRules,
) -> Events:
    """Returns the events of recordings, each for itself: what is found of one does not depend on the others.

    Args:
        counts: number of windows of each recording, of shape (recordings,); the windows of all follow one another.
        start_seconds: where each window begins, of shape (windows,); windows of a recording are in the order of their
            starts, may overlap, and may leave gaps.
        end_seconds: where it ends, in the same order.
        probabilities: of each class, of shape (windows, classes).
        rules: what makes an event.
    """
    recordings = np.repeat(np.arange(len(counts)), counts)
    highest = probabilities.max(axis=0, initial=0.0).astype(np.float64)
    # Where a run of windows breaks whatever the class: between recordings, and where a window does not touch the next.
    # A last one stands for the end.
    breaks = np.ones(len(recordings) + 1, np.bool_)
    breaks[1:-1] = (recordings[1:] != recordings[:-1]) | (start_seconds[1:] > end_seconds[:-1] + SAME_SECONDS)
    smoothing = _Smoothing(counts, rules.smooth) if rules.smooth > 1 else None
    found = []
    for number in range(len(rules.classes)):
        threshold, keep = rules.limits(number)
        if highest[number] < threshold:  # a median is not higher than what it is of
            continue
        column = np.ascontiguousarray(probabilities[:, number])
        smooth = (column if smoothing is None else smoothing.apply(column)).astype(np.float64)
        first, last = _runs(smooth, threshold, keep, breaks)
        apart = start_seconds[first[1:]] - end_seconds[last[:-1]] > rules.merge_gap_seconds + SAME_SECONDS
        apart |= recordings[first[1:]] != recordings[last[:-1]]
        first = first[np.concatenate([[True], apart])] if len(first) else first
        last = last[np.concatenate([apart, [True]])] if len(last) else last
        is_long = end_seconds[last] - start_seconds[first] >= rules.min_duration_seconds - SAME_SECONDS
        first, last = first[is_long], last[is_long]
        found.append((np.full(len(first), number), first, last, *_peaks_and_means(smooth, first, last)))
    if not found:
        found.append((recordings[:0], recordings[:0], recordings[:0], end_seconds[:0], end_seconds[:0]))
    classes, first, last, peaks, means = map(np.concatenate, zip(*found, strict=True))
    # By first window, so by recording and start; the sort is stable, so then by class.
    order = np.argsort(first, kind="stable")
    first, last = first[order], last[order]
    return Events(
        recordings=recordings[first],
        classes=classes[order],
        start_seconds=start_seconds[first],
        end_seconds=end_seconds[last],
        peak_probability=peaks[order],
        mean_probability=means[order],
        windows=last - first + 1,
    )


def _runs(
    values: NDArray[np.float64], threshold: float, keep: float, breaks: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the first and the last window of each run that reaches one threshold everywhere, the other somewhere."""
    kept = np.zeros(len(values) + 2, np.bool_)
    kept[1:-1] = values >= keep
    # Edge i lies between the windows i - 1 and i.
    first = np.flatnonzero(kept[1:] & (~kept[:-1] | breaks))
    last = np.flatnonzero(kept[:-1] & (~kept[1:] | breaks)) - 1
    reached = np.concatenate([[0], np.cumsum(values >= threshold)])
    begins = reached[last + 1] > reached[first]
    return first[begins], last[begins]


def _peaks_and_means(
    values: NDArray[np.float64], first: NDArray[np.int64], last: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the maximum and the mean from each first to the last window, which follow from these values alone."""
    if not len(first):
        return np.empty(0), np.empty(0)
    # Every other piece lies between two events; the value at the end has it that the last event may end there.
    bounds = np.column_stack([first, last + 1]).ravel()
    padded = np.append(values, 0.0)
    peaks, sums = (reduce.reduceat(padded, bounds)[::2] for reduce in (np.maximum, np.add))
    return peaks, sums / (last - first + 1)


class _Smoothing:
    """The median of windows and their neighbours, of each recording for itself."""

    def __init__(self, counts: NDArray[np.int64], size: int) -> None:
        half = size // 2
        padded = np.where(counts > 0, counts + 2 * half, 0)
        of = np.repeat(np.arange(len(counts)), padded)
        # Windows of the recordings one after the other, each with as many before and behind it as the filter sees.
        offset = np.arange(padded.sum()) - (np.cumsum(padded) - padded)[of] - half
        count = counts[of]
        reflected = offset % (2 * count)
        reflected = np.minimum(reflected, 2 * count - 1 - reflected)
        self._from = (np.cumsum(counts) - counts)[of] + reflected
        self._inner = (offset >= 0) & (offset < count)
        self._size = size

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the medians of values, one for each."""
        from scipy.ndimage import median_filter

        # Reflected here: SciPy 1.17 gives other values where its filter is many times as long as the array.
        smooth: NDArray[np.float32] = median_filter(values[self._from], size=self._size, mode="nearest")[self._inner]
        return smooth
