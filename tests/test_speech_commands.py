"""The whole flow on real recordings: the tutorial's network reaches the accuracy that it is known for."""

import csv
import json
import statistics
from pathlib import Path

import pytest

from tests.conftest import run_command

pytestmark = [pytest.mark.data, pytest.mark.trial]
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def features(data, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("features") / "set"
    run_command("pipelines.featurize", "--input", data / "speech_commands_8words", "--output", output,
                "--preset", "speech-commands")  # fmt: skip
    return output


@pytest.fixture(scope="module")
def runs(features, tmp_path_factory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    for seed in SEEDS:
        run = root / str(seed)
        settings = ("--network", "tutorial-cnn", "--epochs", 10, "--batch-size", 64, "--seed", seed)
        run_command("model.train", "--features", features, "--output", run, *settings, timeout=900)
        run_command("model.evaluate", "--model", run, "--features", features)
    return [root / str(seed) for seed in SEEDS]


def test_the_median_accuracy_of_three_seeds_is_80_percent_at_least(runs):
    metrics = [json.loads((run / "evaluation" / "testing" / "metrics.json").read_text()) for run in runs]
    accuracies = [content["accuracy"] for content in metrics]
    print("accuracies of seeds", SEEDS, accuracies)
    assert statistics.median(accuracies) >= 0.80
    assert [content["clips"] for content in metrics] == [484, 484, 484]


def test_clips_scored_from_their_files_get_the_labels_of_evaluate(runs, data, tmp_path):
    with open(runs[0] / "evaluation" / "testing" / "predictions.csv", newline="") as file:
        evaluated = {row["path"]: row for row in csv.DictReader(file)}
    source = tmp_path / "testing"
    for path in evaluated:
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).symlink_to(data / "speech_commands_8words" / path)
    run_command("pipelines.score", "--model", runs[0], "--input", source, "--output", tmp_path / "labels.csv")
    with open(tmp_path / "labels.csv", newline="") as file:
        scored = [row for row in csv.DictReader(file) if float(row["start_seconds"]) == 0]
    assert len(scored) == len(evaluated) == 484
    for row in scored:
        assert row["label"] == evaluated[row["path"]]["predicted"]
        assert float(row["probability"]) == pytest.approx(float(evaluated[row["path"]]["probability"]), abs=1e-5)
