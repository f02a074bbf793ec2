"""The whole flow on real recordings: the default network, and the tutorial's with the accuracy it is known for."""

import csv
import json
from pathlib import Path

import pytest

from tests.conftest import run_command

pytestmark = [pytest.mark.data, pytest.mark.endurance]
# Of the default network's epochs, so many are enough to tell that it learns as it should.
SHORT = ("--epochs", 8)


def trained(data, root: Path, features_options: tuple, settings: tuple) -> Path:
    features, run = root / "features", root / "run"
    run_command("pipelines.featurize", "--input", data / "speech_commands_8words", "--output", features,
                *features_options)  # fmt: skip
    run_command("model.train", "--features", features, "--output", run, *settings, timeout=1800)
    run_command("model.evaluate", "--model", run, "--features", features)
    return run


@pytest.fixture(scope="module")
def default_run(data, tmp_path_factory) -> Path:
    return trained(data, tmp_path_factory.mktemp("default"), (), SHORT)


def metrics_of(run: Path) -> dict:
    return json.loads((run / "evaluation" / "testing" / "metrics.json").read_text())


def test_the_default_network_learns_in_few_epochs_what_the_tutorial_s_never_does(default_run):
    metrics = metrics_of(default_run)
    print("default network, 8 epochs:", metrics["accuracy"], metrics["calibration"], metrics["thresholds"])
    assert metrics["clips"] == 484
    assert metrics["accuracy"] >= 0.90
    low, high = metrics["interval_95_by_group"]
    assert low < metrics["accuracy"] < high
    assert metrics["thresholds"]["precision"] >= 0.85


def test_the_tutorial_s_network_has_the_accuracy_that_it_is_known_for(data, tmp_path):
    settings = ("--network", "tutorial-cnn", "--epochs", 10, "--batch-size", 64, "--seed", 0)
    metrics = metrics_of(trained(data, tmp_path, ("--preset", "speech-commands"), settings))
    print("tutorial-cnn:", metrics["accuracy"])
    assert metrics["accuracy"] >= 0.79


def test_clips_scored_from_their_files_get_the_labels_of_evaluate(default_run, data, tmp_path):
    with open(default_run / "evaluation" / "testing" / "predictions.csv", newline="") as file:
        evaluated = {row["path"]: row for row in csv.DictReader(file)}
    source = tmp_path / "testing"
    for path in evaluated:
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).symlink_to(data / "speech_commands_8words" / path)
    run_command("pipelines.score", "--model", default_run, "--input", source, "--output", tmp_path / "labels.csv")
    with open(tmp_path / "labels.csv", newline="") as file:
        scored = [row for row in csv.DictReader(file) if float(row["start_seconds"]) == 0]
    assert len(scored) == len(evaluated) == 484
    for row in scored:
        assert row["label"] == evaluated[row["path"]]["predicted"]
        assert float(row["probability"]) == pytest.approx(float(evaluated[row["path"]]["probability"]), abs=1e-5)
