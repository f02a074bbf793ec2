"""Probabilities that mean what they say: a temperature, a threshold for each class, and how wrong probabilities are.

All of it is fitted on clips that the network did not learn from, by NumPy and SciPy alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.inference.outputs import Outputs

TEMPERATURES = (0.05, 20.0)
"""The least and the largest temperature that is fitted."""
LEAST_CLIPS = 10
"""A threshold has so many clips at or above it at least, or it is not fitted: of fewer, a precision says too little."""
_BINS = 15
_DRAWS = 200


@dataclass(frozen=True)
class Calibration:
    """What validation says about a network's probabilities; the defaults are those without validation.

    Attributes:
        temperature: by which logits are divided.
        thresholds: by label, the probability from which on it is right as often as `target_precision`; None for a label
            that has no such threshold, and None as a whole where there was no validation.
        target_precision: that the thresholds were fitted for, None without thresholds.
    """

    temperature: float = 1.0
    thresholds: Mapping[str, float | None] | None = None
    target_precision: float | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` for what no calibration has."""
        Outputs(are_logits=True, temperature=self.temperature)
        if (self.thresholds is None) != (self.target_precision is None):
            raise ValueError("thresholds come with the precision that they were fitted for")
        for label, threshold in (self.thresholds or {}).items():
            if threshold is not None and not 0 <= threshold <= 1:
                raise ValueError(f"a threshold is a probability from 0 to 1, not {threshold}, as {label} has")

    @property
    def without_threshold(self) -> list[str]:
        """The labels that have no threshold, where there are thresholds."""
        return [label for label, threshold in (self.thresholds or {}).items() if threshold is None]

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON has it."""
        thresholds = None if self.thresholds is None else dict(self.thresholds)
        return {"temperature": self.temperature, "thresholds": thresholds, "target_precision": self.target_precision}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Calibration":
        """Reads what `to_dict` returns, which may stand among other things; raises `KeyError` where some is missing."""
        return cls(content["temperature"], content["thresholds"], content["target_precision"])


UNCALIBRATED = Calibration()


@dataclass(frozen=True)
class Reliability:
    """How often the winning class is right, by its probability: a row for each bin of equal width.

    A bin takes what is above its lower edge and not above its upper one.

    Attributes:
        edges: float64 of shape (bins + 1,), from 0 to 1.
        clips: int64 of shape (bins,), the number of clips.
        confidence: float64 of shape (bins,), their mean probability; NaN without clips.
        accuracy: float64 of shape (bins,), the share of them that is right; NaN without clips.
    """

    edges: NDArray[np.float64]
    clips: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def expected_error(self) -> float:
        """The mean over the clips of the distance of confidence and accuracy in their bin; 0 without clips."""
        filled = self.clips > 0
        distances = np.abs(self.confidence - self.accuracy)[filled]
        return float(np.average(distances, weights=self.clips[filled])) if filled.any() else 0.0


def fit_temperature(outputs: NDArray[np.floating], true: NDArray[np.integer], outputs_spec: Outputs) -> float:
    """Fits the temperature at which a network's probabilities fit the truth best (Guo et al., 2017).

    It minimises the negative log likelihood between two bounds. Where every clip is right, that falls without end as
    the network is made surer; so it is made no surer than that the mean probability of the winning class is
    (clips + 1) / (clips + 2), which is what so many right clips say of the next one (Laplace's rule of succession).

    Args:
        outputs: of the network, of shape (clips, classes).
        true: number of the true class of each clip, (clips,); clips with a negative one are left out.
        outputs_spec: what the outputs are; its own temperature does not count.

    Returns:
        A temperature within `TEMPERATURES`, whose likelihood is not below that of 1; 1 where nothing can be fitted.
    """
    from scipy.optimize import brentq, minimize_scalar
    from scipy.special import logsumexp

    known = np.asarray(true) >= 0
    logits = outputs_spec.logits(np.asarray(outputs)[known]).astype(np.float64)
    clips = len(logits)
    if not clips or logits.shape[1] < 2:
        return 1.0
    logits -= logits.max(axis=1, keepdims=True)
    own = logits[np.arange(clips), np.asarray(true)[known]]

    def loss(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        return float(np.mean(logsumexp(scale * logits, axis=1) - scale * own))

    def too_sure(log_temperature: float) -> float:
        winning = np.exp(-logsumexp(math.exp(-log_temperature) * logits, axis=1))
        return float(winning.mean()) - (clips + 1) / (clips + 2)

    least, most = (math.log(temperature) for temperature in TEMPERATURES)
    if too_sure(0.0) >= 0:
        least = 0.0
    elif too_sure(least) > 0:
        least = float(brentq(too_sure, least, 0.0))
    found = float(minimize_scalar(loss, bounds=(least, most), method="bounded", options={"xatol": 1e-6}).x)
    return float(np.exp(found)) if loss(found) < loss(0.0) else 1.0


def fit_thresholds(
    probabilities: NDArray[np.floating], true: NDArray[np.integer], classes: Sequence[str], target_precision: float
) -> dict[str, float | None]:
    """Fits, for each class, the smallest probability from which on it is right as often as requested.

    Counted are the clips that the class wins, since that is what a labelled CSV with one label a window has. The
    threshold is the probability of one of them, so that what is surer than it, and it, reach the precision together.

    Args:
        probabilities: of shape (clips, classes).
        true: number of the true class of each clip, (clips,); negative for none of the classes.
        classes: labels in the order of the probabilities.
        target_precision: above 0 and at most 1.

    Returns:
        The threshold of each label; None where none with `LEAST_CLIPS` clips or more reaches the precision.
    """
    winners = probabilities.argmax(axis=1) if len(probabilities) else np.empty(0, np.int64)
    thresholds: dict[str, float | None] = {}
    for number, label in enumerate(classes):
        won = winners == number
        scores = probabilities[won, number]
        order = np.argsort(-scores, kind="stable")
        scores, right = scores[order], (np.asarray(true)[won] == number)[order]
        count = np.arange(1, len(scores) + 1)
        ends = np.append(scores[1:] != scores[:-1], True)[: len(scores)]  # of equals, a threshold takes all or none
        # Not by division: 9 of 10 is 0.9, whatever a quotient is rounded to.
        reaches = np.cumsum(right) >= target_precision * count - 1e-9
        fits = np.flatnonzero(reaches & ends & (count >= LEAST_CLIPS))
        thresholds[label] = float(scores[fits[-1]]) if len(fits) else None
    return thresholds


def reliability(probabilities: NDArray[np.floating], true: NDArray[np.integer], bins: int = _BINS) -> Reliability:
    """Returns how often the winning class is right, by its probability.

    Args:
        probabilities: of shape (clips, classes).
        true: number of the true class of each clip, (clips,); negative for none of the classes, which is never right.
        bins: of equal width, from 0 to 1.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    if not len(probabilities):
        nothing = np.full(bins, np.nan)
        return Reliability(edges, np.zeros(bins, np.int64), nothing, nothing)
    sureness, numbers = _in_bins(probabilities, edges)
    right = probabilities.argmax(axis=1) == true
    clips = np.bincount(numbers, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(numbers, weights=sureness, minlength=bins) / clips
        accuracy = np.bincount(numbers, weights=right, minlength=bins) / clips
    return Reliability(edges, clips, confidence, accuracy)


def expected_calibration_error(
    probabilities: NDArray[np.floating], true: NDArray[np.integer], bins: int = _BINS
) -> float:
    """Returns the mean distance of the winning class' probability from the share of clips for which it is right.

    Clips are divided by that probability into bins of equal width; the distance is that of a bin's two means, weighted
    by its clips (Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015; Guo et al.,
    2017, equation 3). The arguments are those of `reliability`.
    """
    return reliability(probabilities, true, bins).expected_error


def chance_calibration_error(probabilities: NDArray[np.floating], bins: int = _BINS) -> float:
    """Returns the expected calibration error that as many clips have on average if the probabilities are the truth.

    It is above 0, as each bin has few clips; an error that is not above it says nothing against the network. It is the
    mean over draws, with a fixed seed, of which clips are right (Bröcker and Smith, "Increasing the Reliability of
    Reliability Diagrams", 2007).

    Args:
        probabilities: of shape (clips, classes).
        bins: of equal width, from 0 to 1.
    """
    clips = len(probabilities)
    if not clips:
        return 0.0
    sureness, numbers = _in_bins(probabilities, np.linspace(0.0, 1.0, bins + 1))
    expected = np.bincount(numbers, weights=sureness, minlength=bins)
    generator = np.random.default_rng(0)
    draws = (np.bincount(numbers, weights=generator.random(clips) < sureness, minlength=bins) for _ in range(_DRAWS))
    return float(np.mean([np.abs(right - expected).sum() for right in draws])) / clips


def _in_bins(
    probabilities: NDArray[np.floating], edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns the probability of the winning class of each clip, at least one, and the number of its bin."""
    sureness = probabilities.max(axis=1).astype(np.float64)
    return sureness, np.clip(np.searchsorted(edges, sureness, side="left") - 1, 0, len(edges) - 2)
