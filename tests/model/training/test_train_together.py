"""Two trainings into one run folder: the second ends at once and says who is at work."""

import os
import socket

import pytest

from features.errors import UsageError
from tests.conftest import call, start_command, wait_until
from tests.held import EPOCH, held_at, let_go

OPTIONS = ("--network", "tutorial-cnn", "--batch-size", 8, "--seed", 7, "--patience", 0)


def test_a_second_training_into_one_run_folder_ends_at_once(feature_set, tmp_path):
    run = tmp_path / "run"
    arguments = ("--features", feature_set, "--output", run, *OPTIONS)
    first = start_command(*held_at(tmp_path, [1], EPOCH, "model.train"), *arguments, "--epochs", 2)
    wait_until((run / "config.json").exists)
    for resume in ((), ("--resume",)):
        with pytest.raises(UsageError) as raised:
            call("model.train", *arguments, "--epochs", 9, *resume)
        assert str(raised.value) == (
            f"one training at a time may write {run}, and another (process {first.pid} on host "
            f"{socket.gethostname()}) is at it; wait for its end, or give another --output"
        )
    let_go(tmp_path, 1)
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert (run / "history.csv").read_text().count("\n") == 3
    # Nothing of the claim is left.
    assert sorted(os.listdir(run)) == [
        "checkpoints", "config.json", "curves.png", "history.csv", "layers.txt", "logs", "model", "recipe.toml",
            "trackers",
    ]  # fmt: skip
