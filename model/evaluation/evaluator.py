"""From a run and a feature set to the folder of an evaluation."""

import os
import time
from pathlib import Path
from typing import Any

from features.io.atomic import atomic_folder
from features.io.filesystem import absolute
from features.runtime.log import LOG
from features.sources.partition import TRAINING
from features.sources.paths import escape_path
from model.evaluation.calibration import measure_calibration, measure_thresholds
from model.evaluation.evaluation_folder import write_evaluation
from model.evaluation.predictions import accuracy, group_scores, measure, predict_rows
from model.evaluation.tested_rows import tested_rows
from model.evaluation.trained_set import TrainedSet, manifest_digest
from model.inference.executor import load_executor
from model.training.division import divide
from model.training.partitions import warn_of_test
from model.training.rows import Rows
from model.training.run_folder import settings_of


def evaluate(run: str, features: str, test_on: tuple[str, ...]) -> dict[str, Any]:
    """Evaluates a run's network and writes RUN/evaluation/PARTITION, of another set PARTITION@NAME-DIGEST.

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
    tested = tested_rows(run, features, test_on)
    manifest, labelled = tested.labelled.manifest, tested.labelled
    # Of a set with other rows nothing was learnt, whatever its partitions are called.
    settings = settings_of(Path(run), manifest)
    if settings:
        warn_of_test(manifest, settings, test_on)
    trained_set = TrainedSet.of(run)
    seen = trained_set.count_seen(tested.rows)
    if not settings or not set(test_on) & set(settings.rows.train_on):  # else all has been said
        _warn_of_seen(trained_set, seen, tested.rows)
    network = load_executor(run)
    classes = network.classes
    predictions = predict_rows(network, tested.rows)
    metrics = measure(predictions, classes)
    metrics["groups_accuracy"] = group_scores(predictions, classes).spread()
    metrics["calibration"] = measure_calibration(predictions, classes, network.calibration.temperature)
    metrics["thresholds"] = measure_thresholds(predictions, classes, network.calibration)
    # The clips that it was trained on stand beside, since the distance of the two shows overfitting.
    if settings:
        kept = divide(features, manifest, settings).training
        trained, _ = labelled.to_test_on(settings.rows.train_on, TRAINING, kept)
        metrics["training"] = accuracy(predict_rows(network, trained), classes)
    if not labelled.plan.is_plain:
        draw = tested.draw
        metrics["draw"] = {
            "unknown_clips": draw.unknown,
            "unknown_clips_of": draw.unknown_of,
            "silence_windows": len(tested.rows.silence or ()),
            "left_out": draw.left_out,
        }
    folder_name = trained_set.folder_name(features, manifest, test_on)
    metrics |= {
        "features": escape_path(os.fsencode(absolute(features))),
        "manifest_sha256": manifest_digest(manifest),
        "clips_trained_on": seen,
        "folder": folder_name,
        "tested_on": list(test_on),
        "seconds": time.monotonic() - started,
        "network": tested.description.network_sha256,
    }
    with atomic_folder(Path(run) / "evaluation" / folder_name) as folder:
        write_evaluation(folder, metrics, predictions, tested.rows)
    return metrics


def _warn_of_seen(trained_set: TrainedSet, seen: int | None, rows: Rows) -> None:
    """Says where clips that are tested are clips that were trained on, or that it cannot be known."""
    if seen:
        LOG.warning("warning: %d of %d clips of %s are, by content, clips that the network was trained on: the "
                    "accuracy there says nothing about new clips", seen, len(rows),
                    ", ".join(rows.partitions))  # fmt: skip
    elif seen is None:
        why = f"{trained_set.features} is gone or has changed" if trained_set.features else "it has no record of them"
        LOG.info("whether the clips are clips that %s was trained on cannot be known: %s", trained_set.run, why)
