"""Events by hour of the day and date, as the clocks at the recorders had it."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from model.pages.line_events import LineEvents, threshold_places

# From the finest: numbers of thresholds at which events are counted, the last one those of the sample's bands.
_STEPS = (*(np.arange(0, 101, step) for step in (1, 5, 10)), np.array([0, 50, 70, 90]))
_MOST_CELLS = 80_000
_MOST_DATES = 120
_EPOCH = date(1970, 1, 1)
_PLACE_BITS, _LABEL_BITS = 7, 24
ANY_LABEL = -1


@dataclass(frozen=True, eq=False)
class Cells:
    """Events by hour of the day and date, where there are any; arrays of shape (cells,).

    Attributes:
        thresholds: numbers of the thresholds at which they are counted.
        dates: `2018-05-04`, or `2018-05` where they are counted by month, sorted.
        by_month: whether they are.
        labels: number of the label, `ANY_LABEL` where those of all are counted together.
        date_numbers: number of the date.
        hours: of the day.
        places: number of the highest threshold, among `thresholds`, at which the events are there.
        counts: how many there are besides those at higher thresholds; below 0 where two become one.
        recorded: pairs of a date's number and an hour in which any line begins, int64 of shape (hours, 2).
    """

    thresholds: list[int]
    dates: list[str]
    by_month: bool
    labels: NDArray[np.int64]
    date_numbers: NDArray[np.int64]
    hours: NDArray[np.int64]
    places: NDArray[np.int64]
    counts: NDArray[np.int64]
    recorded: NDArray[np.int64]


class Activity:
    """Adds up events by the hour in which they begin.

    Attributes:
        known: lines whose time is known.
    """

    def __init__(self) -> None:
        """Begins with nothing."""
        self.known = 0
        self._keys = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)
        self._recorded = np.empty(0, np.int64)

    def add(self, found: LineEvents, hours: NDArray[np.int64], named: NDArray[np.bool_]) -> None:
        """Adds lines.

        Args:
            found: the lines.
            hours: since 1970, of each; below 0 where it is not known.
            named: whether the label of each has events.
        """
        known = hours >= 0
        self.known += int(known.sum())
        self._recorded = np.union1d(self._recorded, hours[known])
        of_event = known & named
        keys = ((hours << _LABEL_BITS) | found.labels)[of_event] << _PLACE_BITS
        reached = threshold_places(found.probabilities[of_event])
        joined = threshold_places(np.minimum(found.probabilities, found.touching)[of_event])
        is_joined = joined >= 0
        every = np.concatenate([self._keys, keys | reached, keys[is_joined] | joined[is_joined]])
        ones = np.ones(len(keys), np.int64)
        self._keys, self._counts = _added(every, np.concatenate([self._counts, ones, -ones[is_joined]]))

    def cells(self) -> Cells | None:
        """Returns the events by hour and date, as finely as not to be too many numbers; None where no time is known.

        Thresholds become coarser first, then dates become months, then labels are counted together.
        """
        if not self.known:
            return None
        days = np.unique(self._recorded // 24)
        by_months = [False, True] if len(days) <= _MOST_DATES else [True]
        for together in (False, True):
            for by_month in by_months:
                for thresholds in _STEPS:
                    cells = self._cells(thresholds, by_month, together)
                    if len(cells.counts) <= _MOST_CELLS:
                        return cells
        return cells

    def _cells(self, thresholds: NDArray[np.int64], by_month: bool, together: bool) -> Cells:
        dates, of_recorded = _dates(self._recorded // 24, by_month)
        recorded = np.unique(np.stack([of_recorded, self._recorded % 24], axis=1), axis=0)
        places = np.searchsorted(thresholds, self._keys & (2**_PLACE_BITS - 1), side="right") - 1
        labels = (self._keys >> _PLACE_BITS) & (2**_LABEL_BITS - 1)
        hours = self._keys >> (_PLACE_BITS + _LABEL_BITS)
        numbers = of_recorded[np.searchsorted(self._recorded, hours)]
        if together:
            labels = np.zeros_like(labels)
        keys = (((numbers * 24 + hours % 24) << _LABEL_BITS) | labels) << _PLACE_BITS | places
        keys, counts = _added(keys, self._counts)
        hours = keys >> (_PLACE_BITS + _LABEL_BITS)
        labels = (keys >> _PLACE_BITS) & (2**_LABEL_BITS - 1)
        return Cells(
            thresholds=thresholds.tolist(),
            dates=dates,
            by_month=by_month,
            labels=np.full_like(labels, ANY_LABEL) if together else labels,
            date_numbers=hours // 24,
            hours=hours % 24,
            places=keys & (2**_PLACE_BITS - 1),
            counts=counts,
            recorded=recorded,
        )


def _added(keys: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns each key once with the sum of its counts, without those whose sum is 0."""
    each, numbers = np.unique(keys, return_inverse=True)
    sums = np.bincount(numbers, counts, len(each)).astype(np.int64)
    return each[sums != 0], sums[sums != 0]


def _dates(days: NDArray[np.int64], by_month: bool) -> tuple[list[str], NDArray[np.int64]]:
    """Returns the dates of days since 1970, or their months, each once, and the number of each day's."""
    each, numbers = np.unique(days, return_inverse=True)
    texts = [(_EPOCH + timedelta(days=day)).isoformat()[: 7 if by_month else 10] for day in each.tolist()]
    dates, of_each = np.unique(np.array(texts, "U10"), return_inverse=True)
    return [str(text) for text in dates], of_each[numbers]
