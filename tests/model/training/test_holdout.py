"""What is validated on where there is no validation partition."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from features.errors import UsageError
from features.store.manifest import load_manifest
from model.evaluation.evaluator import evaluate
from model.inference.artifact import read_description, read_litert
from model.inference.calibration import UNCALIBRATED
from model.networks.builder import build
from model.networks.registry import network
from model.training.calibrator import calibrate
from model.training.dataset import ordered_dataset
from model.training.holdout import hold_out
from model.training.partitions import holds_out
from model.training.rows import Rows, batches
from model.training.settings import Settings
from model.training.trainer import train
from tests.conftest import call, clips_table


@pytest.fixture(scope="module")
def without_validation(words, tmp_path_factory):
    output = tmp_path_factory.mktemp("holdout") / "set"
    call("pipelines.featurize", "--input", words, "--output", output, "--split", "80/0/20")
    return output


def groups_of(folder, selection) -> dict[str, int]:
    """Rows by group."""
    clips = clips_table(folder, load_manifest(folder)).to_pylist()
    place = {(clip["shard"], clip["row"]): clip["group"] for clip in clips}
    found: dict[str, int] = {}
    for shard, rows in selection.items():
        for row in rows.tolist():
            found[place[shard, row]] = found.get(place[shard, row], 0) + 1
    return found


def test_a_tenth_of_the_groups_is_held_out_whole(without_validation):
    manifest = load_manifest(without_validation)
    kept, held_out = (
        groups_of(without_validation, part) for part in hold_out(without_validation, manifest, ["training"])
    )
    assert not kept.keys() & held_out.keys()
    assert len(held_out) == -(-(len(kept) + len(held_out)) // 10)
    assert set(kept.values()) | set(held_out.values()) == {3}  # each speaker has three words
    assert sum(kept.values()) + sum(held_out.values()) == manifest.rows(["training"])


def test_the_choice_follows_from_the_groups_alone(without_validation, parquet_set, words, tmp_path):
    call("pipelines.featurize", "--input", words, "--output", tmp_path / "set", "--split", "80/0/20",
                "--format", "parquet")  # fmt: skip
    chosen = [groups_of(folder, hold_out(folder, load_manifest(folder), ["training"])[1])
              for folder in (without_validation, tmp_path / "set")]  # fmt: skip
    assert chosen[0] == chosen[1]


def test_one_group_cannot_be_divided(words, tmp_path):
    call(
        "pipelines.featurize", "--input", words, "--output", tmp_path / "set", "--group", "nohash", "--split", "100/0/0"
    )
    with pytest.raises(UsageError, match="has one group only"):
        hold_out(tmp_path / "set", load_manifest(tmp_path / "set"), ("training",))


@pytest.mark.parametrize("in_memory", [False, True])
def test_selected_rows_are_those_and_no_others(without_validation, in_memory):
    manifest = load_manifest(without_validation)
    kept, held_out = hold_out(without_validation, manifest, ["training"])

    def features(selection) -> list[bytes]:
        rows = Rows(without_validation, manifest, ("training",), manifest.classes, in_memory, selection)
        found = [row.tobytes() for batch, _ in batches(rows, 7, seed=1) for row in batch]
        assert len(found) == len(rows)
        assert found == [row.tobytes() for batch, _ in batches(rows, 7, seed=1) for row in batch]
        return found

    everything, mine, theirs = features(None), features(kept), features(held_out)
    assert len(mine) == sum(map(len, kept.values()))
    assert sorted(everything) == sorted(mine + theirs)


def test_one_hot_batches_have_a_one_at_the_class_id(without_validation):
    manifest = load_manifest(without_validation)
    ids, one_hot = (
        [labels for _, labels in ordered_dataset(
            Rows(without_validation, manifest, ("testing",), ["middle", "high"], one_hot=one_hot), 5
        ).as_numpy_iterator()]
        for one_hot in (False, True)
    )  # fmt: skip
    for numbers, rows in zip(ids, one_hot, strict=True):
        assert rows.shape == (len(numbers), 2)
        np.testing.assert_array_equal(rows, np.stack([np.arange(2) == number for number in numbers]))
    assert any((rows == 0).all(axis=1).any() for rows in one_hot), "no clip of a class that is not known"


def test_training_says_what_it_held_out(without_validation, tmp_path, capsys, caplog):
    options = ("--network", "mlp", "--epochs", 1, "--batch-size", 16, "--test-on", "testing", "--target-precision", 0.5)
    with caplog.at_level("INFO", "soundmill"):
        assert call("model.train", "--features", without_validation, "--output", tmp_path / "run", *options) == 0
    assert "a tenth of the training groups held out" in caplog.text
    paragraph = capsys.readouterr().out
    assert "before training" in paragraph
    manifest = load_manifest(without_validation)
    kept, held_out = hold_out(without_validation, manifest, ["training"])
    assert f"on {sum(map(len, held_out.values()))} validation clips" in paragraph
    description = read_description(tmp_path / "run")
    plain = replace(description, calibration=UNCALIBRATED)
    rows = Rows(without_validation, manifest, ("training",), manifest.classes, selection=held_out)
    assert description.calibration == calibrate(read_litert(tmp_path / "run", plain), plain, rows, 0.5)
    assert f"; temperature {description.calibration.temperature:.3f}." in paragraph
    names = ", ".join(description.calibration.without_threshold)  # where there are: so few clips are validated on
    assert f" No threshold reaches a precision of 0.5 for: {names}." in paragraph
    metrics = evaluate(str(tmp_path / "run"), str(without_validation), ("testing",))
    assert metrics["training"]["clips"] == sum(map(len, kept.values()))
    assert f"{metrics['accuracy']:.4f} after it" in paragraph


@pytest.fixture(scope="module")
def not_validated(feature_set, tmp_path_factory):
    """A run folder of a training without validation, and its figures."""
    run = tmp_path_factory.mktemp("runs") / "run"
    settings = {"network": "tutorial-cnn", "epochs": 2, "batch_size": 16, "validate_on": (), "test_on": ("testing",),
                "seed": 1}  # fmt: skip
    return run, train(str(feature_set), str(run), settings)


def test_without_validation_the_last_weights_are_kept(not_validated, feature_set):
    run, figures = not_validated
    assert figures["best_epoch"] == figures["epochs"] == 2
    assert figures["accuracy"] is None
    assert figures["clips"] == load_manifest(feature_set).rows(["training"])
    metrics = evaluate(str(run), str(feature_set), ("testing",))
    assert metrics["accuracy"] == pytest.approx(figures["testing_accuracy"])
    assert metrics["training"]["accuracy"] == pytest.approx(figures["training_accuracy"])
    assert read_description(run).calibration == UNCALIBRATED
    assert (figures["temperature"], figures["target_precision"], figures["classes_without_threshold"]) == (1, None, [])


def test_accuracy_before_training_is_that_of_the_network_as_it_was_made(not_validated, feature_set):
    figures, manifest = not_validated[1], load_manifest(feature_set)
    keras.utils.set_random_seed(1)
    made = build(network("tutorial-cnn"), manifest.spec.shape, 3, manifest.statistics["training"])
    rows = Rows(feature_set, manifest, ("testing",), manifest.classes)
    right = [
        made(features).numpy().argmax(axis=1) == labels
        for features, labels in ordered_dataset(rows, 64).as_numpy_iterator()
    ]
    assert figures["testing_accuracy_before"] == pytest.approx(np.concatenate(right).mean())
    assert figures["testing_accuracy_before"] < figures["testing_accuracy"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, True),
        ({"validate_on": ("testing",)}, False),
        ({"validate_on": ()}, False),
    ],
)
def test_only_what_is_not_chosen_is_held_out(without_validation, settings, expected):
    assert holds_out(load_manifest(without_validation), Settings().with_given(settings)) is expected


def test_a_validation_partition_that_is_trained_on_is_no_validation(feature_set):
    manifest = load_manifest(feature_set)
    assert not holds_out(manifest, Settings())
    assert holds_out(manifest, Settings().with_given({"train_on": ("training", "validation")}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validate_on": ("validation",)}, "nothing to validate on: the validation partition"),
        ({"test_on": ("validation",)}, "nothing to test on: the validation partition"),
        ({"test_on": ("training",)}, "--train-on and --test-on both name 'training'"),
        ({"train_on": ("fold-1",)}, "no partition 'fold-1'"),
    ],
)
def test_partitions_that_cannot_be_used_are_named(without_validation, tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        train(str(without_validation), str(tmp_path / "run"), settings)
    assert not (tmp_path / "run").exists()
