"""The recipes of the README on real recordings: each network reaches the accuracy that it is known for."""

import json
import statistics
from pathlib import Path

import pytest

from tests.conftest import run_command

pytestmark = [pytest.mark.data, pytest.mark.endurance]
FOLDS = [f"fold-{number}" for number in range(1, 6)]
MLP = ("--network", "mlp", "--epochs", 100, "--batch-size", 32, "--patience", 0)


def train(features: Path, run: Path, *settings: object) -> dict:
    summary = run.with_suffix(".json")
    run_command("model.train", "--features", features, "--output", run, "--summary", summary, *settings, timeout=1800)
    return json.loads(summary.read_text())


def test_spoken_digits_from_mfccs(data, tmp_path):
    features = tmp_path / "features"
    source = ("--input", data / "fsdd/fsdd.csv", "--label-column", "digit", "--preset", "urbansound-mfcc")
    run_command("pipelines.featurize", *source, "--output", features)
    figures = train(features, tmp_path / "run", *MLP, "--test-on", "testing")
    print(figures)
    assert figures["testing_clips"] == 300
    assert figures["clips"] + figures["validation_clips"] == 2_700
    assert figures["testing_accuracy_before"] < 0.3
    assert figures["testing_accuracy"] >= 0.95


def test_environmental_sounds_from_mfccs_by_folds(data, tmp_path):
    features = tmp_path / "features"
    source = ("--input", data / "esc10/esc10.csv", "--root", data / "esc10/audio", "--path-column", "filename",
              "--label-column", "category", "--group-column", "src_file", "--preset", "urbansound-mfcc")  # fmt: skip
    run_command("pipelines.featurize", *source, "--output", features)
    accuracies = []
    for tested in FOLDS:
        rest = ",".join(fold for fold in FOLDS if fold != tested)
        figures = train(features, tmp_path / tested, *MLP, "--train-on", rest, "--test-on", tested)
        assert figures["testing_clips"] == 80
        accuracies.append(figures["testing_accuracy"])
    print(accuracies)
    assert statistics.fmean(accuracies) >= 0.60


def test_words_from_raw_spectrograms(data, tmp_path):
    features, run = tmp_path / "features", tmp_path / "run"
    run_command("pipelines.featurize", "--input", data / "speech_commands_8words", "--preset", "speech-commands",
                "--output", features)  # fmt: skip
    # Two epochs are enough to find the best weights, as the whole training does, which ends by its patience.
    settings = ("--network", "raw-cnn", "--batch-size", 16, "--epochs", 2, "--test-on", "testing")
    figures = train(features, run, *settings)
    print(figures)
    assert figures["testing_clips"] == 484
    assert figures["testing_accuracy"] >= 0.70
    assert "recall" in (run / "history.csv").read_text().splitlines()[0].split(",")
    kept = sorted(path.name.partition("-")[0] for path in (run / "checkpoints").iterdir())
    assert kept == ["best", "last"]
    [last] = (run / "checkpoints").glob("last-*/variables.npz")
    assert 368e6 < last.stat().st_size < 370e6  # the weights and Adam's two moments of each
