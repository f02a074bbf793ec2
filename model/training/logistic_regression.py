"""Multinomial logistic regression with an L2 penalty, solved to convergence by NumPy and SciPy, in float64.

It minimises the mean cross-entropy of the clips, weighted, plus `l2 / 2` times the sum of the squared weights; the bias
is not penalised. That is scikit-learn's `LogisticRegression` with `C = 1 / (l2 * clips)`.

The steps are those of L-BFGS (Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989).
They are taken along the principal directions of the features, each scaled by what the loss curves there: of embeddings,
whose values go together, it takes a tenth of the time that it takes on the values themselves.
"""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.runtime.log import LOG

Array = NDArray[np.float64]

# Largest gradient with which the steps end, along directions that are scaled to a curvature of about 1: half the sum of
# its squares is about what the loss is above the smallest one.
WHILE_CHOOSING, CONVERGED = 1e-4, 1e-7
_MOST_STEPS = 10_000
# The directions of more values and clips than this would take longer to find than they save.
_MOST_DIRECTIONS = 4096
# Of the largest variance: below it a direction is rounding.
_LEAST_VARIANCE = 1e-12
# Of p * (1 - p), by which the loss curves: where all clips are sure it is 0, and nothing is divided by that.
_LEAST_CURVATURE = 1e-8
# Where it is less than it was by more than this, directions are scaled anew.
_FLATTER = 4.0


@dataclass(frozen=True)
class Directions:
    """The directions in which clips differ, from the least to the most; all values themselves where those are many.

    Attributes:
        axes: of shape (values, directions), orthonormal; None for the values themselves.
        squares: mean square of the clips' features along each, (directions,).
    """

    axes: Array | None
    squares: Array

    @classmethod
    def of(cls, features: Array) -> "Directions":
        """Returns those of features of shape (clips, values), which are brought to mean 0 and variance 1."""
        clips, values = features.shape
        if min(clips, values) > _MOST_DIRECTIONS:
            return cls(None, np.mean(features * features, axis=0))
        if values <= clips:
            squares, axes = np.linalg.eigh(features.T @ features)
            return cls(axes, np.maximum(squares, 0.0) / clips)
        # In directions in which no clip differs from 0 the penalty keeps the weights at 0.
        squares, of_clips = np.linalg.eigh(features @ features.T)
        there = squares > _LEAST_VARIANCE * max(squares[-1], _LEAST_VARIANCE)
        squares = squares[there]
        return cls(features.T @ (of_clips[:, there] / np.sqrt(squares)), squares / clips)

    def along(self, features: Array) -> Array:
        """Returns features along the directions: (clips, values) to (clips, directions)."""
        return features if self.axes is None else features @ self.axes

    def weights(self, solution: "Solution") -> Array:
        """Returns the weights of the values: (values, classes)."""
        return solution.weights if self.axes is None else self.axes @ solution.weights


@dataclass(frozen=True)
class Solution:
    """Weights and bias of logits.

    Attributes:
        weights: of shape (directions, classes).
        bias: of shape (classes,).
    """

    weights: Array
    bias: Array

    @classmethod
    def zeros(cls, directions: int, classes: int) -> "Solution":
        """Returns what gives all classes the same probability."""
        return cls(np.zeros((directions, classes)), np.zeros(classes))

    def logits(self, features: Array) -> Array:
        """Returns the logits of features along the directions: (clips, directions) to (clips, classes)."""
        logits: Array = features @ self.weights
        logits += self.bias
        return logits


@dataclass(frozen=True)
class Clips:
    """Clips to learn from.

    Attributes:
        features: along the directions, of shape (clips, directions).
        ids: class of each, (clips,).
        shares: what each counts in the loss, (clips,); their sum is 1.
    """

    features: Array
    ids: NDArray[np.int64]
    shares: Array

    def objective(self, solution: Solution, l2: float) -> tuple[float, Solution]:
        """Returns what is minimised, and its gradient as weights and bias."""
        logits = solution.logits(self.features)
        logits -= logits.max(axis=1, keepdims=True)
        clips = np.arange(len(self.ids))
        own = logits[clips, self.ids]
        np.exp(logits, out=logits)
        sums = logits.sum(axis=1, keepdims=True)
        loss = float(self.shares @ (np.log(sums[:, 0]) - own))
        loss += l2 / 2 * float(np.sum(solution.weights * solution.weights))
        logits /= sums
        logits[clips, self.ids] -= 1
        logits *= self.shares[:, np.newaxis]
        return loss, Solution(self.features.T @ logits + l2 * solution.weights, logits.sum(axis=0))

    def curvature(self, solution: Solution) -> float:
        """Returns the mean of p * (1 - p) over the clips and classes."""
        from scipy.special import softmax

        probabilities = softmax(solution.logits(self.features), axis=1)
        return float(np.mean(probabilities * (1 - probabilities)))


def solve(clips: Clips, directions: Directions, l2: float, start: Solution, tolerance: float = CONVERGED) -> Solution:
    """Returns the weights with the smallest loss.

    Args:
        clips: to learn from.
        directions: of the features.
        l2: weight of the penalty, above 0.
        start: where the steps begin, which decides how many they are.
        tolerance: `WHILE_CHOOSING` or `CONVERGED`.
    """
    curvature = max(clips.curvature(start), _LEAST_CURVATURE)
    while True:
        start = _descend(clips, directions, l2, start, curvature, tolerance)
        # The surer the clips become, the less the loss curves, and the less a gradient says by the scale of before.
        before, curvature = curvature, max(clips.curvature(start), _LEAST_CURVATURE)
        if curvature > before / _FLATTER:
            return start


def _descend(
    clips: Clips, directions: Directions, l2: float, start: Solution, curvature: float, tolerance: float
) -> Solution:
    """Steps down with directions that are scaled to this curvature, until the gradient is within the tolerance."""
    from scipy.optimize import minimize

    scale = 1 / np.sqrt(curvature * directions.squares + l2)[:, np.newaxis]
    bias_scale = 1 / np.sqrt(curvature)
    shape = start.weights.shape
    size = start.weights.size

    def scaled(point: Array) -> Solution:
        return Solution(point[:size].reshape(shape) * scale, point[size:] * bias_scale)

    def objective(point: Array) -> tuple[float, Array]:
        loss, gradient = clips.objective(scaled(point), l2)
        return loss, np.concatenate([(gradient.weights * scale).ravel(), gradient.bias * bias_scale])

    first = np.concatenate([(start.weights / scale).ravel(), start.bias / bias_scale])
    found = minimize(
        objective, first, jac=True, method="L-BFGS-B",
        options={"maxiter": _MOST_STEPS, "maxfun": 2 * _MOST_STEPS, "ftol": 0.0, "gtol": tolerance},
    )  # fmt: skip
    gradient = float(np.abs(found.jac).max())
    if gradient > tolerance:
        # Rounding may keep it from the last digits, which change no probability.
        level = logging.WARNING if gradient > WHILE_CHOOSING else logging.DEBUG
        LOG.log(level, "%sL2 %g is not solved for to the end: after %d steps the gradient is %.1e: %s",
                "warning: " if level == logging.WARNING else "", l2, found.nit, gradient, found.message)  # fmt: skip
    return scaled(found.x)


def cross_entropy(logits: Array, ids: NDArray[np.int64]) -> float:
    """Returns the mean cross-entropy of clips, at least one: logits of shape (clips, classes), classes (clips,)."""
    from scipy.special import logsumexp

    own = logits[np.arange(len(ids)), ids]
    return float(np.mean(logsumexp(logits, axis=1) - own))
