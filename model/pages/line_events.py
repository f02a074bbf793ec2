"""Events in lines of labels, at a hundred thresholds at once: neighbouring windows of one label are one event.

At a threshold a line counts where its probability reaches it, and begins an event unless a line before it that reaches
the threshold too touches or overlaps it. So a line begins an event at the thresholds above the highest probability of
those that touch it, and up to its own: the events at every threshold are sums over two histograms.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.labels.events import SAME_SECONDS
from model.pages.scored_table import Lines

THRESHOLDS = np.arange(101) / 100
"""Those at which everything is counted; shape (101,)."""
_NOTHING = -1.0


@dataclass(frozen=True, eq=False)
class LineEvents:
    """Lines sorted by recording, label and start, with what makes events of them; arrays of shape (lines,).

    Attributes:
        order: number of each line as it was.
        recordings: number of its recording.
        labels: number of its label.
        start_seconds: where its window begins.
        end_seconds: where it ends.
        probabilities: of its label.
        touching: highest probability of the lines before it that touch it, of its recording and label; -1 for none.
        seconds: how much of its window no line before it of its recording and label covers.
        overlaps: seconds that lines before cover besides, at the thresholds that each of two lines reaches: pairs of
            the number of a line, the highest threshold, and the seconds.
    """

    order: NDArray[np.int64]
    recordings: NDArray[np.int64]
    labels: NDArray[np.int64]
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    touching: NDArray[np.float64]
    overlaps: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]

    def __len__(self) -> int:
        """Returns the number of lines."""
        return len(self.order)

    @property
    def begins(self) -> NDArray[np.int64]:
        """Which lines begin an event where every line counts, shape (events,)."""
        return np.flatnonzero(self.touching == _NOTHING)

    @property
    def strongest(self) -> NDArray[np.int64]:
        """The line of the highest probability of each of these events, the first of equals, shape (events,)."""
        begins = self.begins
        if not len(begins):
            return begins
        of_event = np.cumsum(self.touching == _NOTHING) - 1
        peaks = np.maximum.reduceat(self.probabilities, begins)
        is_peak = np.flatnonzero(self.probabilities == peaks[of_event])
        _, first = np.unique(of_event[is_peak], return_index=True)
        return is_peak[first]

    @property
    def ends(self) -> NDArray[np.float64]:
        """Where each of these events ends, in seconds, shape (events,)."""
        begins = self.begins
        return np.maximum.reduceat(self.end_seconds, begins) if len(begins) else np.empty(0)


def line_events(lines: Lines) -> LineEvents:
    """Returns what makes events of lines."""
    recordings = lines.recordings
    order = np.lexsort((lines.end_seconds, lines.start_seconds, lines.labels, recordings))
    recordings, labels = recordings[order], lines.labels[order]
    start, end, probabilities = (
        column[order] for column in (lines.start_seconds, lines.end_seconds, lines.probabilities)
    )
    touching = np.full(len(order), _NOTHING)
    found: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = []
    # Windows of one length that begin one after the other end so too: behind one that does not touch, none does.
    later = np.arange(1, len(order))
    lag = 1
    while len(later):
        earlier = later - lag
        touch = (recordings[earlier] == recordings[later]) & (labels[earlier] == labels[later])
        touch &= end[earlier] >= start[later] - SAME_SECONDS
        later, earlier = later[touch], earlier[touch]
        common = end[earlier] - start[later]
        before = touching[later]
        touching[later] = np.maximum(before, probabilities[earlier])
        # Which line before is the nearest one that reaches a threshold depends on the threshold.
        covers = (common > SAME_SECONDS) & (probabilities[earlier] > before)
        line, seconds, own = later[covers], common[covers], probabilities[later[covers]]
        found.append((line, np.minimum(own, touching[line]), seconds))
        found.append((line, np.minimum(own, before[covers]), -seconds))
        lag += 1
        later = later[later >= lag]
    overlaps = tuple(np.concatenate(columns) for columns in zip(*found, strict=True)) if found else _NO_OVERLAPS
    return LineEvents(order, recordings, labels, start, end, probabilities, touching, overlaps)  # type: ignore[arg-type]


_NO_OVERLAPS = (np.empty(0, np.int64), np.empty(0), np.empty(0))


def threshold_places(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the number of the highest of the `THRESHOLDS` that each value reaches, -1 for none."""
    return np.searchsorted(THRESHOLDS, values, side="right") - 1


def at_thresholds(
    numbers: NDArray[np.int64], count: int, values: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Counts values, or adds their weights, by the highest threshold that each reaches.

    Args:
        numbers: of what each belongs to, below `count`.
        count: of these.
        values: that reach thresholds; those that reach none are not counted.
        weights: what each adds; 1 where None.

    Returns:
        float64 of shape (count, 101), not yet added up over thresholds.
    """
    width = len(THRESHOLDS) + 1
    places = numbers * width + threshold_places(values) + 1
    return np.bincount(places, weights, minlength=count * width).astype(np.float64).reshape(count, width)[:, 1:]
