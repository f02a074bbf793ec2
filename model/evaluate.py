"""Measures a trained network on a partition that it was not trained on: python -m model.evaluate."""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError
from features.io.atomic import atomic_folder, write_file
from features.io.csv_text import csv_lines
from features.runtime import command
from features.runtime.log import LOG
from features.runtime.progress import Progress
from features.sources.partition import parse_partitions
from features.sources.paths import csv_path, unescape_path
from features.store.manifest import Manifest, load_manifest
from model.evaluation.metrics import class_scores, confusion_matrix, cross_entropy, wilson_interval
from model.inference.artifact import read_description
from model.inference.executor import Executor, load_executor
from model.inference.tensorflow_setup import load_tensorflow
from model.training.holdout import hold_out
from model.training.run_folder import settings_of
from model.training.settings import holds_out, warn_of_test

EXAMPLE = "python -m model.evaluate --model RUN --features FEATURES --test-on testing"
PREDICTIONS_HEADER = ("path", "true", "predicted", "probability")
_EXAMPLES = 16
# Of the examples, so many are mistakes where there are as many.
_MISTAKES = 12


@dataclass(frozen=True)
class Predictions:
    """What a network says of every row of a partition, in the order of the manifest.

    Attributes:
        paths: path of each clip.
        true: true label of each clip.
        probabilities: float32 of shape (clips, classes of the network).
    """

    paths: list[str]
    true: list[str]
    probabilities: NDArray[np.float32]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Class id with the largest probability, the first of equals: (clips,)."""
        return self.probabilities.argmax(axis=1)

    def correct(self, classes: list[str]) -> NDArray[np.bool_]:
        """Whether each clip got its true label; never so for labels that the network lacks."""
        return np.array([classes[guess] == label for guess, label in zip(self.predicted, self.true, strict=True)], bool)


def evaluate(run: str, features: str, test_on: tuple[str, ...]) -> dict[str, Any]:
    """Evaluates a run's network and writes RUN/evaluation/PARTITION.

    Args:
        run: a run folder.
        features: a feature set made with the spec that the network was trained on.
        test_on: partitions to test on.

    Returns:
        The content of metrics.json.

    Raises:
        UsageError: the run or the features cannot be used, or do not fit each other.
        RunError: a shard is missing or damaged.
    """
    started = time.monotonic()
    description = read_description(run)
    spec = description["spec"]
    manifest = load_manifest(features)
    if manifest.spec.fingerprint != spec.fingerprint:
        raise UsageError(
            f"{features} was made with another spec than the model of {run}: {manifest.spec.differences(spec)} "
            "(features against model); featurize with the model's spec"
        )
    if not manifest.rows(test_on):
        raise UsageError(f"nothing to test on: {', '.join(test_on)} of {features} is empty; choose with --test-on")

    # Of a set with other rows nothing was learnt, whatever its partitions are called.
    settings = settings_of(Path(run), manifest)
    if settings:
        warn_of_test(manifest, settings, test_on)
    network = load_executor(run)
    # Loads TensorFlow: after what can be refused was refused.
    load_tensorflow()
    from model.training.dataset import Rows

    classes = network.classes
    tested = Rows(Path(features), manifest, test_on, classes)
    predictions = _predict(network, tested)
    metrics = measure(predictions, classes)
    # The clips that it was trained on stand beside, since the distance of the two tells of overfitting.
    if settings:
        kept = hold_out(features, manifest, settings.train_on)[0] if holds_out(manifest, settings) else None
        trained = _predict(network, Rows(Path(features), manifest, settings.train_on, classes, selection=kept))
        metrics["training"] = _accuracy(trained, classes)
    metrics |= {
        "tested_on": list(test_on),
        "seconds": time.monotonic() - started,
        "network": description["network_sha256"],
    }
    with atomic_folder(Path(run) / "evaluation" / "+".join(test_on)) as folder:
        _write(folder, predictions, metrics, classes, manifest, tested)
    return metrics


def measure(predictions: Predictions, classes: list[str]) -> dict[str, Any]:
    """Returns the metrics of predictions, ready for JSON."""
    unknown = Counter(label for label in predictions.true if label not in classes)
    all_classes = [*classes, *sorted(unknown)]  # clips of a class that the network lacks count as wrong
    ids = {label: number for number, label in enumerate(all_classes)}
    true = np.array([ids[label] for label in predictions.true], dtype=np.int64)
    confusion = confusion_matrix(true, predictions.predicted, len(all_classes))
    scores = class_scores(confusion)
    known = true < len(classes)
    present = scores.support > 0
    return {
        **_accuracy(predictions, classes),
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


def _accuracy(predictions: Predictions, classes: list[str]) -> dict[str, Any]:
    correct = int(predictions.correct(classes).sum())
    low, high = wilson_interval(correct, len(predictions.true))
    clips = len(predictions.true)
    return {"accuracy": correct / clips, "interval_95": [low, high], "correct": correct, "clips": clips}


def _predict(network: Executor, rows: Any) -> Predictions:
    paths: list[str] = []
    true: list[str] = []
    parts = []
    progress = Progress(f"predict {', '.join(rows.partitions)}", len(rows), "clips")
    for shard in rows.shards:
        content = rows.read(shard)
        parts.append(network.probabilities(content.features))
        paths += content.paths
        true += content.labels
        progress.update(len(paths))
    progress.close()
    return Predictions(paths, true, np.concatenate(parts))


def _write(
    folder: Path, predictions: Predictions, metrics: dict[str, Any], classes: list[str], manifest: Manifest, rows: Any
) -> None:
    from model.pictures.run_pictures import draw_confusion, draw_examples

    labels = list(metrics["classes"])
    write_file(folder / "metrics.json", json.dumps(metrics, indent=1, ensure_ascii=False) + "\n")
    matrix = [("true \\ predicted", *labels), *((name, *row) for name, row in zip(labels, metrics["confusion"]))]  # noqa: B905
    write_file(folder / "confusion.csv", csv_lines(matrix))
    write_file(folder / "predictions.csv", csv_lines(_prediction_rows(predictions, classes)))
    low, high = metrics["interval_95"]
    title = f"accuracy {metrics['accuracy']:.3f} (95 %: {low:.3f} to {high:.3f}) on {metrics['clips']:,} clips"
    draw_confusion(np.array(metrics["confusion"]), labels, title, folder / "confusion.png")
    shown = choose_examples(predictions, classes)
    tensors = _tensors(rows, shown)
    draw_examples(
        [
            (
                tensors[row],
                predictions.true[row],
                classes[predictions.predicted[row]],
                float(predictions.probabilities[row].max()),
            )
            for row in shown
        ],
        manifest.spec,
        "Mistakes first, the surest ones first: true → predicted (probability)",
        folder / "examples.png",
    )


def choose_examples(predictions: Predictions, classes: list[str]) -> list[int]:
    """Returns the rows to show: the surest mistakes, then the least sure of the right ones."""
    sureness = predictions.probabilities.max(axis=1)
    correct = predictions.correct(classes)
    wrong = sorted(np.flatnonzero(~correct).tolist(), key=lambda row: (-sureness[row], predictions.paths[row]))
    right = sorted(np.flatnonzero(correct).tolist(), key=lambda row: (sureness[row], predictions.paths[row]))
    mistakes = wrong[: max(_MISTAKES, _EXAMPLES - len(right))]
    return mistakes + right[: _EXAMPLES - len(mistakes)]


def _tensors(rows: Any, wanted: list[int]) -> dict[int, NDArray[np.floating]]:
    """Reads the features of a few rows, counted in the order of the manifest."""
    found, first = {}, 0
    for shard in rows.shards:
        num_rows = rows.num_rows(shard)
        inside = [row for row in wanted if first <= row < first + num_rows]
        if inside:
            content = rows.read(shard)
            found.update({row: content.tensors[row - first] for row in inside})
        first += num_rows
    return found


def _prediction_rows(predictions: Predictions, classes: list[str]) -> Iterator[tuple[str, ...]]:
    yield PREDICTIONS_HEADER
    predicted = predictions.predicted
    for row in sorted(range(len(predictions.paths)), key=lambda row: unescape_path(predictions.paths[row])):
        guess = predicted[row]
        probability = f"{predictions.probabilities[row, guess]:.6f}"
        yield csv_path(predictions.paths[row]), predictions.true[row], classes[guess], probability


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Measures a trained network and shows what it gets wrong.", EXAMPLE)
    result.add_argument("--model", required=True, metavar="RUN", help="run folder made by model.train")
    result.add_argument("--features", required=True, metavar="FEATURES", help="folder made by pipelines.featurize")
    result.add_argument("--test-on", default="testing", metavar="LIST", help="partitions, by commas (%(default)s)")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Evaluates and prints what came of it."""
    test_on = parse_partitions(options.test_on)
    metrics = evaluate(options.model, options.features, test_on)
    for label, scores in metrics["classes"].items():
        LOG.info(
            "%-20s precision %.3f  recall %.3f  f1 %.3f  %6d clips",
            label, scores["precision"], scores["recall"], scores["f1"], scores["clips"],
        )  # fmt: skip
    low, high = metrics["interval_95"]
    paragraph = (
        f"Accuracy {metrics['accuracy']:.4f} on {', '.join(test_on)}: {metrics['correct']:,} of {metrics['clips']:,} "
        f"clips (95 % interval {low:.4f} to {high:.4f}); macro recall {metrics['macro_recall']:.4f}, loss "
        f"{metrics['loss']:.4f}."
    )
    if "training" in metrics:
        paragraph += f" On the clips that it was trained on: {metrics['training']['accuracy']:.4f}."
    if metrics["unknown_classes"]:
        names = ", ".join(f"{name} ({clips})" for name, clips in metrics["unknown_classes"].items())
        paragraph += f" Counted wrong, since the network does not know the class: {names}."
    folder = Path(options.model) / "evaluation" / "+".join(test_on)
    paragraph += f" Look at {folder}/examples.png, where the mistakes come first, and confusion.png."
    command.finish(options, paragraph, metrics)
    return 0


if __name__ == "__main__":
    command.run(main, parser())
