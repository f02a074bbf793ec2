"""How good a classifier is, in numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NORMAL_975 = 1.959963984540054  # the 0.975 quantile of the standard normal distribution
_SMALLEST_PROBABILITY = 1e-7  # as Keras clips probabilities before it takes their logarithm


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class, float64 of shape (classes,); 0 where a ratio has nothing to divide by.

    Attributes:
        precision: of the clips given the label, the share that has it.
        recall: of the clips that have the label, the share given it.
        f1: harmonic mean of the two.
        support: number of clips that have the label.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]


def wilson_interval(correct: float, total: float) -> tuple[float, float]:
    """Returns the 95 % score interval of a proportion (Wilson, 1927).

    It takes clips as independent; of clips that are alike, it is that of as many independent ones as say as much, which
    need not be a whole number: see `model.evaluation.groups`.
    """
    if total == 0:
        return 0.0, 1.0
    share, square = correct / total, _NORMAL_975**2
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = _NORMAL_975 / (1 + square / total) * np.sqrt(share * (1 - share) / total + square / (4 * total**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def confusion_matrix(true: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Counts clips by true class (rows) and predicted class (columns): (classes, classes)."""
    matrix = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(matrix, (true, predicted), 1)
    return matrix


def class_scores(confusion: NDArray[np.int64]) -> ClassScores:
    """Returns the scores of each class of a confusion matrix."""
    hits = np.diag(confusion).astype(np.float64)
    given, support = confusion.sum(axis=0), confusion.sum(axis=1)
    precision, recall = _ratio(hits, given), _ratio(hits, support)
    return ClassScores(precision, recall, _ratio(2 * precision * recall, precision + recall), support)


def cross_entropy(probabilities: NDArray[np.float32], true: NDArray[np.int64]) -> float:
    """Returns the mean of -ln(probability of the true class): (clips, classes) and (clips,) to a number."""
    if not len(true):
        return 0.0
    chosen = probabilities[np.arange(len(true)), true].astype(np.float64)
    return float(np.abs(np.log(np.clip(chosen, _SMALLEST_PROBABILITY, 1.0))).mean())  # never -0.0, which prints so


def average_precision(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float | None:
    """Returns the mean of the precision at each positive clip, ranked by score; of equal scores all rank last.

    It is the sum over thresholds of precision times the gain in recall, without interpolation (Buckley and Voorhees,
    "Evaluating Evaluation Measure Stability", 2000). None without positive clips.
    """
    if not positive.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(positive[order])
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    precision, recall = hits[ends] / (ends + 1), hits[ends] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def roc_auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float | None:
    """Returns the share of pairs of a positive and another clip that the scores order rightly; equal ones count half.

    That is the area under the ROC curve (Hanley and McNeil, 1982). None where clips of one kind are missing.
    """
    from scipy.stats import rankdata

    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    ranks = float(rankdata(scores)[positive].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.generic]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(
        numerator, denominator, out=np.zeros(len(numerator)), where=np.asarray(denominator) > 0
    )
    return ratio
