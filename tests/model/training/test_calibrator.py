from dataclasses import replace

import numpy as np
import pytest

from features.store.manifest import load_manifest
from features.store.shards import read_shard
from model.inference.artifact import read_description, read_litert
from model.inference.calibration import UNCALIBRATED, fit_temperature, fit_thresholds
from model.inference.executor import Executor
from model.inference.outputs import Outputs
from model.training.calibrator import calibrate
from model.training.rows import Rows
from model.training.silence import Silence
from tests.signals import noise


@pytest.mark.parametrize("returns_logits", [True, False])
def test_a_calibration_is_fitted_on_the_rows_as_scoring_labels_them(untrained, feature_set, returns_logits):
    description = replace(read_description(untrained), returns_logits=returns_logits)
    litert, manifest = read_litert(untrained, description), load_manifest(feature_set)
    found = calibrate(litert, description, Rows(feature_set, manifest, ("training",), manifest.classes), 0.4)
    shards = [read_shard(manifest.layout(feature_set), shard, manifest.spec) for shard in manifest.shards(["training"])]
    features = np.concatenate([shard.features for shard in shards])
    true = np.array([manifest.classes.index(label) for shard in shards for label in shard.labels])
    outputs = Executor(litert, description, "litert").outputs(features)
    assert found.temperature == fit_temperature(outputs, true, description.outputs)
    warmed = replace(description, calibration=replace(UNCALIBRATED, temperature=found.temperature))
    probabilities = Executor(litert, warmed, "litert").probabilities(features)
    assert found.thresholds == fit_thresholds(probabilities, true, manifest.classes, 0.4)
    assert found.target_precision == 0.4


def test_windows_of_silence_count_as_clips(untrained, feature_set):
    classes = ["high", "low", "_silence_"]
    description, manifest = replace(read_description(untrained), classes=classes), load_manifest(feature_set)
    litert = read_litert(untrained, description)
    windows = np.abs(noise(5 * 124 * 129)).reshape(5, 124, 129)
    silence = Silence(windows, [f"tap.wav@{number}" for number in range(5)], manifest.spec).fixed(40)
    found = calibrate(litert, description, Rows(feature_set, manifest, ("validation",), classes, silence=silence), 0.1)
    shards = [
        read_shard(manifest.layout(feature_set), shard, manifest.spec) for shard in manifest.shards(["validation"])
    ]
    features = np.concatenate([*(shard.features for shard in shards), silence.read(0, 40).features])
    labels = [label for shard in shards for label in shard.labels] + ["_silence_"] * 40
    true = np.array([classes.index(label) if label in classes else -1 for label in labels])
    outputs = Executor(litert, description, "litert").outputs(features)
    assert found.temperature == fit_temperature(outputs, true, description.outputs)
    assert found.temperature != fit_temperature(outputs[:-40], true[:-40], description.outputs)
    probabilities = Outputs(True, found.temperature).probabilities(outputs)
    assert found.thresholds == fit_thresholds(probabilities, true, classes, 0.1)


def test_without_rows_there_is_no_calibration(untrained, feature_set):
    description, manifest = read_description(untrained), load_manifest(feature_set)
    rows = Rows(feature_set, manifest, (), manifest.classes)
    assert calibrate(read_litert(untrained, description), description, rows, 0.9) is UNCALIBRATED
