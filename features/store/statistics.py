"""Sums from which mean and variance of features follow, for any union of shards."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of the root mean square of the deviations. Bands that hold no sound, those of 8 kHz recordings at 16 kHz, are at 0.5 %
# of it at most, stored in 16 bits or not; mel bands and MFCCs of recordings that hold sound there are at 6 % at least.
_STILL_SHARE = 0.02


@dataclass(frozen=True)
class Statistics:
    """Count, sum and sum of squares of each coefficient of the last axis, in float64.

    Attributes:
        count: values per coefficient: clips times frames.
        total: sum of the values, a number per coefficient.
        squares: sum of their squares, a number per coefficient.
    """

    count: int
    total: tuple[float, ...]
    squares: tuple[float, ...]

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> "Statistics":
        """Sums up features of shape (clips, frames, coefficients) or (clips, coefficients)."""
        sums = Sums(features.shape[1:])
        sums.add(features)
        return sums.statistics()

    @classmethod
    def merge(cls, parts: Iterable["Statistics"]) -> "Statistics":
        """Adds up the statistics of several sets of clips, exactly rounded, so that their order does not matter."""
        listed = [part for part in parts if part.count]
        total = tuple(math.fsum(column) for column in zip(*(part.total for part in listed), strict=True))
        squares = tuple(math.fsum(column) for column in zip(*(part.squares for part in listed), strict=True))
        return cls(sum(part.count for part in listed), total, squares)

    def scalar(self) -> tuple[float, float]:
        """Returns mean and variance over all coefficients together; raises `ValueError` where nothing was counted."""
        values = self.count * len(self.total)
        if not values:
            raise ValueError("no values were counted")
        mean = math.fsum(self.total) / values
        return mean, max(0.0, math.fsum(self.squares) / values - mean * mean)

    def by_band(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns mean and variance of each coefficient, to bring it to 0 and 1: (coefficients,) each.

        A coefficient that stands still here says nothing of how far it goes elsewhere: its own variance would make
        thousands of the first sound in it. It has that of all coefficients together, or 1 where all of them are one
        number. Raises `ValueError` as `scalar` does.
        """
        mean, variance = self._moments()
        return mean, np.where(self.still_bands(), self.scalar()[1] or 1.0, variance)

    def still_bands(self) -> NDArray[np.bool_]:
        """Returns of each coefficient whether it (nearly) stands still, beside the others or as they all do.

        Shape (coefficients,); raises `ValueError` as `scalar` does.
        """
        variance = self._moments()[1]
        still: NDArray[np.bool_] = variance <= _STILL_SHARE**2 * variance.mean()
        return still

    def _moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if not self.count:
            raise ValueError("no values were counted")
        mean = np.array(self.total) / self.count
        return mean, np.maximum(0.0, np.array(self.squares) / self.count - mean * mean)

    def to_dict(self) -> dict[str, Any]:
        """Returns the sums ready for JSON."""
        return {"count": self.count, "total": list(self.total), "squares": list(self.squares)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Statistics":
        """Reads what `to_dict` returned."""
        return cls(content["count"], tuple(content["total"]), tuple(content["squares"]))


class Sums:
    """Adds up features clip by clip, so that the sums are the same to the bit whatever batches they came in."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Takes the shape of a clip's features: (frames, coefficients) or (coefficients,)."""
        self._shape = math.prod(shape[:-1]), shape[-1]
        self._values = np.empty(self._shape)  # as float64, small enough to stay in the cache of a core
        self._clips = 0
        self._total, self._squares = np.zeros((2, shape[-1]))

    def add(self, features: NDArray[np.floating]) -> list[bool]:
        """Adds clips, (clips, *shape), but those with a value that is not finite; returns of each if it was added."""
        with np.errstate(invalid="ignore"):
            return [self._add(clip) for clip in features.reshape(len(features), *self._shape)]

    def _add(self, clip: NDArray[np.floating]) -> bool:
        values = self._values
        values[...] = clip
        total = np.add.reduce(values)
        np.multiply(values, values, out=values)
        squares = np.add.reduce(values)
        if not np.isfinite(np.add.reduce(squares)):
            return False
        self._total += total
        self._squares += squares
        self._clips += 1
        return True

    def statistics(self) -> Statistics:
        """Returns the sums so far."""
        return Statistics(self._clips * self._shape[0], tuple(self._total.tolist()), tuple(self._squares.tolist()))
