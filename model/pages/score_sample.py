"""A sample of the events of a scoring for a person to check: some of each label and band of probability.

It is drawn by a hash of path, start and label, so that it follows from the events alone: of any order and in any
pieces the same are drawn, and of a table that has grown only those change that a new event takes the place of.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from model.inference.classes import NOT_NAMED
from model.labels.window_choice import mixed_bits, places_within, window_hashes
from model.pages.line_events import LineEvents

BANDS = (0.0, 0.5, 0.7, 0.9)
"""Where the bands of probability begin; each ends where the next one does, the last at 1."""


@dataclass(frozen=True)
class SampledEvent:
    """An event that was drawn, by its most probable window.

    Attributes:
        label: of the event.
        path: of the recording, escaped.
        start_seconds: where the window begins.
        end_seconds: where it ends.
        probability: of the label in it, the highest of the event.
        band: number of the band in which that lies.
        event_start_seconds: where the event begins.
        event_end_seconds: where it ends.
    """

    label: str
    path: str
    start_seconds: float
    end_seconds: float
    probability: float
    band: int
    event_start_seconds: float
    event_end_seconds: float


class ScoreSample:
    """Takes events and keeps some of each label and band.

    Attributes:
        counts: events of each label and band so far, int64 of shape (labels, bands).
    """

    def __init__(self, per_cell: int) -> None:
        """Begins with nothing; keeps at most so many events of a label and band."""
        self.counts = np.zeros((0, len(BANDS)), np.int64)
        self._per_cell = per_cell
        self._limits = np.empty(0, np.uint64)
        self._cells = np.empty(0, np.int64)
        self._hashes = np.empty(0, np.uint64)
        self._values = np.empty((0, 5))
        self._paths = np.empty(0, object)

    def add(self, found: LineEvents, paths: Sequence[str], labels: Sequence[str]) -> None:
        """Takes the events of whole recordings.

        Args:
            found: their lines.
            paths: of the recordings.
            labels: of the table so far, by their numbers.
        """
        peak, begins, ends = found.strongest, found.begins, found.ends
        named = np.array([label not in NOT_NAMED for label in labels], np.bool_)[found.labels[peak]]
        peak, begins, ends = peak[named], begins[named], ends[named]
        bands = np.searchsorted(BANDS, found.probabilities[peak], side="right") - 1
        cells = found.labels[peak] * len(BANDS) + bands
        num_cells = len(labels) * len(BANDS)
        counts = np.bincount(cells, minlength=num_cells).reshape(-1, len(BANDS))
        counts[: len(self.counts)] += self.counts
        self.counts = counts
        of_labels = np.array([xxhash.xxh3_64_intdigest(label.encode()) for label in labels], np.uint64)
        hashes = window_hashes(paths, found.recordings[peak], found.start_seconds[peak])
        hashes = mixed_bits(hashes ^ of_labels[found.labels[peak]]) if len(peak) else hashes
        limits = np.full(num_cells, np.iinfo(np.uint64).max)
        limits[: len(self._limits)] = self._limits
        kept = np.flatnonzero(hashes <= limits[cells])
        peak = peak[kept]
        columns = (found.start_seconds[peak], found.end_seconds[peak], found.probabilities[peak],
                   found.start_seconds[begins[kept]], ends[kept])  # fmt: skip
        names = np.array([None, *paths], object)[1:]  # strings, and not characters
        self._keep(cells[kept], hashes[kept], np.stack(columns, axis=1), names[found.recordings[peak]])
        at_limit = np.flatnonzero(np.bincount(self._cells, minlength=num_cells) == self._per_cell)
        limits[at_limit] = self._hashes[np.searchsorted(self._cells, at_limit, side="right") - 1]
        self._limits = limits

    def chosen(self, most: int, labels: Sequence[str]) -> list[SampledEvent]:
        """Returns at most so many of the events: labels and bands give one each in turn, until there are enough."""
        turns = places_within(self._cells)
        chosen = np.lexsort((self._hashes, turns))[:most]
        return [
            SampledEvent(
                label=labels[cell // len(BANDS)],
                path=path,
                start_seconds=start,
                end_seconds=end,
                probability=probability,
                band=cell % len(BANDS),
                event_start_seconds=event_start,
                event_end_seconds=event_end,
            )
            for cell, path, (start, end, probability, event_start, event_end) in zip(
                self._cells[chosen].tolist(), self._paths[chosen], self._values[chosen].tolist(), strict=True
            )
        ]

    def _keep(
        self,
        cells: NDArray[np.int64],
        hashes: NDArray[np.uint64],
        values: NDArray[np.float64],
        paths: NDArray[np.object_],
    ) -> None:
        cells, hashes = np.concatenate([self._cells, cells]), np.concatenate([self._hashes, hashes])
        values, paths = np.concatenate([self._values, values]), np.concatenate([self._paths, paths])
        order = np.lexsort((hashes, cells))
        order = order[places_within(cells[order]) < self._per_cell]
        self._cells, self._hashes, self._values, self._paths = cells[order], hashes[order], values[order], paths[order]
