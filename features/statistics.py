"""Sums from which mean and variance of features follow, for any union of shards."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK_CLIPS = 64


@dataclass(frozen=True)
class Statistics:
    """Count, sum and sum of squares of each coefficient of the last axis, in float64.

    Attributes:
        count: values a coefficient: clips times frames.
        total: sum of the values, a number a coefficient.
        squares: sum of their squares, a number a coefficient.
    """

    count: int
    total: tuple[float, ...]
    squares: tuple[float, ...]

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> "Statistics":
        """Sums up features of shape (clips, frames, coefficients)."""
        coefficients = features.shape[-1]
        total, squares = np.zeros(coefficients), np.zeros(coefficients)
        for first in range(0, len(features), _BLOCK_CLIPS):
            values = features[first : first + _BLOCK_CLIPS].reshape(-1, coefficients).astype(np.float64)
            total += values.sum(axis=0)
            squares += np.einsum("ij,ij->j", values, values)
        return cls(math.prod(features.shape[:-1]), tuple(total.tolist()), tuple(squares.tolist()))

    @classmethod
    def merge(cls, parts: Iterable["Statistics"]) -> "Statistics":
        """Adds up the statistics of several sets of clips, exactly rounded, so that their order does not matter."""
        listed = [part for part in parts if part.count]
        total = tuple(math.fsum(column) for column in zip(*(part.total for part in listed), strict=True))
        squares = tuple(math.fsum(column) for column in zip(*(part.squares for part in listed), strict=True))
        return cls(sum(part.count for part in listed), total, squares)

    @property
    def is_finite(self) -> bool:
        """Whether every value was a finite number."""
        return all(map(math.isfinite, self.squares))

    def scalar(self) -> tuple[float, float]:
        """Returns mean and variance over all coefficients together; raises `ValueError` where nothing was counted."""
        values = self.count * len(self.total)
        if not values:
            raise ValueError("no values were counted")
        mean = math.fsum(self.total) / values
        return mean, max(0.0, math.fsum(self.squares) / values - mean * mean)

    def by_band(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns mean and variance of each coefficient, (coefficients,) each; raises `ValueError` as `scalar` does."""
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
