"""What a network predicts for the rows of a feature set, and what follows from that."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.runtime.progress import Progress
from model.evaluation.metrics import class_scores, confusion_matrix, cross_entropy, wilson_interval
from model.inference.executor import Executor
from model.training.rows import Rows


@dataclass(frozen=True)
class Predictions:
    """What a network predicts for every row of some partitions, in the order of the manifest.

    Attributes:
        paths: path of each clip; of a window of `_silence_` its number, recording and start.
        true: what the label of each clip counts as.
        probabilities: float32 of shape (clips, classes of the network).
    """

    paths: list[str]
    true: list[str]
    probabilities: NDArray[np.float32]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Class id with the largest probability, the first of equals: (clips,)."""
        ids: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return ids

    def correct(self, classes: list[str]) -> NDArray[np.bool_]:
        """Returns whether each clip got its true label, which a class that the network lacks never does: (clips,)."""
        return np.array([classes[guess] == label for guess, label in zip(self.predicted, self.true, strict=True)], bool)


def predict_rows(network: Executor, rows: Rows) -> Predictions:
    """Predicts every row, at least one, and shows the progress.

    Raises:
        RunError: a shard is missing or damaged.
    """
    paths: list[str] = []
    true: list[str] = []
    parts = []
    progress = Progress(f"predict {', '.join(rows.partitions)}", len(rows), "clips")
    for content in rows.contents():
        parts.append(network.probabilities(content.features))
        paths += content.paths
        true += rows.class_names(content)
        progress.update(len(paths))
    progress.close()
    return Predictions(paths, true, np.concatenate(parts))


def measure(predictions: Predictions, classes: list[str]) -> dict[str, Any]:
    """Returns the metrics of predictions, ready for JSON.

    Args:
        predictions: at least one.
        classes: labels in the order of the network's outputs.
    """
    unknown = Counter(label for label in predictions.true if label not in classes)
    all_classes = [*classes, *sorted(unknown)]  # clips of a class that the network lacks count as wrong
    ids = {label: number for number, label in enumerate(all_classes)}
    true = np.array([ids[label] for label in predictions.true], dtype=np.int64)
    confusion = confusion_matrix(true, predictions.predicted, len(all_classes))
    scores = class_scores(confusion)
    known = true < len(classes)
    present = scores.support > 0
    return {
        **accuracy(predictions, classes),
        "loss": cross_entropy(predictions.probabilities[known], true[known]),
        "macro_recall": float(scores.recall[present].mean()),
        "classes": {
            label: {
                "precision": float(scores.precision[number]),
                "recall": float(scores.recall[number]),
                "f1": float(scores.f1[number]),
                "clips": int(scores.support[number]),
            }
            for label, number in ids.items()
        },
        "unknown_classes": dict(unknown),
        "confusion": confusion.tolist(),
    }


def accuracy(predictions: Predictions, classes: list[str]) -> dict[str, Any]:
    """Returns accuracy, its 95 % interval, and the numbers of correct and of all clips, ready for JSON."""
    correct = int(predictions.correct(classes).sum())
    low, high = wilson_interval(correct, len(predictions.true))
    clips = len(predictions.true)
    return {"accuracy": correct / clips, "interval_95": [low, high], "correct": correct, "clips": clips}
