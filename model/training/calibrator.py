"""Calibrates a network on the clips that it was validated on, as scoring runs it."""

import numpy as np
from numpy.typing import NDArray

from model.inference.artifact_description import ArtifactDescription
from model.inference.calibration import UNCALIBRATED, Calibration, fit_temperature, fit_thresholds
from model.inference.executor import Executor
from model.inference.outputs import Outputs
from model.training.rows import Rows


def calibrate(litert: bytes, description: ArtifactDescription, rows: Rows, target_precision: float) -> Calibration:
    """Fits temperature and thresholds.

    Args:
        litert: the network for LiteRT, which is there on any machine: another executor would give other last digits.
        description: of its artifact.
        rows: validated on, not learnt from; none for no calibration.
        target_precision: of the thresholds.

    Raises:
        RunError: a shard is missing or damaged.
    """
    if not rows:
        return UNCALIBRATED
    network = Executor(litert, description, "litert")
    outputs, true = [], []
    for content in rows.contents():
        outputs.append(network.outputs(content.features))
        true.append(rows.class_ids(content))
    return fit_calibration(np.concatenate(outputs), np.concatenate(true), description, target_precision)


def fit_calibration(
    outputs: NDArray[np.float32],
    true: NDArray[np.integer],
    description: ArtifactDescription,
    target_precision: float,
) -> Calibration:
    """Fits temperature and thresholds to what a network gives for clips that it did not learn from.

    Args:
        outputs: of the network, (clips, classes).
        true: class id of each clip, (clips,).
        description: of its artifact.
        target_precision: of the thresholds.
    """
    temperature = fit_temperature(outputs, true, description.outputs)
    probabilities = Outputs(description.returns_logits, temperature).probabilities(outputs)
    return Calibration(
        temperature=temperature,
        thresholds=fit_thresholds(probabilities, true, description.classes, target_precision),
        target_precision=target_precision,
    )
