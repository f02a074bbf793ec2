import os
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import get_type_hints

import pytest

from features.errors import UsageError
from model.networks.registry import NETWORKS
from model.training.settings import Settings, SettingsGiven
from tests.conftest import call


def test_what_can_be_given_are_the_settings_with_their_types():
    hints = get_type_hints(Settings)
    assert {field.name: hints[field.name] for field in fields(Settings)} == get_type_hints(SettingsGiven)


def test_settings_come_back_from_their_record():
    settings = Settings(network="mlp", epochs=3, train_on=("a", "b"), validate_on=())
    assert Settings.from_dict({**asdict(settings), "train_on": ["a", "b"], "of a later version": 1}) == settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "nothing"}, "no network 'nothing'; there are mlp"),
        ({"epochs": 0}, "--epochs"),
        ({"batch_size": 0}, "--batch-size"),
        ({"patience": -1}, "--patience"),
        ({"seed": -1}, "--seed"),
        ({"seed": 2**32}, "--seed"),
        ({"learning_rate": 0.0}, "--learning-rate"),
        ({"learning_rate": float("nan")}, "--learning-rate"),
        ({"learning_rate": float("inf")}, "--learning-rate"),
    ],
)
def test_what_no_training_has_is_refused(change, message):
    with pytest.raises(UsageError, match=message):
        Settings(**change)


@pytest.fixture(scope="module")
def pooled_set(words, tmp_path_factory) -> Path:
    """Features without frames."""
    folder = tmp_path_factory.mktemp("pooled") / "set"
    assert call("pipelines.featurize", "--input", words, "--output", folder, "--preset", "urbansound-mfcc") == 0
    return folder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--network", "nothing"], f"error: no network 'nothing'; there are {', '.join(NETWORKS)}"),
        (["--network", "raw-cnn"], "error: raw-cnn takes features of shape (frames, bands), not (40,), which"),
        (["--network", "mlp", "--epochs", "0"], "error: --epochs is at least 1, not 0"),
        (["--network", "mlp", "--train-on", "nothing"], "error: "),
    ],
)
def test_a_training_that_cannot_be_is_refused_before_tensorflow_is_loaded(pooled_set, tmp_path, options, message):
    command = ["-m", "model.train", "--features", pooled_set, "--output", tmp_path / "run", *options]
    before = os.times()
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True)
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(message)
    assert seconds < 1.5  # of a processor: half a second on a machine that is free; TensorFlow alone takes more
    assert not (tmp_path / "run").exists()
    # The same once more, where the interpreter writes every module that it loads.
    done = subprocess.run([sys.executable, "-X", "importtime", *map(str, command)], capture_output=True, text=True)
    loaded = {text.rpartition("|")[2].strip() for text in done.stderr.splitlines() if text.startswith("import time:")}
    assert "model.training.trainer" in loaded
    assert not loaded & {"tensorflow", "keras"}
