import csv
import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import keras
import matplotlib.image
import numpy as np
import pytest

from features.errors import UsageError
from features.store.manifest import load_manifest
from features.store.shards import read_shard
from model.evaluation.evaluator import evaluate
from model.evaluation.groups import GroupScores
from model.evaluation.metrics import average_precision, roc_auc
from model.inference.artifact import load_artifact
from model.inference.calibration import chance_calibration_error, expected_calibration_error
from model.inference.outputs import Outputs
from model.training.dataset import ordered_dataset
from model.training.rows import Rows
from tests.conftest import call, clips_table
from tests.model.untrained import save_untrained

PARTITIONS = ("training", "validation", "testing")


def read_csv(path) -> list[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def evaluated(untrained, feature_set, tmp_path_factory):
    """The folder of an evaluation on all clips, with many mistakes."""
    run = shutil.copytree(untrained, tmp_path_factory.mktemp("runs") / "run")
    metrics = evaluate(str(run), str(feature_set), PARTITIONS)
    return run / "evaluation" / metrics["folder"]


def test_an_evaluation_leaves_seven_files(evaluated):
    names = [
        "confusion.csv", "confusion.png", "examples.png", "groups.csv", "metrics.json", "predictions.csv",
        "reliability.png",
    ]  # fmt: skip
    assert sorted(path.name for path in evaluated.iterdir()) == names


def test_predictions_name_every_clip_and_begin_with_the_surest_mistakes(evaluated, feature_set):
    header, *rows = read_csv(evaluated / "predictions.csv")
    assert header == ["path", "true", "predicted", "probability"]
    clips = clips_table(feature_set, load_manifest(feature_set)).to_pylist()
    assert {row[0]: row[1] for row in rows} == {clip["path"]: clip["label"] for clip in clips}
    assert len(rows) == len(clips) == 120
    sureness = [(row[1] == row[2], float(row[3]) if row[1] == row[2] else -float(row[3])) for row in rows]
    assert sureness == sorted(sureness)
    assert 0 < sum(right for right, _ in sureness) < len(rows)
    assert all(1 / 3 <= float(row[3]) <= 1 and len(row[3]) == 8 for row in rows)


def test_metrics_and_confusion_follow_from_the_predictions(evaluated):
    metrics = json.loads((evaluated / "metrics.json").read_text())
    rows = read_csv(evaluated / "predictions.csv")[1:]
    true, predicted = [row[1] for row in rows], [row[2] for row in rows]
    classes = ["high", "low", "middle"]
    assert 0 < metrics["correct"] < 120, "without mistakes this test shows nothing"
    assert metrics["correct"] == sum(a == b for a, b in zip(true, predicted, strict=True))
    assert metrics["clips"] == 120
    assert metrics["accuracy"] == metrics["correct"] / 120
    assert metrics["interval_95"][0] < metrics["accuracy"] < metrics["interval_95"][1]
    pairs = Counter(zip(true, predicted, strict=True))
    expected = [[pairs[label, other] for other in classes] for label in classes]
    assert metrics["confusion"] == expected
    table = read_csv(evaluated / "confusion.csv")
    assert table[0][1:] == [row[0] for row in table[1:]] == classes
    assert [[int(cell) for cell in row[1:]] for row in table[1:]] == expected
    recalls = []
    for label in classes:
        right, guessed, clips = pairs[label, label], predicted.count(label), true.count(label)
        found = [metrics["classes"][label][name] for name in ("precision", "recall", "f1", "clips")]
        assert found == pytest.approx([right / max(guessed, 1), right / clips, 2 * right / (guessed + clips), clips])
        recalls.append(right / clips)
    assert metrics["macro_recall"] == pytest.approx(sum(recalls) / 3)


def test_groups_are_the_speakers(evaluated):
    metrics = json.loads((evaluated / "metrics.json").read_text())
    rows = read_csv(evaluated / "predictions.csv")[1:]
    header, *groups = read_csv(evaluated / "groups.csv")
    assert header == ["group", "clips", "correct", "accuracy"]
    right: dict[str, list[bool]] = {}
    for path, true, predicted, _ in rows:
        right.setdefault(path.rpartition("/")[2].partition("_nohash_")[0], []).append(true == predicted)
    expected = [
        [speaker, str(len(hits)), str(sum(hits)), f"{sum(hits) / len(hits):.6f}"]
        for speaker, hits in sorted(right.items())
    ]
    assert groups == expected
    assert metrics["groups"] == len(expected) == 40
    scores = GroupScores(list(right), np.full(40, 3), np.array([sum(hits) for hits in right.values()]))
    assert metrics["interval_95_by_group"] == pytest.approx(scores.interval())
    assert metrics["groups_accuracy"]["quartiles"] == np.quantile(scores.accuracy, [0.25, 0.5, 0.75]).tolist()


def test_rankings_calibration_and_thresholds_are_those_of_the_probabilities(untrained, feature_set, tmp_path, capsys):
    run = shutil.copytree(untrained, tmp_path / "run")
    path = run / "model" / "artifact.json"
    thresholds = {"high": 0.4, "low": None, "middle": 0.0}
    calibration = {"temperature": 0.2, "thresholds": thresholds, "target_precision": 0.8}
    path.write_text(json.dumps({**json.loads(path.read_text()), **calibration}))
    options = ("--model", run, "--features", feature_set, "--test-on", ",".join(PARTITIONS))
    assert call("model.evaluate", *options) == 0
    [folder] = (run / "evaluation").iterdir()
    metrics = json.loads((folder / "metrics.json").read_text())

    manifest, artifact = load_manifest(feature_set), load_artifact(run)
    shards = [read_shard(manifest.layout(feature_set), shard, manifest.spec) for shard in manifest.shards(PARTITIONS)]
    features = np.concatenate([shard.features for shard in shards])
    true = np.array([artifact.classes.index(label) for shard in shards for label in shard.labels])
    probabilities = artifact.probabilities(features)
    for number, label in enumerate(artifact.classes):
        found = metrics["classes"][label]
        assert found["average_precision"] == pytest.approx(
            average_precision(probabilities[:, number], true == number), abs=1e-4
        )
        assert found["roc_auc"] == pytest.approx(roc_auc(probabilities[:, number], true == number), abs=1e-4)
    plain = Outputs(are_logits=True).probabilities(artifact.network(features[..., None], training=False).numpy())
    found = metrics["calibration"]
    assert found["temperature"] == 0.2
    error = expected_calibration_error(probabilities, true)
    before = expected_calibration_error(plain, true)
    assert abs(error - before) > 0.01
    assert found["expected_calibration_error"] == pytest.approx(error, abs=1e-4)
    assert found["expected_calibration_error_before"] == pytest.approx(before, abs=1e-4)
    chance = found["expected_calibration_error_by_chance"]
    assert chance == pytest.approx(chance_calibration_error(probabilities), abs=1e-4)
    assert sum(row["clips"] for row in found["reliability"]) == 120
    winners, sureness = probabilities.argmax(axis=1), probabilities.max(axis=1)
    given = ((winners == 0) & (sureness >= 0.4)) | (winners == 2)
    assert 0 < given.sum() < 120, "all or none are labelled: this run shows nothing"
    assert metrics["thresholds"] == {
        "target_precision": 0.8,
        "precision": pytest.approx((winners == true)[given].mean()),
        "labelled": given.sum(),
        "labelled_share": given.sum() / 120,
        "without_threshold": ["low"],
    }
    paragraph = capsys.readouterr().out
    assert paragraph.startswith("class   precision  recall     f1   clips\nhigh   ")
    low, high = metrics["interval_95_by_group"]
    assert f"if clips were independent, {low:.4f} to {high:.4f} by the 40 groups, half of which" in paragraph
    assert f" Calibration error {found['expected_calibration_error']:.4f}, without the temperature " in paragraph
    assert f" ({chance:.4f} by chance, if every probability were true)" in paragraph
    assert f"At the thresholds for a precision of 0.8, {given.sum()} clips" in paragraph
    assert "; none gets low." in paragraph


def test_the_loss_is_that_of_keras(evaluated, untrained, feature_set):
    manifest = load_manifest(feature_set)
    model = load_artifact(untrained).network
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    rows = Rows(feature_set, manifest, PARTITIONS, manifest.classes)
    expected = model.evaluate(ordered_dataset(rows, 16), verbose=0, return_dict=True)
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(expected["accuracy"])


@pytest.mark.parametrize("name", ["confusion.png", "examples.png", "reliability.png"])
def test_pictures_show_something(evaluated, name):
    picture = matplotlib.image.imread(evaluated / name, format="png")
    assert min(picture.shape[:2]) > 400
    assert picture.std(axis=(0, 1))[:3].min() > 0.05


def test_metrics_name_the_network_that_was_measured(evaluated, untrained):
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert metrics["network"] == load_artifact(untrained).digest
    assert metrics["tested_on"] == list(PARTITIONS)
    assert "training" not in metrics, "no record names what it was trained on"


@pytest.mark.trial
def test_clips_that_a_training_never_saw_are_not_called_its_own(
    trained, parquet_set, feature_set, tmp_path, capsys, caplog
):
    run = shutil.copytree(trained, tmp_path / "run")

    def output(features) -> str:
        assert call("model.evaluate", "--model", run, "--features", features, "--test-on", "training,validation") == 0
        written = capsys.readouterr().out + caplog.text
        caplog.clear()
        return written

    own, other = output(feature_set), output(parquet_set)
    for text in (
        "is trained on training",
        "weights are chosen on validation",
        "On the clips that it was trained on: ",
    ):
        assert text in own
        assert text not in other


@pytest.mark.trial
def test_an_evaluation_on_another_set_stands_beside_that_on_the_runs_own(trained, feature_set, tmp_path, caplog):
    run = shutil.copytree(trained, tmp_path / "run")
    own = evaluate(str(run), str(feature_set), ("testing",))
    before = {path.name: path.read_bytes() for path in (run / "evaluation" / "testing").iterdir()}
    moved = shutil.copytree(feature_set, tmp_path / "moved")  # the same rows elsewhere are the run's own too
    assert evaluate(str(run), str(moved), ("validation",))["folder"] == "validation"
    other = tmp_path / "field day"
    command = ("pipelines.featurize", "--input", Path(load_manifest(feature_set).source["root"]), "--limit", 40)
    assert call(*command, "--preset", "speech-commands", "--output", other) == 0
    caplog.clear()
    metrics = evaluate(str(run), str(other), ("testing",))
    digest = hashlib.sha256((other / "manifest.json").read_bytes()).hexdigest()
    assert metrics["folder"] == f"testing@field day-{digest[:8]}"
    assert (metrics["features"], metrics["manifest_sha256"]) == (str(other), digest)
    assert own["features"] == str(feature_set)
    assert json.loads((run / "evaluation" / metrics["folder"] / "metrics.json").read_text()) == metrics
    assert {path.name: path.read_bytes() for path in (run / "evaluation" / "testing").iterdir()} == before
    # The set's testing clips are testing clips of the run's own set; none was trained on.
    assert (own["clips_trained_on"], metrics["clips_trained_on"]) == (0, 0)
    assert "by content" not in caplog.text
    # What was trained on is known by content, whatever set, partition and path it has now.
    trained_on = evaluate(str(run), str(other), ("training", "testing"))
    clips = clips_table(other, load_manifest(other)).to_pylist()
    expected = sum(clip["partition"] == "training" for clip in clips)
    assert trained_on["clips_trained_on"] == expected > 0
    assert f"warning: {expected} of {trained_on['clips']} clips of training, testing are, by content," in caplog.text


def test_clips_of_a_run_whose_set_is_gone_are_not_called_new(trained, feature_set, parquet_set, tmp_path, caplog):
    run = shutil.copytree(trained, tmp_path / "run")
    path = run / "config.json"
    gone = str(tmp_path / "gone")
    path.write_text(json.dumps({**json.loads(path.read_text()), "features": gone}))
    caplog.set_level("INFO", "soundmill")
    assert evaluate(str(run), str(parquet_set), ("testing",))["clips_trained_on"] is None
    assert f"cannot be known: {gone} is gone or has changed" in caplog.text
    assert evaluate(str(run), str(feature_set), ("testing",))["clips_trained_on"] == 0, "it has the same rows"


def test_an_evaluation_again_takes_the_place_of_the_first(evaluated, feature_set):
    first = {path.name: path.read_bytes() for path in evaluated.iterdir()}
    metrics = evaluate(str(evaluated.parents[1]), str(feature_set), PARTITIONS)
    second = {path.name: path.read_bytes() for path in evaluated.iterdir()}
    before = json.loads(first.pop("metrics.json"))
    assert json.loads(second.pop("metrics.json")) == metrics
    assert {**before, "seconds": 0} == {**metrics, "seconds": 0}
    assert second == first
    assert [path.name for path in evaluated.parent.iterdir()] == [evaluated.name]


@pytest.fixture(scope="module")
def two_classes(feature_set, tmp_path_factory):
    """A run folder with a network that knows two of three classes, in an order of its own."""
    return save_untrained(tmp_path_factory.mktemp("runs") / "two", feature_set, classes=["middle", "high"])


def test_a_class_that_the_network_lacks_is_counted_wrong_and_named(two_classes, feature_set, capsys):
    assert call("model.evaluate", "--model", two_classes, "--features", feature_set, "--test-on", "val") == 0
    assert "low (10)" in capsys.readouterr().out
    [folder] = (two_classes / "evaluation").glob("validation@*")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["unknown_classes"] == {"low": 10}
    assert metrics["clips"] == 30
    assert metrics["correct"] <= 20
    assert metrics["classes"]["low"] == {
        "precision": 0, "recall": 0, "f1": 0, "clips": 10, "average_precision": None, "roc_auc": None,
    }  # fmt: skip
    assert list(metrics["classes"]) == ["middle", "high", "low"]
    assert [sum(row) for row in metrics["confusion"]] == [10, 10, 10]
    assert [row[2] for row in metrics["confusion"]] == [0, 0, 0]
    rows = read_csv(folder / "predictions.csv")[1:]
    assert {row[1] for row in rows} == {"high", "low", "middle"}
    assert {row[2] for row in rows} <= {"high", "middle"}
    network = load_artifact(two_classes).network
    for path, _, predicted, probability in rows[::10]:
        logits = network(features_of(feature_set, path)[None, ..., None]).numpy()[0]
        shares = np.exp(logits) / np.exp(logits).sum()
        assert ["middle", "high"][shares.argmax()] == predicted
        assert shares.max() == pytest.approx(float(probability), abs=1e-5)


def features_of(folder, path) -> np.ndarray:
    manifest = load_manifest(folder)
    clip = next(clip for clip in clips_table(folder, manifest).to_pylist() if clip["path"] == path)
    shard = next(shard for shard in manifest.shards(PARTITIONS) if shard.name == clip["shard"])
    return read_shard(manifest.layout(folder), shard, manifest.spec).features[clip["row"]]


def test_features_of_another_spec_are_refused_with_the_field(words, untrained, tmp_path):
    spec = tmp_path / "spec.toml"
    spec.write_text('preset = "speech-commands"\nhop_samples = 100\n')
    assert call("pipelines.featurize", "--input", words, "--output", tmp_path / "set", "--spec", spec) == 0
    with pytest.raises(UsageError, match="hop_samples: 100 against 128"):
        evaluate(str(untrained), str(tmp_path / "set"), ("testing",))


def test_an_unknown_partition_is_refused(untrained, feature_set):
    with pytest.raises(UsageError, match=r"'fold-7'.*training, validation, testing"):
        evaluate(str(untrained), str(feature_set), ("fold-7",))


def test_an_evaluation_does_without_tensorflow(untrained, feature_set, tmp_path):
    run = shutil.copytree(untrained, tmp_path / "run")
    code = (
        "import sys; from model.evaluation.evaluator import evaluate\n"
        f"evaluate({str(run)!r}, {str(feature_set)!r}, ('testing',))\n"
        "print({'tensorflow', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
