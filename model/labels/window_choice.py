"""Chooses windows of each label for a person to check: the most probable ones, and some of every probability.

What is chosen follows from the windows alone, not from their order or from the pieces in which they come, and of the
windows so far those alone are held that may be chosen. So the choice among two sets of windows is the choice among
what was chosen of each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from model.labels.window_rows import WindowRows

BEST, EVEN, BOTH = "best", "even", "both"
# So many candidates are gathered before those that cannot be chosen any more are left out.
_MOST_WAITING = 2**16
_ANY_HASH = np.iinfo(np.uint64).max
_NO_END = 2**62


@dataclass(frozen=True)
class ChosenWindow:
    """A window that was chosen for a label.

    Attributes:
        label: of the class.
        path: of the recording, escaped.
        start_seconds: where it begins.
        end_seconds: where it ends.
        probability: of the class.
        drawn: `best` where it is one of the most probable, `even` where it was drawn by its probability, or `both`.
    """

    label: str
    path: str
    start_seconds: float
    end_seconds: float
    probability: float
    drawn: str


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Windows that may be chosen, each for a class: columns of one length."""

    kind: NDArray[np.int64]
    hash: NDArray[np.uint64]
    probability: NDArray[np.float32]
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]
    path: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, numbers: NDArray[np.int64]) -> "_Candidates":
        return _Candidates(*(column[numbers] for column in vars(self).values()))

    @classmethod
    def joined(cls, parts: Sequence["_Candidates"]) -> "_Candidates":
        return cls(*map(np.concatenate, zip(*(vars(part).values() for part in parts), strict=True)))


class WindowChoice:
    """Takes windows, a piece at a time, and chooses `per_class` best and as many evenly drawn ones for each class.

    The best are the most probable; of equal ones a hash decides. The others: probabilities from 0 to 1 are divided into
    `per_class` equal parts, and each gives the window whose hash is the least. Where some are empty, the parts give
    their next ones in turn, from the most probable part down, until there are as many as are wanted. The hash is of
    path, start and label, so that it draws without a generator whose state would follow from what came before.
    """

    def __init__(self, classes: Sequence[str], per_class: int) -> None:
        """Takes the labels in the order of the network's outputs, and how many windows each gets of either kind."""
        self._classes, self._per_class = list(classes), per_class
        self._of_class = np.array([xxhash.xxh3_64_intdigest(label.encode()) for label in classes], np.uint64)
        empty = [np.empty(0, kind) for kind in (np.int64, np.uint64, np.float32, np.float64, np.float64, object)]
        self._best = self._even = _Candidates(*empty)
        self._new_best: list[_Candidates] = []
        self._new_even: list[_Candidates] = []
        self._waiting = 0
        # Below or above these a window is not chosen any more.
        self._least = np.full(len(classes), -np.inf, np.float32)
        self._most = np.full((len(classes), per_class), _ANY_HASH)

    def add(self, rows: WindowRows) -> None:
        """Takes windows with a probability of each class."""
        if not len(rows):
            return
        of_windows = window_hashes(rows.paths, rows.recordings, rows.start_seconds)
        hashes = mixed_bits(of_windows[:, np.newaxis] ^ self._of_class)  # (windows, classes)
        probable = rows.probabilities >= self._least
        drawn = hashes <= self._most[np.arange(len(self._classes)), self._parts_of(rows.probabilities)]
        paths = np.array([None, *rows.paths], object)[1:]  # strings, and not characters
        for chosen, waiting in ((probable, self._new_best), (drawn, self._new_even)):
            window, kind = np.nonzero(chosen)
            waiting.append(
                _Candidates(
                    kind,
                    hashes[window, kind],
                    rows.probabilities[window, kind],
                    rows.start_seconds[window],
                    rows.end_seconds[window],
                    paths[rows.recordings[window]],
                )
            )
            self._waiting += len(window)
        if self._waiting > _MOST_WAITING:
            self._choose()

    def chosen(self) -> Iterator[ChosenWindow]:
        """Yields what is chosen so far, each window once a label, by label and then the most probable first."""
        self._choose()
        both = _Candidates.joined([self._best, self._even])
        is_even = np.arange(len(both)) >= len(self._best)
        _, of_path = np.unique(both.path, return_inverse=True)
        order = np.lexsort((is_even, both.start_seconds, of_path, -both.probability, both.kind))
        found: dict[tuple[int, str, float], ChosenWindow] = {}
        for number in order.tolist():
            place = int(both.kind[number]), both.path[number], float(both.start_seconds[number])
            found[place] = ChosenWindow(
                label=self._classes[place[0]],
                path=place[1],
                start_seconds=place[2],
                end_seconds=float(both.end_seconds[number]),
                probability=float(both.probability[number]),
                drawn=BOTH if place in found else EVEN if is_even[number] else BEST,
            )
        yield from found.values()

    def _parts_of(self, probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
        """Returns in which part of the probabilities each lies, of the same shape."""
        parts = (probabilities * np.float64(self._per_class)).astype(np.int64)
        return np.clip(parts, 0, self._per_class - 1)

    def _choose(self) -> None:
        """Leaves out all but what is chosen so far."""
        count, kinds = self._per_class, np.arange(len(self._classes))
        best = _Candidates.joined([self._best, *self._new_best])
        order = np.lexsort((best.hash, -best.probability, best.kind))
        order = order[places_within(best.kind[order]) < count]
        self._best = best.take(order)
        is_last = places_within(self._best.kind) == count - 1
        self._least[self._best.kind[is_last]] = self._best.probability[is_last]

        even = _Candidates.joined([self._even, *self._new_even])
        parts = self._parts_of(even.probability)
        by_hash = np.lexsort((even.hash, parts, even.kind))
        turns = np.empty(len(even), np.int64)  # when the part of each comes to it
        turns[by_hash] = places_within(even.kind[by_hash] * count + parts[by_hash])
        order = np.lexsort((-parts, turns, even.kind))
        order = order[places_within(even.kind[order]) < count]
        self._even, parts, turns = even.take(order), parts[order], turns[order]
        is_last = places_within(self._even.kind) == count - 1
        last_turn, last_part = np.full(len(kinds), _NO_END), np.zeros(len(kinds), np.int64)
        last_turn[self._even.kind[is_last]], last_part[self._even.kind[is_last]] = turns[is_last], parts[is_last]
        held = np.zeros((len(kinds), count), np.int64)
        np.add.at(held, (self._even.kind, parts), 1)
        highest = np.zeros((len(kinds), count), np.uint64)
        np.maximum.at(highest, (self._even.kind, parts), self._even.hash)
        # A part that has given all it may gives another only for one of a lesser hash; any other takes what comes.
        turns_of_part = last_turn[:, np.newaxis] + (np.arange(count) >= last_part[:, np.newaxis])
        self._most = np.where(held < turns_of_part, _ANY_HASH, highest)
        self._new_best, self._new_even, self._waiting = [], [], 0


def places_within(sorted_numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns for each of some sorted numbers how many equal ones stand before it."""
    return np.arange(len(sorted_numbers)) - np.searchsorted(sorted_numbers, sorted_numbers)


def window_hashes(
    paths: Sequence[str], recordings: NDArray[np.int64], start_seconds: NDArray[np.float64]
) -> NDArray[np.uint64]:
    """Returns a hash of path and start of each window, uint64 of shape (windows,).

    Args:
        paths: of the recordings.
        recordings: number of the recording of each window.
        start_seconds: where it begins.
    """
    of_paths = np.array([xxhash.xxh3_64_intdigest(path.encode()) for path in paths], np.uint64)
    starts = np.ascontiguousarray(start_seconds, np.float64).view(np.uint64)
    return mixed_bits(of_paths[recordings] ^ mixed_bits(starts))


def mixed_bits(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns numbers whose bits all follow from all bits of each (SplitMix64: Steele, Lea and Flood, 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
