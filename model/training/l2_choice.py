"""Fits a linear network for one L2 penalty after the other, and measures each on clips that it did not learn from."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError
from model.training.history import Row
from model.training.logistic_regression import (
    WHILE_CHOOSING,
    Array,
    Clips,
    Directions,
    Solution,
    cross_entropy,
    solve,
)
from model.training.splits import assign_splits

GRID = tuple(float(10.0 ** (half / 2)) for half in range(2, -11, -1))
"""The penalties that are tried, from the strongest on: 10 to 0.00001, two in each power of ten."""
_INNER_FOLDS = 5


@dataclass(frozen=True)
class LabelledClips:
    """Clips by their class.

    Attributes:
        features: float64 of shape (clips, values); `L2Choice` takes them brought to mean 0 and variance 1.
        ids: class of each, int64 of shape (clips,).
        groups: group of each.
    """

    features: Array
    ids: NDArray[np.int64]
    groups: list[str]

    def __len__(self) -> int:
        """Returns the number of clips."""
        return len(self.ids)


@dataclass(frozen=True)
class Tried:
    """What comes of one penalty.

    Attributes:
        row: of the history.
        solution: fitted to all clips to learn from; None where inner folds say how good it is.
        logits: of the clips that it was measured on, (clips, classes); None where there are none.
    """

    row: Row
    solution: Solution | None
    logits: Array | None


@dataclass(frozen=True)
class _Fit:
    """Clips to learn from, and those to measure on, along the directions.

    Attributes:
        learnt: to learn from.
        held_out: features of those to measure on, (clips, directions); None for none.
        places: which of all clips that are measured on those are.
    """

    learnt: Clips
    held_out: Array | None
    places: NDArray[np.int64]


class L2Choice:
    """The clips of a training, and what each penalty makes of them."""

    def __init__(
        self, learnt: LabelledClips, class_weights: NDArray[np.float32], validated: LabelledClips | None, seed: int
    ) -> None:
        """Takes the clips.

        Args:
            learnt: to learn from.
            class_weights: what a clip of each class counts in the loss, (classes,).
            validated: to measure on; None for inner folds of those to learn from, in which groups stay whole; none in
                it to measure nothing.
            seed: of the order in which groups that are alike are dealt to inner folds.

        Raises:
            UsageError: there is one group, so that there are no inner folds.
        """
        self.classes = len(class_weights)
        self.directions = Directions.of(learnt.features)
        weights = class_weights.astype(np.float64)[learnt.ids]
        self._all = Clips(self.directions.along(learnt.features), learnt.ids, weights / weights.sum())
        self.folds = 0
        if validated is None:
            self.measured_ids = learnt.ids
            self._fits = self._inner_folds(learnt, weights, seed)
        else:
            self.measured_ids = validated.ids
            places = _of_learnt_classes(validated.ids, learnt.ids)
            held_out = self.directions.along(validated.features[places]) if len(places) else None
            self._fits = [_Fit(self._all, held_out, places)]

    def _inner_folds(self, learnt: LabelledClips, weights: Array, seed: int) -> list[_Fit]:
        self.folds = min(_INNER_FOLDS, len(set(learnt.groups)))
        if self.folds < 2:
            raise UsageError(
                "the L2 penalty is chosen on clips of groups that were not learnt from, and all clips to train on are "
                "of one group; choose with --validate-on, give --l2 and --validate-on none, or featurize with another "
                "--group"
            )
        fold = assign_splits([str(number) for number in learnt.ids.tolist()], learnt.groups, self.folds, seed)
        fits = []
        for number in range(self.folds):
            inside, outside = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
            share = weights[outside]
            clips = Clips(self._all.features[outside], learnt.ids[outside], share / share.sum())
            inside = inside[_of_learnt_classes(learnt.ids[inside], clips.ids)]
            fits.append(_Fit(clips, self._all.features[inside], inside))
        if not any(len(fit.places) for fit in fits):
            raise UsageError(
                "the L2 penalty is chosen on clips of groups that were not learnt from, and all clips of each class to "
                "train on are of one group; give --l2 and --validate-on none, or featurize with another --group"
            )
        return fits

    def tried(self, penalties: tuple[float, ...]) -> Iterator[Tried]:
        """Yields what comes of each penalty, each beginning where the one before it ended."""
        solutions = [Solution.zeros(len(self.directions.squares), self.classes)] * len(self._fits)
        for number, l2 in enumerate(penalties, start=1):
            started = time.monotonic()
            solutions = [
                solve(fit.learnt, self.directions, l2, solution, WHILE_CHOOSING)
                for fit, solution in zip(self._fits, solutions, strict=True)
            ]
            row = {"epoch": number, "l2": l2, **self._of_learnt(solutions)}
            logits = self._measured(solutions)
            if logits is not None:
                measured = self.is_measured
                row |= _figures(logits[measured], self.measured_ids[measured], "val_")
                row["val_clips"] = int(measured.sum())
            row["seconds"] = time.monotonic() - started
            yield Tried(row, None if self.folds else solutions[0], logits)

    def fitted(self, l2: float, start: Solution | None) -> Solution:
        """Returns the weights for a penalty, fitted to all clips to learn from, to the end."""
        start = start or Solution.zeros(len(self.directions.squares), self.classes)
        return solve(self._all, self.directions, l2, start)

    @property
    def is_measured(self) -> NDArray[np.bool_]:
        """Of each clip to measure on, whether it is: not one of a class that is not learnt there. (clips,)."""
        there = np.zeros(len(self.measured_ids), bool)
        for fit in self._fits:
            there[fit.places] = True
        return there

    def _of_learnt(self, solutions: list[Solution]) -> Row:
        logits = [solution.logits(fit.learnt.features) for fit, solution in zip(self._fits, solutions, strict=True)]
        return _figures(np.concatenate(logits), np.concatenate([fit.learnt.ids for fit in self._fits]))

    def _measured(self, solutions: list[Solution]) -> Array | None:
        if self._fits[0].held_out is None:
            return None
        logits = np.zeros((len(self.measured_ids), self.classes))
        for fit, solution in zip(self._fits, solutions, strict=True):
            if fit.held_out is not None:
                logits[fit.places] = solution.logits(fit.held_out)
        return logits


def _of_learnt_classes(ids: NDArray[np.int64], learnt: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the places of clips of classes that were learnt: others say nothing of the penalty."""
    return np.flatnonzero(np.isin(ids, learnt))


def _figures(logits: Array, ids: NDArray[np.int64], prefix: str = "") -> Row:
    right = np.mean(logits.argmax(axis=1) == ids)
    return {f"{prefix}loss": cross_entropy(logits, ids), f"{prefix}accuracy": float(right)}
