"""From a run and a feature set to the folder of an evaluation."""

import time
from pathlib import Path
from typing import Any

from features.errors import UsageError
from features.io.atomic import atomic_folder
from features.sources.partition import TESTING, TRAINING
from features.store.manifest import load_manifest
from model.evaluation.calibration import measure_calibration, measure_thresholds
from model.evaluation.evaluation_folder import folder_of, write_evaluation
from model.evaluation.predictions import accuracy, group_scores, measure, predict_rows
from model.inference.artifact import read_description
from model.inference.executor import load_executor
from model.training.holdout import hold_out
from model.training.labelled_set import LabelledSet, silence_by_partition
from model.training.noise_file import labels_of
from model.training.partitions import holds_out, warn_of_test
from model.training.run_folder import settings_of


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
    spec = description.spec
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
    classes = network.classes
    plan, noise = labels_of(Path(run), spec)
    silence = silence_by_partition(noise, spec, plan)
    labelled = LabelledSet(Path(features), manifest, classes, plan, silence)
    tested, draw = labelled.to_test_on(test_on, TESTING)
    if not tested:
        names = ", ".join(draw.left_out)
        raise UsageError(f"nothing to test on: the run uses none of the labels in {', '.join(test_on)} of {features} "
                         f"({names}); choose with --test-on")  # fmt: skip
    predictions = predict_rows(network, tested)
    metrics = measure(predictions, classes)
    metrics["groups_accuracy"] = group_scores(predictions, classes).spread()
    metrics["calibration"] = measure_calibration(predictions, classes, network.calibration.temperature)
    metrics["thresholds"] = measure_thresholds(predictions, classes, network.calibration)
    # The clips that it was trained on stand beside, since the distance of the two shows overfitting.
    if settings:
        kept = hold_out(features, manifest, settings.rows.train_on)[0] if holds_out(manifest, settings) else None
        trained, _ = labelled.to_test_on(settings.rows.train_on, TRAINING, kept)
        metrics["training"] = accuracy(predict_rows(network, trained), classes)
    if not plan.is_plain:
        metrics["draw"] = {
            "unknown_clips": draw.unknown,
            "unknown_clips_of": draw.unknown_of,
            "silence_windows": len(tested.silence or ()),
            "left_out": draw.left_out,
        }
    metrics |= {
        "tested_on": list(test_on),
        "seconds": time.monotonic() - started,
        "network": description.network_sha256,
    }
    with atomic_folder(folder_of(run, test_on)) as folder:
        write_evaluation(folder, metrics, predictions, tested)
    return metrics
