import json
import shutil

import numpy as np
import pytest
from scipy.stats import binomtest

from features.errors import UsageError
from features.store.manifest import load_manifest
from features.store.shards import read_shard
from model.evaluation.comparison import compare
from model.evaluation.evaluator import evaluate
from model.evaluation.significance import group_sign_test
from model.inference.artifact import load_artifact
from tests.conftest import call, clips_table
from tests.model.untrained import save_untrained

ALL = ("training", "validation", "testing")


@pytest.fixture(scope="module")
def other(feature_set, tmp_path_factory):
    """A run folder with another network that guesses, its classes in another order."""
    run = tmp_path_factory.mktemp("runs") / "other"
    return save_untrained(run, feature_set, classes=["middle", "high", "low"], seed=5, name="mlp")


@pytest.fixture(scope="module")
def other_front_end(words, tmp_path_factory):
    """A set of 90 of the clips with another front end, and a network for it that guesses."""
    root = tmp_path_factory.mktemp("other-front-end")
    (root / "spec.toml").write_text('preset = "speech-commands"\nhop_samples = 1000\n')
    options = ("--input", words, "--output", root / "set", "--spec", root / "spec.toml", "--limit", 90)
    assert call("pipelines.featurize", *options) == 0
    return root / "set", save_untrained(root / "run", root / "set", seed=2, name="mlp")


def correct(run, features) -> dict[str, bool]:
    """Of each clip, whether the network gets it right by Keras."""
    artifact, manifest = load_artifact(run), load_manifest(features)
    found = {}
    for shard in manifest.all_shards:
        rows = read_shard(manifest.layout(features), shard, manifest.spec)
        guesses = artifact.probabilities(rows.features).argmax(axis=1)
        found |= {path: artifact.classes[guess] == label
                  for path, guess, label in zip(rows.paths, guesses, rows.labels, strict=True)}  # fmt: skip
    return found


def test_runs_stand_side_by_side_as_evaluations_have_them(untrained, other, feature_set, tmp_path, capsys):
    summary = tmp_path / "summary.json"
    arguments = (untrained, other, "--features", feature_set, "--test-on", ",".join(ALL), "--summary", summary)
    assert call("model.compare", *arguments) == 0
    assert "on the same 120 clips of 40 groups" in capsys.readouterr().out
    figures = json.loads(summary.read_text())
    metrics = evaluate(str(shutil.copytree(other, tmp_path / "other")), str(feature_set), ALL)
    for name in ("accuracy", "interval_95", "correct", "loss", "macro_recall"):
        assert figures["runs"][1][name] == metrics[name]
    for run, found in zip((untrained, other), figures["runs"], strict=True):
        assert found["correct"] == sum(correct(run, feature_set).values())
        assert found["parameters"] == load_artifact(run).network.count_params()
        assert found["trained_on_clips"] is None
    assert [run["network"] for run in figures["runs"]] == ["tutorial-cnn", "mlp"]


def test_wins_losses_and_groups_are_those_of_the_predictions(untrained, other, feature_set):
    figures = compare([str(untrained), str(other)], [str(feature_set)], ALL)
    theirs = correct(untrained, feature_set)
    mine = correct(other, feature_set)
    [test] = figures["tests"]
    won = sum(mine[path] and not theirs[path] for path in mine)
    lost = sum(theirs[path] and not mine[path] for path in mine)
    assert (test["won"], test["lost"]) == (won, lost)
    assert min(won, lost) > 0, "without differences both ways this test shows nothing"
    assert 0.3 < test["clip_p"] / binomtest(won, won + lost).pvalue < 3
    differences: dict[str, int] = {}
    for clip in clips_table(feature_set, load_manifest(feature_set)).to_pylist():
        change = int(mine[clip["path"]]) - int(theirs[clip["path"]])
        differences[clip["group"]] = differences.get(clip["group"], 0) + change
    assert test["group_p"] == group_sign_test(np.array(list(differences.values())))
    assert test["groups"] == sum(change != 0 for change in differences.values())


def test_a_run_is_as_good_as_itself(untrained, feature_set, parquet_set):
    figures = compare([str(untrained)] * 2, [str(feature_set), str(parquet_set)], ("testing",))
    [test] = figures["tests"]
    assert (test["won"], test["lost"], test["clip_p"], test["group_p"]) == (0, 0, 1, 1)
    assert figures["clips"] == load_manifest(feature_set).rows(["testing"])


def test_clips_trained_on_are_counted_where_the_set_is_that_of_the_training(trained, untrained, feature_set, caplog):
    figures = compare([str(trained), str(untrained)], [str(feature_set)], ("testing",))
    expected = load_manifest(feature_set).rows(["training"])
    assert [run["trained_on_clips"] for run in figures["runs"]] == [expected, None]
    assert figures["tests"][0]["lost"] > figures["tests"][0]["won"]
    compare([str(trained), str(untrained)], [str(feature_set)], ("training",))
    assert "trained on training" in caplog.text


@pytest.mark.trial
def test_runs_with_different_front_ends_meet_on_the_clips_that_both_sets_have(
    untrained, feature_set, other_front_end, caplog
):
    folder, run = other_front_end
    figures = compare([str(untrained), str(run)], [str(feature_set), str(folder)], ALL)
    assert figures["clips"] == 90
    assert "30 clips of" in caplog.text
    right = correct(untrained, feature_set)
    there = clips_table(folder, load_manifest(folder))["path"].to_pylist()
    assert figures["runs"][0]["correct"] == sum(right[path] for path in there)
    assert figures["runs"][1]["correct"] == sum(correct(run, folder).values())


def table_set(words, folder, name, root, label_of) -> str:
    """Featurizes six clips of a table with labels of its own."""
    table = folder / f"{name}.csv"
    files = [path for word in ("high", "low", "middle") for path in sorted((words / word).iterdir())[:2]]
    lines = [f"{path.relative_to(root)},{label_of(path.parent.name)},testing" for path in files]
    table.write_text("\n".join(["path,label,partition", *lines]) + "\n")
    options = ("--input", table, "--root", root, "--output", folder / name, "--preset", "speech-commands")
    assert call("pipelines.featurize", *options) == 0
    return str(folder / name)


def test_what_cannot_be_compared_is_refused_with_the_reason(
    untrained, other, other_front_end, feature_set, words, tmp_path
):
    two = save_untrained(tmp_path / "two", feature_set, classes=["middle", "high"])
    swapped = table_set(words, tmp_path, "swapped", words, {"high": "low", "low": "high", "middle": "middle"}.get)
    elsewhere = table_set(words, tmp_path, "elsewhere", words.parent, str)
    runs, features = [str(untrained), str(other)], str(feature_set)
    for runs_, sets, message in (
        (runs[:1], [features], "takes two runs"),
        (runs, [features] * 3, "2 runs, but 3 sets"),
        ([runs[0], str(two)], [features], r"same classes, but one of .* and .*two lacks 'low'"),
        ([str(two), str(two)], [features], "has the class 'low', which they lack"),
        ([runs[0], str(other_front_end[1])], [features], "hop_samples: 128 against 1000"),
        (runs, [features, elsewhere], "have none in common"),
        (runs, [features, swapped], r"is 'high' in .* and 'low' in"),
    ):
        with pytest.raises(UsageError, match=message):
            compare(runs_, sets, ALL)
