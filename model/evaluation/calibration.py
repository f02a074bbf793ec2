"""How well a network's probabilities and thresholds hold on clips that they were not fitted on, ready for JSON."""

import math
from typing import Any

import numpy as np

from model.evaluation.predictions import Predictions
from model.inference.calibration import Calibration, Reliability, chance_calibration_error, reliability


def measure_calibration(predictions: Predictions, classes: list[str], temperature: float) -> dict[str, Any]:
    """Returns the expected calibration error, with the temperature, without it and by chance, and its table of bins."""
    table, before = reliabilities(predictions, classes)
    columns = zip(table.edges[:-1], table.edges[1:], table.clips, table.confidence, table.accuracy, strict=True)
    return {
        "temperature": temperature,
        "expected_calibration_error": table.expected_error,
        "expected_calibration_error_before": before.expected_error,
        "expected_calibration_error_by_chance": chance_calibration_error(predictions.probabilities),
        "reliability": [
            {
                "above": float(lower),
                "to": float(upper),
                "clips": int(clips),
                "confidence": _number(confidence),
                "accuracy": _number(accuracy),
            }
            for lower, upper, clips, confidence, accuracy in columns
        ],
    }


def reliabilities(predictions: Predictions, classes: list[str]) -> tuple[Reliability, Reliability]:
    """Returns the reliability of the probabilities as they are, and as they were without a temperature."""
    true = predictions.class_ids(classes)
    return reliability(predictions.probabilities, true), reliability(predictions.uncalibrated, true)


def measure_thresholds(predictions: Predictions, classes: list[str], calibration: Calibration) -> dict[str, Any] | None:
    """Returns what comes of the thresholds, as `score --threshold auto` uses them; None where there are none.

    The precision is that of all labels that are given, whatever their class; None where there are none.
    """
    if calibration.thresholds is None:
        return None
    own = [calibration.thresholds[label] for label in classes]
    least = np.array([math.inf if threshold is None else threshold for threshold in own])
    given = predictions.probabilities.max(axis=1) >= least[predictions.predicted]
    labelled = int(given.sum())
    correct = int((predictions.correct(classes) & given).sum())
    return {
        "target_precision": calibration.target_precision,
        "precision": correct / labelled if labelled else None,
        "labelled": labelled,
        "labelled_share": labelled / len(given),
        "without_threshold": calibration.without_threshold,
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
