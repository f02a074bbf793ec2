"""What an evaluation writes into a run folder: metrics, the confusion matrix, predictions, and pictures of mistakes."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.io.atomic import write_file
from features.io.csv_text import csv_label, csv_lines
from features.sources.paths import csv_path, unescape_path
from model.evaluation.calibration import reliabilities
from model.evaluation.groups import GroupScores
from model.evaluation.predictions import Predictions, group_scores
from model.training.rows import Rows

if TYPE_CHECKING:
    from model.pictures.example_pictures import Example
    from model.pictures.reliability_picture import Curve

PREDICTIONS_HEADER = ("path", "true", "predicted", "probability")
GROUPS_HEADER = ("group", "clips", "correct", "accuracy")
EXAMPLES_TITLE = "Mistakes first, the surest ones first: true → predicted (probability)"
_EXAMPLES = 16
# Of the examples, so many are mistakes where there are as many.
_MISTAKES = 12


def write_evaluation(folder: Path, metrics: dict[str, Any], predictions: Predictions, rows: Rows) -> None:
    """Writes an evaluation.

    Args:
        folder: which exists and is empty.
        metrics: of the predictions, as `model.evaluation.evaluator.evaluate` returns them.
        predictions: of the rows, in their order.
        rows: what was predicted; their `classes` are those of the network.

    Raises:
        RunError: a shard is missing or damaged.
    """
    from model.pictures.example_pictures import draw_examples
    from model.pictures.reliability_picture import draw_reliability

    classes = rows.classes
    write_file(folder / "metrics.json", json.dumps(metrics, indent=1, ensure_ascii=False) + "\n")
    write_confusion(folder, metrics)
    write_file(folder / "predictions.csv", csv_lines(prediction_rows(predictions, classes)))
    write_file(folder / "groups.csv", csv_lines(_group_rows(group_scores(predictions, classes))))
    error = metrics["calibration"]["expected_calibration_error"]
    title = f"expected calibration error {error:.4f} on {metrics['clips']:,} clips"
    curves = _reliability_curves(predictions, classes, metrics["calibration"]["temperature"])
    draw_reliability(curves, title, folder / "reliability.png")
    examples = load_examples(predictions, rows, choose_examples(predictions, classes))
    draw_examples(examples, rows.manifest.spec, EXAMPLES_TITLE, folder / "examples.png")


def write_confusion(folder: Path, metrics: dict[str, Any]) -> None:
    """Writes the confusion matrix of metrics as a table and as a picture."""
    from model.pictures.run_pictures import draw_confusion

    labels = list(metrics["classes"])
    numbered = zip(labels, metrics["confusion"], strict=True)
    matrix = [
        ("true \\ predicted", *map(csv_label, labels)),
        *((csv_label(label), *counts) for label, counts in numbered),
    ]
    write_file(folder / "confusion.csv", csv_lines(matrix))
    low, high = metrics["interval_95"]
    title = f"accuracy {metrics['accuracy']:.3f} (95 %: {low:.3f} to {high:.3f}) on {metrics['clips']:,} clips"
    draw_confusion(np.array(metrics["confusion"]), labels, title, folder / "confusion.png")


def mistakes_first(predictions: Predictions, classes: list[str]) -> list[int]:
    """Returns all rows, those to look at first: the surest mistakes, and after all of them the least sure right ones.

    Equals are in the order of their paths' bytes.
    """
    sureness = predictions.probabilities.max(axis=1).tolist()
    correct = predictions.correct(classes).tolist()

    def place(row: int) -> tuple[bool, float, bytes]:
        return correct[row], sureness[row] if correct[row] else -sureness[row], unescape_path(predictions.paths[row])

    return sorted(range(len(correct)), key=place)


def choose_examples(predictions: Predictions, classes: list[str]) -> list[int]:
    """Returns the rows to show: the surest mistakes, then the least sure of the right ones."""
    rows, num_wrong = mistakes_first(predictions, classes), int((~predictions.correct(classes)).sum())
    wrong, right = rows[:num_wrong], rows[num_wrong:]
    mistakes = wrong[: max(_MISTAKES, _EXAMPLES - len(right))]
    return mistakes + right[: _EXAMPLES - len(mistakes)]


def load_examples(predictions: Predictions, rows: Rows, shown: list[int]) -> "list[Example]":
    """Returns clips as they are drawn, with what was predicted for them.

    Args:
        predictions: of the rows, in their order.
        rows: what was predicted.
        shown: numbers of the clips.

    Raises:
        RunError: a shard is missing or damaged.
    """
    from model.pictures.example_pictures import Example

    tensors = _tensors(rows, shown)
    return [
        Example(
            path=predictions.paths[row],
            features=tensors[row],
            true=predictions.true[row],
            predicted=rows.classes[predictions.predicted[row]],
            probability=float(predictions.probabilities[row].max()),
        )
        for row in shown
    ]


def _reliability_curves(predictions: Predictions, classes: list[str], temperature: float) -> "list[Curve]":
    from model.pictures.reliability_picture import Curve

    names = [f"with the temperature of {temperature:.3f}", "without"] if temperature != 1 else ["without a temperature"]
    return [
        Curve(name, table.edges, table.clips, table.confidence, table.accuracy)
        for name, table in zip(names, reliabilities(predictions, classes), strict=False)
    ]


def _tensors(rows: Rows, wanted: list[int]) -> dict[int, NDArray[np.floating]]:
    """Reads the features of a few rows, counted in the order of the manifest."""
    found, first = {}, 0
    for shard in rows.shards:
        num_rows = rows.num_rows(shard)
        inside = [row for row in wanted if first <= row < first + num_rows]
        if inside:
            content = rows.read(shard)
            found.update({row: content.tensors[row - first] for row in inside})
        first += num_rows
    for row in wanted:
        if row >= first and rows.silence is not None:
            found[row] = rows.silence.read(row - first, row - first + 1).tensors[0]
    return found


def _group_rows(scores: GroupScores) -> Iterator[tuple[str, ...]]:
    yield GROUPS_HEADER
    for name, clips, correct, accuracy in zip(scores.names, scores.clips, scores.correct, scores.accuracy, strict=True):
        yield csv_path(name), str(clips), str(correct), f"{accuracy:.6f}"


def prediction_rows(
    predictions: Predictions, classes: list[str], more: tuple[str, Sequence[str]] | None = None
) -> Iterator[tuple[str, ...]]:
    """Yields the lines of predictions.csv, in the order of `mistakes_first`.

    Args:
        predictions: of the clips.
        classes: labels in the order of the network's outputs.
        more: name of one more column, and its value of each clip.
    """
    yield PREDICTIONS_HEADER + ((more[0],) if more else ())
    predicted = predictions.predicted
    for row in mistakes_first(predictions, classes):
        guess = predicted[row]
        probability = f"{predictions.probabilities[row, guess]:.6f}"
        last = (more[1][row],) if more else ()
        names = csv_label(predictions.true[row]), csv_label(classes[guess])
        yield csv_path(predictions.paths[row]), *names, probability, *last
