import json
import re
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from features.errors import UsageError
from model.networks.registry import NETWORKS
from model.training.augment import changes_batches
from model.training.recipes import recipe
from model.training.settings import SECTIONS, Settings
from tests.conftest import call


def test_names_are_of_one_section_each_and_settings_come_back_from_their_record():
    names = [field.name for section in SECTIONS.values() for field in fields(section)]
    assert len(names) == len(set(names))
    settings = recipe("residual").with_given({"epochs": 3, "train_on": ("a", "b"), "validate_on": (), "seed": 4})
    assert settings != recipe("residual")
    assert Settings.from_dict({**json.loads(json.dumps(asdict(settings))), "of a later version": 1}) == settings


def test_a_record_from_before_there_were_sections_is_read():
    """As `train` wrote it up to version 0.1."""
    old = {"network": "raw-cnn", "epochs": 3, "batch_size": 16, "learning_rate": 0.001, "patience": 2, "seed": 5,
           "train_on": ["a"], "validate_on": None, "test_on": []}  # fmt: skip
    settings = Settings.from_dict(old)
    assert {name: settings.flat()[name] for name in old} == old | {"train_on": ("a",), "test_on": ()}
    assert settings == Settings(network="raw-cnn").with_given({"epochs": 3, "batch_size": 16, "seed": 5,
                                                               "train_on": ("a",)})  # fmt: skip
    assert not changes_batches(settings)


def test_the_networks_of_others_keep_the_settings_of_their_recipes():
    for name in ("mlp", "raw-cnn", "tutorial-cnn"):
        settings = recipe(name)
        assert settings == Settings(network=name)
        assert (settings.schedule.epochs, settings.schedule.batch_size, settings.schedule.patience) == (10, 64, 2)
        assert (settings.schedule.optimizer, settings.schedule.learning_rate) == ("adam", 1e-3)
        assert not changes_batches(settings)


def test_the_learning_rate_alone_decides_whether_more_epochs_are_the_same_training():
    for name, difference in (("tutorial-cnn", None), ("residual", "--epochs 60, not 70")):
        begun = recipe(name).with_given({"epochs": 60})
        assert begun.with_given({"epochs": 70}).difference(begun) == difference
        assert begun.with_given({"noise_snr_db": (0, 1)}).difference(begun) == "--noise-snr-db 0,25, not 0,1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "nothing"}, "no network 'nothing'; there are bc-resnet-1"),
        ({"epochs": 0}, "--epochs"),
        ({"batch_size": 0}, "--batch-size"),
        ({"patience": -1}, "--patience"),
        ({"seed": -1}, "--seed"),
        ({"seed": 2**32}, "--seed"),
        ({"target_precision": 0.0}, "--target-precision is above 0, not 0"),
        ({"target_precision": 1.01}, "--target-precision is at most 1, not 1.01"),
        ({"target_precision": float("nan")}, "--target-precision"),
        ({"learning_rate": 0.0}, "--learning-rate"),
        ({"learning_rate": float("nan")}, "--learning-rate"),
        ({"learning_rate": float("inf")}, "--learning-rate"),
        ({"epochs": "3"}, "--epochs is a whole number, not '3'"),
        ({"epochs": 3.0}, "--epochs is a whole number"),
        ({"epochs": True}, "--epochs is a whole number"),
        ({"warmup_epochs": "3"}, "--warmup-epochs is a number"),
        ({"warmup_epochs": True}, "--warmup-epochs is a number"),
        ({"label_smoothing": 1}, "--label-smoothing is below 1"),
        ({"average_decay": -0.1}, "--average-decay is at least 0"),
        ({"noise_probability": 1.5}, "--noise-probability is at most 1"),
        ({"optimizer": "adagrad"}, "--optimizer is one of adam, adamw, sgd, not adagrad"),
        ({"noise_snr_db": (5, 0)}, "--noise-snr-db is two numbers, the lower one first, not 5,0"),
        ({"noise_snr_db": (5,)}, "--noise-snr-db is two numbers"),
        ({"noise_snr_db": "loud"}, "--noise-snr-db is a list of numbers"),
        ({"train_on": "training"}, "--train-on is a list of texts"),
        ({"colour": 1}, "no setting 'colour'; there are network, seed, train_on"),
        ({"weight_decay": 0.1}, "--weight-decay 0.1 is of adamw and sgd; with --optimizer adam"),
    ],
)
def test_what_no_training_has_is_refused(change, message):
    with pytest.raises(UsageError, match=message):
        Settings().with_given(change)


@pytest.fixture(scope="module")
def pooled_set(words, tmp_path_factory) -> Path:
    """Features without frames."""
    folder = tmp_path_factory.mktemp("pooled") / "set"
    assert call("pipelines.featurize", "--input", words, "--output", folder, "--preset", "urbansound-mfcc") == 0
    return folder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--network", "nothing"], f"error: no network 'nothing'; there are {', '.join(NETWORKS)}, and"),
        (["--network", "networks:"], "error: a network of your own is named package.module:function, not 'networks:'"),
        (["--network", "raw-cnn"], "error: raw-cnn takes features of shape (frames, bands), not (40,), which"),
        (["--network", "mlp", "--epochs", "0"], "error: --epochs is at least 1, not 0"),
        (["--network", "mlp", "--train-on", "nothing"], "error: "),
    ],
)
def test_a_training_that_cannot_be_is_refused_before_tensorflow_is_loaded(pooled_set, tmp_path, options, message):
    command = ["-m", "model.train", "--features", pooled_set, "--output", tmp_path / "run", *options]
    done = subprocess.run([sys.executable, "-X", "importtime", *map(str, command)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    loaded = re.findall(r"^import time: .*\| +([\w.]+)$", done.stderr, re.MULTILINE)
    assert "model.training.settings" in loaded
    assert not {"tensorflow", "keras"} & set(loaded)
    [line] = [line for line in done.stderr.splitlines() if not line.startswith("import time: ")]
    assert line.startswith(message)
    assert not (tmp_path / "run").exists()
    # The same once more, where the interpreter writes every module that it loads.
    done = subprocess.run([sys.executable, "-X", "importtime", *map(str, command)], capture_output=True, text=True)
    loaded = {text.rpartition("|")[2].strip() for text in done.stderr.splitlines() if text.startswith("import time:")}
    assert "model.training.trainer" in loaded
    assert not loaded & {"tensorflow", "keras"}
