"""The figures of a scoring's page, from the lines of its table: by label, threshold, recording and hour of the day."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.inference.classes import NOT_NAMED
from model.pages.activity import Activity
from model.pages.line_events import THRESHOLDS, LineEvents, at_thresholds, line_events, threshold_places
from model.pages.scored_table import Lines

_CERTAIN = 50  # number of the threshold by which recordings are ranked


@dataclass(frozen=True, eq=False)
class RecordingFigures:
    """What the table says of one recording.

    Attributes:
        path: escaped.
        lines: how many it has.
        events: int64 of shape (101,), how many begin to be there at each threshold downwards.
        end_seconds: where its last line ends.
        most: number of the label with the most events at 0.5, where none has any of that with the most; -1 for none.
        place: which recording of the table it is.
    """

    path: str
    lines: int
    events: NDArray[np.int64]
    end_seconds: float
    most: int
    place: int

    @property
    def rank(self) -> tuple[int, int, int]:
        """By which recordings are ordered: with the most events first."""
        return -int(self.events[_CERTAIN:].sum()), -int(self.events.sum()), self.place


class ScoreFigures:
    """Adds up lines, whole recordings at a time.

    Attributes:
        num_lines: so far.
        num_recordings: with a line.
        covered_seconds: sum of where the last line of each recording ends.
        listed: the recordings with the most events, in the order of their ranks.
        drawn: the lines of the first of these, by their paths.
        activity: events by hour and date.
        highest: highest probability of each label, float64 of shape (labels,).
        lengths: how many windows have each length in seconds, of the first lines.
        hops: how many begin so many seconds behind the one before.
    """

    def __init__(self, most_listed: int, most_drawn: int) -> None:
        """Begins with nothing; keeps at most so many recordings, and the lines of at most so many."""
        self.num_lines = self.num_recordings = 0
        self.covered_seconds = 0.0
        self.listed: list[RecordingFigures] = []
        self.drawn: dict[str, Lines] = {}
        self.activity = Activity()
        self.lengths: Counter[float] = Counter()
        self.hops: Counter[float] = Counter()
        self._most_listed, self._most_drawn = most_listed, most_drawn
        self._sums = {name: np.zeros((0, len(THRESHOLDS))) for name in ("lines", "events", "seconds", "recordings")}
        self._any = np.zeros(len(THRESHOLDS))
        self.highest = np.zeros(0)

    def add(self, lines: Lines, labels: Sequence[str]) -> LineEvents:
        """Adds lines, and returns what makes events of them.

        Args:
            lines: of whole recordings.
            labels: of the table so far, by their numbers.
        """
        found = line_events(lines)
        if not self.num_lines:
            self._note_windows(lines)
        self.num_lines += len(lines)
        self.covered_seconds += float(_largest(lines.end_seconds, lines.counts).sum())
        named = np.array([label not in NOT_NAMED for label in labels], np.bool_)[found.labels]
        self._count(found, len(labels), named)
        best = _largest(lines.probabilities, lines.counts)
        self._any += at_thresholds(np.zeros(len(best), np.int64), 1, best)[0]
        self.activity.add(found, lines.hours[found.order], named)
        self._rank(lines, found, named)
        self.num_recordings += len(lines.paths)
        return found

    def at_thresholds(self, name: str) -> NDArray[np.float64]:
        """Returns what is there at each threshold and not at the next one, float64 of shape (labels, 101).

        Args:
            name: `lines`, `events`, the `seconds` that they cover, or the `recordings` with a line.
        """
        return self._sums[name]

    @property
    def recordings_of_any(self) -> NDArray[np.float64]:
        """The same of recordings with a line of any label, shape (101,)."""
        return self._any

    def _count(self, found: LineEvents, count: int, named: NDArray[np.bool_]) -> None:
        reached, joined = found.probabilities, np.minimum(found.probabilities, found.touching)
        lines = at_thresholds(found.labels, count, reached)
        events = at_thresholds(found.labels[named], count, reached[named])
        events -= at_thresholds(found.labels[named], count, joined[named])
        line, highest, seconds = found.overlaps
        covered = at_thresholds(found.labels, count, reached, found.end_seconds - found.start_seconds)
        covered -= at_thresholds(found.labels[line], count, highest, seconds)
        pairs = found.recordings * count + found.labels
        first = np.flatnonzero(np.diff(pairs, prepend=-1))
        best = np.maximum.reduceat(reached, first) if len(first) else reached
        recordings = at_thresholds(found.labels[first], count, best)
        of_block = {"lines": lines, "events": events, "seconds": covered, "recordings": recordings}
        highest = np.zeros(count)
        highest[: len(self.highest)] = self.highest
        np.maximum.at(highest, found.labels, reached)
        self.highest = highest
        for name, sums in of_block.items():
            sums[: len(self._sums[name])] += self._sums[name]
            self._sums[name] = sums

    def _rank(self, lines: Lines, found: LineEvents, named: NDArray[np.bool_]) -> None:
        """Keeps the recordings with the most events."""
        of_named = found.recordings[named], found.probabilities[named]
        joined = np.minimum(found.probabilities, found.touching)[named]
        limits = (THRESHOLDS[_CERTAIN], 0.0)
        certain, every = (
            np.bincount(of_named[0], (of_named[1] >= limit) & ~(joined >= limit), len(lines.paths)) for limit in limits
        )
        best = np.lexsort((np.arange(len(lines.paths)), -every, -certain))[: self._most_listed]
        of_recording = np.searchsorted(found.recordings, np.stack([best, best + 1]))
        for number, first, last in zip(best.tolist(), *of_recording.tolist(), strict=True):
            span = np.arange(first, last)[named[first:last]]
            events = np.zeros(len(THRESHOLDS), np.int64)
            np.add.at(events, threshold_places(found.probabilities[span]), 1)
            is_joined = found.touching[span] >= 0
            both = np.minimum(found.probabilities, found.touching)[span[is_joined]]
            np.subtract.at(events, threshold_places(both), 1)
            self.listed.append(
                RecordingFigures(
                    path=lines.paths[number],
                    lines=int(lines.counts[number]),
                    events=events,
                    end_seconds=float(found.end_seconds[first:last].max()),
                    most=_most_of(found, span),
                    place=self.num_recordings + number,
                )
            )
        self.listed = sorted(self.listed, key=lambda each: each.rank)[: self._most_listed]
        drawn = {each.path for each in self.listed[: self._most_drawn]}
        new = {lines.paths[number]: number for number in best.tolist() if lines.paths[number] in drawn}
        self.drawn = {path: kept for path, kept in self.drawn.items() if path in drawn}
        self.drawn |= {path: lines.of_recording(number) for path, number in new.items()}

    def _note_windows(self, lines: Lines) -> None:
        self.lengths.update(np.round(lines.end_seconds - lines.start_seconds, 6).tolist())
        steps, same = np.diff(lines.start_seconds), np.diff(lines.recordings) == 0
        self.hops.update(np.round(steps[same & (steps > 0)], 6).tolist())


def _largest(values: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the largest value of each recording."""
    return np.maximum.reduceat(values, np.cumsum(counts) - counts) if len(counts) else np.empty(0)


def _most_of(found: LineEvents, span: NDArray[np.int64]) -> int:
    """Returns the label with the most events among some lines."""
    for limit in (THRESHOLDS[_CERTAIN], 0.0):
        reached = found.probabilities[span] >= limit
        begins = span[reached & ~(np.minimum(found.probabilities[span], found.touching[span]) >= limit)]
        if len(begins):
            return int(np.bincount(found.labels[begins]).argmax())
    return -1
