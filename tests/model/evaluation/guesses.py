"""Predictions made by hand, for the tests of what follows from them."""

import numpy as np

from model.evaluation.predictions import Predictions


def guess(*rows: tuple[str, str, float]) -> Predictions:
    """Predictions of classes a and b: for each clip its true and predicted label, and the probability of the latter."""
    probabilities = [[p, 1 - p] if predicted == "a" else [1 - p, p] for _, predicted, p in rows]
    paths = [f"{number}.wav" for number in range(len(rows))]
    table = np.array(probabilities, np.float32)
    return Predictions(paths, [true for true, _, _ in rows], paths, table, table)
