"""Trainings with classes of what is none of the words, from the options to the evaluation."""

import csv
import json
import shutil

import numpy as np
import pytest

from features.errors import UsageError
from features.store.manifest import load_manifest
from model.evaluation.evaluator import evaluate
from model.inference.artifact import load_artifact
from model.training.trainer import train
from tests.conftest import call
from tests.signals import noise, write_wav

CLASSES = ["high", "_silence_", "_unknown_"]
SETTINGS = {
    "network": "mlp", "epochs": 2, "batch_size": 16, "patience": 0, "seed": 5, "classes": ("high",),
    "unknown_share": 0.5, "silence_share": 0.4, "balance": "sampling", "test_on": ("testing",),
}  # fmt: skip


@pytest.fixture(scope="module")
def hiss(tmp_path_factory):
    return write_wav(tmp_path_factory.mktemp("noise") / "hiss.wav", noise(16_000 * 15)).parent


@pytest.fixture(scope="module")
def unbroken(feature_set, hiss, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    return run, train(str(feature_set), str(run), SETTINGS, noise=str(hiss))


def test_a_training_has_the_classes_and_as_many_clips_as_were_requested(unbroken, feature_set):
    run, figures = unbroken
    high = load_manifest(feature_set).counts["classes"]["high"]
    for name, clips in (("training", "clips"), ("validation", "validation_clips"), ("testing", "testing_clips")):
        assert figures[clips] == sum(round(share * high[name]) for share in (1, 0.5, 0.4))
    assert load_artifact(run).classes == CLASSES
    assert 0 < figures["testing_accuracy"] <= 1


@pytest.mark.trial
def test_an_interrupted_training_draws_on_as_if_it_had_not_been(unbroken, feature_set, hiss, tmp_path):
    run = tmp_path / "run"
    train(str(feature_set), str(run), SETTINGS | {"epochs": 1}, noise=str(hiss))
    train(str(feature_set), str(run), {"epochs": 2}, resume=True)
    for mine, theirs in zip(
        load_artifact(run).network.get_weights(), load_artifact(unbroken[0]).network.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(UsageError, match=r"begun with --unknown-share 0\.5, not 0\.1"):
        train(str(feature_set), str(run), {"unknown_share": 0.1}, resume=True)


def test_an_evaluation_counts_as_the_training_did(unbroken, feature_set, tmp_path, capsys):
    run, figures = shutil.copytree(unbroken[0], tmp_path / "run"), unbroken[1]
    assert call("model.evaluate", "--model", run, "--features", feature_set) == 0
    folder = run / "evaluation" / "testing"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics["classes"]) == CLASSES
    counts = load_manifest(feature_set).counts["classes"]
    high, others = counts["high"]["testing"], counts["low"]["testing"] + counts["middle"]["testing"]
    unknown, silence = round(0.5 * high), round(0.4 * high)
    assert [scores["clips"] for scores in metrics["classes"].values()] == [high, silence, unknown]
    assert metrics["draw"] == {"unknown_clips": unknown, "unknown_clips_of": others, "silence_windows": silence,
                               "left_out": {}}  # fmt: skip
    assert metrics["accuracy"] == pytest.approx(figures["testing_accuracy"]), "the two are on the same clips"
    assert metrics["training"]["accuracy"] == pytest.approx(figures["training_accuracy"])
    with open(folder / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    places = [row["path"] for row in rows if row["true"] == "_silence_"]
    assert len(places) == len(set(places)) == silence
    # Fifteen seconds: the last tenth is for testing.
    assert all(int(path.partition("/hiss.wav@")[2]) >= 13.5 * 16_000 for path in places)
    assert f"{unknown} of {others} of _unknown_ and {silence} windows of _silence_" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("partitions", "first_second", "last_second"),
    [
        pytest.param("training", 0.0, 12.0, marks=pytest.mark.trial),
        ("validation", 12.0, 13.5),
        ("testing,validation", 13.5, 15.0),
    ],
)
def test_silence_is_of_the_partition_that_is_tested(
    unbroken, feature_set, tmp_path, partitions, first_second, last_second
):
    run = shutil.copytree(unbroken[0], tmp_path / "run")
    assert call("model.evaluate", "--model", run, "--features", feature_set, "--test-on", partitions) == 0
    with open(next((run / "evaluation").glob("*/predictions.csv")), newline="") as file:
        places = [int(row["path"].partition("/hiss.wav@")[2]) for row in csv.DictReader(file)
                  if row["true"] == "_silence_"]  # fmt: skip
    assert places
    assert all(first_second * 16_000 <= place < last_second * 16_000 for place in places)


def test_labels_that_no_setting_names_are_left_out_or_wrong(unbroken, feature_set, tmp_path):
    """The same run, had it been trained with other settings: what testing clips count as follows from them."""
    manifest = load_manifest(feature_set)
    testing = {label: counts["testing"] for label, counts in manifest.counts["classes"].items()}
    middle = {"middle": testing["middle"]}
    for name, labels, wrong, left_out in (
        ("wrong", {"classes": [], "unknown": ["low"]}, middle, {}),
        ("left out", {"classes": ["high"], "unknown": ["low"]}, {}, middle),
    ):
        run = shutil.copytree(unbroken[0], tmp_path / name)
        config = json.loads((run / "config.json").read_text())
        config["settings"]["labels"] |= labels
        (run / "config.json").write_text(json.dumps(config))
        metrics = evaluate(str(run), str(feature_set), ("testing",))
        assert (metrics["unknown_classes"], metrics["draw"]["left_out"]) == (wrong, left_out)


def test_silence_without_noise_is_refused_with_the_way_out(feature_set, tmp_path):
    with pytest.raises(UsageError, match=r"--silence-share 0\.1 takes .* no folder _background_noise_ .* --noise"):
        train(str(feature_set), str(tmp_path / "run"), {"silence_share": 0.1})
    assert not (tmp_path / "run").exists()


def test_noise_that_is_gone_is_named(unbroken, feature_set, tmp_path):
    run = shutil.copytree(unbroken[0], tmp_path / "run")
    (run / "noise.parquet").unlink()
    with pytest.raises(UsageError, match=r"noise\.parquet, cannot be read"):
        evaluate(str(run), str(feature_set), ("testing",))
