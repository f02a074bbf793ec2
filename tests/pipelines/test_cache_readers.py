"""Readers of a state continue while later ones are committed, and pruned as they are by default."""

import shutil
import signal
from pathlib import Path

import pytest

from features.maintenance.removal import prune
from features.prune import DEFAULT_AGE, parse_age
from features.store.manifest import load_manifest
from model.training.history import read_history
from model.training.trainer import train
from tests.conftest import run_command, start_command, wait_until
from tests.held import EPOCH, held_at, let_go
from tests.pipelines.conftest import make_old
from tests.pipelines.instants import COMMIT, Run
from tests.pipelines.sets import begin, change, grow, make_case, read_all
from tests.signals import write_words


@pytest.mark.trial
def test_a_reader_of_a_state_goes_on_while_later_ones_are_committed(tmp_path):
    case = make_case(tmp_path / "case", "merge", "parquet")
    held = load_manifest(case.base)
    shards = {name: (case.base / "shards" / name).read_bytes() for name in names_of_shards(case.base)}
    for number, step in enumerate((None, begin, change, grow(9))):
        if step:
            step(case.root)
        run = Run(case.request(case.base), tmp_path / "note", COMMIT, "commit", signal.SIGSTOP)
        run.wait_until_stopped()  # so that it is not over before a read
        assert read_all(case.base, held) == 21
        run.go_on()
        while not run.ends_within(0):
            assert read_all(case.base, held) == 21
        assert run.end()["figures"]["state"] == held.state + 1 + number
        prune(case.base, 0, parse_age(DEFAULT_AGE))
    # Most of what the reader holds is of no later state any more: the merge has dealt it out anew.
    now = load_manifest(case.base)
    assert not set(shards) <= {f"{shard.name}.parquet" for shard in now.all_shards}
    assert read_all(case.base, held) == 21
    assert all((case.base / "shards" / name).read_bytes() == content for name, content in shards.items())


def names_of_shards(folder: Path) -> set[str]:
    return {path.name for path in (folder / "shards").iterdir()}


def without_times(run: Path) -> list[dict[str, float]]:
    path = run / "history.csv"
    rows = read_history(path) if path.exists() else []
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.trial
def test_a_training_goes_on_while_later_states_are_committed(tmp_path):
    words, output, run = make_old(write_words(tmp_path / "words")), tmp_path / "set", tmp_path / "run"
    run_command("pipelines.featurize", "--input", words, "--output", output)
    settings = {"network": "tutorial-cnn", "epochs": 6, "batch_size": 8, "seed": 5, "patience": 0}
    train(str(shutil.copytree(output, tmp_path / "still")), str(tmp_path / "alone"), settings, keep_in_memory="off")
    held = load_manifest(output)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    training = ("--features", output, "--output", run, *options, "--keep-in-memory", "off")
    process = start_command(*held_at(tmp_path, (2, 4), EPOCH, "model.train"), *training)
    for epoch in (1, 3):
        wait_until(lambda: len(without_times(run)) == epoch)  # noqa: B023
        # Each shard of the state that the training holds loses a row or changes one.
        for place in sorted(words.glob("low/*.wav"))[::2]:
            place.rename(words / "high" / f"{place.stem}-{epoch}.wav")
        make_old(words)
        run_command("pipelines.featurize", "--input", words, "--output", output)
        run_command("features.prune", output)
        assert process.poll() is None
        let_go(tmp_path, epoch + 1)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 0, errors
    now = load_manifest(output)
    assert now.state == 3
    assert not set(held.all_shards) & set(now.all_shards)
    assert without_times(run) == without_times(tmp_path / "alone")
