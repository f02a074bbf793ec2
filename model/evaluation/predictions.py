"""What a network predicts for the rows of a feature set, and what follows from that."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.runtime.progress import Progress
from model.evaluation.groups import GroupScores
from model.evaluation.metrics import (
    average_precision,
    class_scores,
    confusion_matrix,
    cross_entropy,
    roc_auc,
    wilson_interval,
)
from model.inference.executor import Executor
from model.training.rows import Rows


@dataclass(frozen=True)
class Predictions:
    """What a network predicts for every row of some partitions, in the order of the manifest.

    Attributes:
        paths: path of each clip; of a window of `_silence_` its number, recording and start.
        true: what the label of each clip counts as.
        groups: group of each clip; its path where it has none.
        probabilities: float32 of shape (clips, classes of the network).
        uncalibrated: the same without the network's temperature.
    """

    paths: list[str]
    true: list[str]
    groups: list[str]
    probabilities: NDArray[np.float32]
    uncalibrated: NDArray[np.float32]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Class id with the largest probability, the first of equals: (clips,)."""
        ids: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return ids

    def class_ids(self, classes: list[str]) -> NDArray[np.int64]:
        """Returns the number of each clip's true class, -1 for one that the network lacks: (clips,)."""
        ids = {label: number for number, label in enumerate(classes)}
        return np.array([ids.get(label, -1) for label in self.true], dtype=np.int64)

    def correct(self, classes: list[str]) -> NDArray[np.bool_]:
        """Returns whether each clip got its true label, which a class that the network lacks never does: (clips,)."""
        correct: NDArray[np.bool_] = self.predicted == self.class_ids(classes)
        return correct

    def take(self, rows: Sequence[int]) -> "Predictions":
        """Returns what is predicted for some of the rows, by their numbers."""

        def taken(values: Any) -> Any:
            return [values[row] for row in rows] if isinstance(values, list) else values[list(rows)]

        return Predictions(**{one.name: taken(getattr(self, one.name)) for one in fields(self)})


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Returns predictions of networks with the same classes one after another."""

    def joined(values: list[Any]) -> Any:
        return [one for value in values for one in value] if isinstance(values[0], list) else np.concatenate(values)

    names = [one.name for one in fields(Predictions)]
    return Predictions(**{name: joined([getattr(part, name) for part in parts]) for name in names})


def predict_rows(network: Executor, rows: Rows) -> Predictions:
    """Predicts every row, at least one, and shows the progress.

    Raises:
        RunError: a shard is missing or damaged.
    """
    paths: list[str] = []
    true: list[str] = []
    groups: list[str] = []
    parts = []
    progress = Progress(f"predict {', '.join(rows.partitions)}", len(rows), "clips")
    for content in rows.contents():
        parts.append(network.outputs(content.features))
        paths += content.paths
        true += rows.class_names(content)
        groups += [group or path for group, path in zip(content.groups, content.paths, strict=True)]
        progress.update(len(paths))
    progress.close()
    outputs = np.concatenate(parts)
    return Predictions(
        paths=paths,
        true=true,
        groups=groups,
        probabilities=network.output_form.probabilities(outputs),
        uncalibrated=replace(network.output_form, temperature=1.0).probabilities(outputs),
    )


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
                **_ranking(predictions, number, true == number),
            }
            for label, number in ids.items()
        },
        "unknown_classes": dict(unknown),
        "confusion": confusion.tolist(),
    }


def accuracy(predictions: Predictions, classes: list[str]) -> dict[str, Any]:
    """Returns accuracy, its 95 % intervals, and the numbers of correct and of all clips and of groups, for JSON.

    One interval takes clips as independent, the other groups alone.
    """
    scores = group_scores(predictions, classes)
    clips, correct = len(predictions.true), int(scores.correct.sum())
    return {
        "accuracy": correct / clips,
        "interval_95": list(wilson_interval(correct, clips)),
        "interval_95_by_group": list(scores.interval()),
        "correct": correct,
        "clips": clips,
        "groups": len(scores.names),
    }


def group_scores(predictions: Predictions, classes: list[str]) -> GroupScores:
    """Returns how many clips of each group are right."""
    return GroupScores.of(predictions.groups, predictions.correct(classes))


def _ranking(predictions: Predictions, number: int, positive: NDArray[np.bool_]) -> dict[str, float | None]:
    """Returns how well the probability of a class separates its clips; null where undefined, as for one it lacks."""
    if number >= predictions.probabilities.shape[1]:
        return {"average_precision": None, "roc_auc": None}
    scores = predictions.probabilities[:, number]
    return {"average_precision": average_precision(scores, positive), "roc_auc": roc_auc(scores, positive)}
