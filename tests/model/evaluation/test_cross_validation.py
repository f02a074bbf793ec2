import csv
import json
import statistics
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from features.errors import UsageError
from features.store.manifest import load_manifest
from features.store.shards import read_shard
from features.store.statistics import Statistics
from model.evaluation.cross_validation import cross_validate, partition_folds, split_folds
from model.evaluation.metrics import wilson_interval
from model.inference.artifact import load_artifact
from model.train import parser as train_parser
from model.training.division import divide
from model.training.history import read_history
from model.training.options import settings_given
from model.training.run_folder import training_statistics
from model.training.settings import Settings
from model.training.trainer import train
from tests.conftest import call, clips_table
from tests.signals import write_words

FAST = {"network": "mlp", "epochs": 2, "batch_size": 8, "learning_rate": 0.01}
OPTIONS = [text for name, value in FAST.items() for text in (f"--{name.replace('_', '-')}", str(value))]


@pytest.fixture(scope="module")
def with_folds(tmp_path_factory):
    """A set of four speakers in two folds, of features without frames."""
    root = tmp_path_factory.mktemp("folds")
    words = write_words(root / "words", speakers=4)
    lines = ["path,label,fold,speaker"]
    for path in sorted(words.glob("*/*.wav")):
        speaker = path.name.partition("_")[0]
        lines.append(f"{path.relative_to(words)},{path.parent.name},{int(speaker, 16) % 2 + 1},{speaker}")
    (root / "table.csv").write_text("\n".join(lines) + "\n")
    assert call("pipelines.featurize", "--input", root / "table.csv", "--root", words, "--output", root / "set",
                "--fold-column", "fold", "--group-column", "speaker", "--preset", "urbansound-mfcc") == 0  # fmt: skip
    return root / "set"


def predictions_of(folder) -> list[dict[str, str]]:
    with open(folder / "predictions.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def by_folds(with_folds, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "by-folds"
    assert call("model.crossvalidate", "--features", with_folds, "--output", output, *OPTIONS) == 0
    return output


@pytest.fixture(scope="module")
def by_groups(with_folds, tmp_path_factory):
    """A cross-validation that leaves out one speaker at a time."""
    output = tmp_path_factory.mktemp("runs") / "by-groups"
    options = ("--splits", "groups", *OPTIONS, "--validate-on", "none", "--epochs", 1)
    assert call("model.crossvalidate", "--features", with_folds, "--output", output, *options) == 0
    return output


@pytest.mark.parametrize("name", ["by_folds", pytest.param("by_groups", marks=pytest.mark.trial)])
def test_every_clip_is_tested_once_by_a_network_that_did_not_meet_its_speaker(name, with_folds, request):
    folder = request.getfixturevalue(name)
    figures = json.loads((folder / "crossvalidation.json").read_text())
    clips = {clip["path"]: clip for clip in clips_table(with_folds, load_manifest(with_folds)).to_pylist()}
    rows = predictions_of(folder)
    assert sorted(row["path"] for row in rows) == sorted(clips)
    fold_of = {row["path"]: row["fold"] for row in rows}
    folds_of_a_group = {(clips[path]["group"], fold) for path, fold in fold_of.items()}
    assert len(folds_of_a_group) == 4
    assert Counter(fold_of.values()) == {fold["fold"]: fold["clips"] for fold in figures["folds"]}
    if name == "by_folds":
        assert all(clips[path]["partition"] == fold for path, fold in fold_of.items())
    else:
        assert {fold["group"] for fold in figures["folds"]} == {clip["group"] for clip in clips.values()}


@pytest.mark.parametrize("name", ["by_folds", pytest.param("by_groups", marks=pytest.mark.trial)])
def test_figures_follow_from_the_predictions(name, request):
    folder = request.getfixturevalue(name)
    figures, rows = json.loads((folder / "crossvalidation.json").read_text()), predictions_of(folder)
    accuracies = []
    for fold in figures["folds"]:
        right = [row["true"] == row["predicted"] for row in rows if row["fold"] == fold["fold"]]
        accuracies.append(sum(right) / len(right))
        assert fold["accuracy"] == accuracies[-1]
    assert figures["mean_accuracy"] == pytest.approx(statistics.mean(accuracies))
    assert figures["standard_deviation"] == pytest.approx(statistics.stdev(accuracies))
    right = sum(row["true"] == row["predicted"] for row in rows)
    assert (figures["correct"], figures["clips"], figures["accuracy"]) == (right, 12, right / 12)
    assert figures["interval_95"] == pytest.approx(wilson_interval(right, 12))
    assert np.sum(figures["confusion"]) == 12
    assert (folder / "confusion.png").stat().st_size > 1_000


def test_a_fold_is_the_training_that_leaves_it_out(by_folds, with_folds, tmp_path):
    train(str(with_folds), str(tmp_path / "run"), {**FAST, "train_on": ("fold-2",)})
    networks = (load_artifact(run).network for run in (tmp_path / "run", by_folds / "fold-1"))
    for mine, theirs in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_again_nothing_is_trained_and_what_is_missing_is(by_folds, with_folds):

    def written() -> dict[Path, int]:
        files = [*by_folds.glob("fold-*/model/*"), *by_folds.glob("fold-*/checkpoints/*")]
        assert len(files) >= 4
        return {path: path.stat().st_mtime_ns for path in files}

    before = written()
    figures = json.loads((by_folds / "crossvalidation.json").read_text())
    again = cross_validate(str(with_folds), str(by_folds), partition_folds(str(with_folds)), FAST)
    assert written() == before
    assert {**again, "seconds": 0} == {**figures, "seconds": 0}
    for given, folds, message in (
        ({**FAST, "epochs": 3}, partition_folds(str(with_folds)), "begun with --epochs 2, not --epochs 3"),
        ({**FAST, "seed": 1}, partition_folds(str(with_folds)), "begun with --seed as it is by default, not --seed 1"),
        (FAST, split_folds(str(with_folds), splits=2), "begun with other folds"),
    ):
        with pytest.raises(UsageError, match=message):
            cross_validate(str(with_folds), str(by_folds), folds, given)


def test_a_split_that_is_left_out_leaves_no_trace(with_folds):
    """Neither its rows nor their sums are in the training, and all other rows are."""
    manifest = load_manifest(with_folds)
    for fold in split_folds(str(with_folds), splits=3):
        settings = Settings(network="mlp").with_given(fold.rows)
        division = divide(with_folds, manifest, settings)
        parts = [
            {(shard, row) for shard, rows in part.items() for row in rows.tolist()}
            for part in (division.training, division.held_out, division.left_out)
        ]
        assert sum(map(len, parts)) == len(set().union(*parts)) == 12
        tensors = [
            read_shard(manifest.layout(with_folds), shard, manifest.spec).features[row]
            for shard in manifest.all_shards
            for row in range(shard.rows)
            if (shard.name, row) not in parts[2]
        ]
        found, expected = training_statistics(str(with_folds), manifest, settings), Statistics.of(np.stack(tensors))
        assert found.count == expected.count
        np.testing.assert_allclose(found.total, expected.total, rtol=1e-12)
        np.testing.assert_allclose(found.squares, expected.squares, rtol=1e-12)


@pytest.mark.trial
def test_the_split_is_a_setting_of_the_run(by_groups, with_folds):
    run = by_groups / "fold-2"
    settings = json.loads((run / "config.json").read_text())["settings"]["rows"]
    assert (settings["splits"], settings["left_out"], settings["split_seed"]) == (4, 2, 0)
    assert len(read_history(run / "history.csv")) == 1
    with pytest.raises(UsageError, match="begun with --left-out 2, not 1"):
        train(str(with_folds), str(run), {"left_out": 1}, resume=True)


def test_the_split_is_given_by_options():
    options = ("--features", "set", "--output", "run", "--splits", "3", "--left-out", "2", "--split-seed", "1")
    given = settings_given(train_parser().parse_args(options))
    assert given == {"splits": 3, "left_out": 2, "split_seed": 1}
    with pytest.raises(UsageError, match="--left-out 3 of --splits 2"):
        Settings(network="mlp").with_given({"splits": 2, "left_out": 3})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--folds", "fold-1"), "two folds at least"),
        (("--folds", "fold-1,fold-3"), "no partition 'fold-3'"),
        (("--splits", "5"), "has 4, not 5"),
        (("--splits", "1"), "two splits at least"),
        (("--splits", "some"), "a number or groups"),
        (("--splits", "3", "--partitions", "fold-9"), "no partition 'fold-9'"),
        (("--splits", "3", "--validate-on", "fold-1"), "both name 'fold-1'"),
        (("--split-seed", "1"), "--split-seed goes with --splits"),
        (("--folds", "fold-1,fold-2", "--partitions", "fold-1"), "--partitions goes with --splits"),
    ],
)
def test_what_cannot_be_divided_is_refused(with_folds, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        call("model.crossvalidate", "--features", with_folds, "--output", tmp_path / "runs", *options)
    assert not (tmp_path / "runs").exists()


def test_no_fold_is_tested_by_a_training_that_was_validated_on_it(feature_set, tmp_path):
    folds = partition_folds(str(feature_set), ("training", "validation"))
    with pytest.raises(UsageError, match="validated on it, as validation would be: leave validation out of --folds"):
        cross_validate(str(feature_set), str(tmp_path / "runs"), folds, FAST)
    assert not (tmp_path / "runs").exists()


def test_a_set_without_folds_is_told_how_to_be_divided(feature_set):
    with pytest.raises(UsageError, match="divide the clips with --splits"):
        partition_folds(str(feature_set))


def test_a_folder_of_something_else_stays_as_it_is(with_folds, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds thesis\.txt"):
        cross_validate(str(with_folds), str(tmp_path), partition_folds(str(with_folds)), FAST)
    assert [path.name for path in Path(tmp_path).iterdir()] == ["thesis.txt"]
