"""A run in an object store is what one in a folder is, at each epoch and when it has ended; one training writes it."""

import json
import os
import re
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from features.errors import RunError, UsageError
from features.io.filesystem import filesystem_of
from features.io.mirror import Mirror
from features.store import lease_objects
from features.store.manifest import load_manifest
from model.inference.artifact import read_description
from model.inference.run_store import local_run
from model.training.initial import initial_run
from model.training.stored_run import run_to_train
from tests.conftest import call, start_command, wait_until
from tests.model.training.test_resume import arrays, network_bytes, without_times
from tests.signals import noise, write_wav

OPTIONS = ("--network", "tutorial-cnn", "--batch-size", 8, "--seed", 7, "--patience", 0, "--noise-probability", 0.5)

STATE = re.compile(r"checkpoints/last-\d{6}/state\.json")


@pytest.fixture(scope="module")
def noise_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noise")
    write_wav(folder / "hum.wav", noise(60_000))
    return folder


def trained_in(output, features, noise_folder, *options):
    return call("model.train", "--features", features, "--output", output, "--noise", noise_folder, *OPTIONS, *options)


def fetched(uri: str, folder: Path) -> Path:
    folder.mkdir()
    Mirror(uri, folder).fetch()
    return folder


def names(folder: Path) -> list[str]:
    """Returns its files but the logs, whose names hold times, and what a resumed training goes on with in them."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(path.as_posix() for path in found if path.parts[0] not in ("logs", "trackers"))


@pytest.mark.trial
def test_a_run_in_a_store_has_the_bytes_of_one_in_a_folder(feature_set, noise_folder, s3, tmp_path, caplog, capsys):
    caplog.set_level("INFO", "soundmill")  # what a command ends with is printed
    uri = f"{s3.uri}/runs/one"
    assert trained_in(tmp_path / "here", feature_set, noise_folder, "--epochs", 2) == 0
    assert trained_in(uri, feature_set, noise_folder, "--epochs", 1) == 0
    assert f"The run is in {uri}" in capsys.readouterr().out
    assert "/soundmill-run-" not in caplog.text
    with pytest.raises(UsageError, match=f"{uri} exists already; give another --output, or remove it"):
        trained_in(uri, feature_set, noise_folder, "--epochs", 2)
    assert trained_in(uri, feature_set, noise_folder, "--epochs", 2, "--resume") == 0
    here, there = tmp_path / "here", fetched(uri, tmp_path / "there")
    assert names(there) == names(here)
    assert any(name.startswith("logs/") for name in s3_names(uri))
    assert without_times(there) == without_times(here)
    assert network_bytes(there) == network_bytes(here)
    for name in ("recipe.toml", "noise.parquet"):
        assert (there / name).read_bytes() == (here / name).read_bytes(), name
    assert arrays(there / "checkpoints" / "last-000002") == arrays(here / "checkpoints" / "last-000002")

    # What reads a run, and leaves an evaluation in it.
    assert call("model.evaluate", "--model", uri, "--features", feature_set) == 0
    assert {"evaluation/testing/metrics.json", "evaluation/testing/predictions.csv"} <= set(s3_names(uri))
    assert f"Look at {uri}/evaluation/testing/examples.png" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--output is a place on this machine, not s3://"):
        call("model.export", "--model", uri, "--output", f"{s3.uri}/export")
    spec = load_manifest(feature_set).spec
    assert initial_run(uri, spec) == replace(initial_run(str(there), spec), folder=uri)


def s3_names(uri):
    return [entry.path.removeprefix(f"{uri}/") for entry in filesystem_of(uri).list(uri)]


def test_a_training_that_is_killed_has_sent_its_epochs_and_goes_on(feature_set, s3, tmp_path, monkeypatch):
    uri = f"{s3.uri}/run"
    options = ("--features", feature_set, "--network", "tutorial-cnn", "--batch-size", 8, "--seed", 7, "--patience", 0)
    process = start_command("model.train", *map(str, options), "--output", uri, "--epochs", "400")
    wait_until(lambda: process.poll() is not None or any(map(STATE.fullmatch, s3_names(uri))), 300)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert "config.json" in s3_names(uri) and "work/.writer" in s3_names(uri)
    with pytest.raises(UsageError, match=rf"one training at a time may write {uri}, and another \(process \d+ on host"):
        call("model.train", *options, "--output", uri, "--resume")
    monkeypatch.setattr(lease_objects, "LEASE_SECONDS", 0.0)
    with pytest.raises(UsageError, match=f"the training in {uri} did not end; add --resume"):
        call("model.train", *options, "--output", uri, "--epochs", 400)
    with local_run(uri) as run, pytest.raises(UsageError, match="did not end"):
        read_description(run)
    last = json.loads((fetched(uri, tmp_path / "there") / "config.json").read_text())
    assert last["settings"]["schedule"]["epochs"] == 400
    assert "work/.writer" not in s3_names(uri)


def test_one_training_at_a_time(s3, monkeypatch):
    uri = f"{s3.uri}/run"
    monkeypatch.setattr(lease_objects, "LEASE_SECONDS", 2.5)
    monkeypatch.setattr(lease_objects, "RENEWAL_SECONDS", 0.2)
    monkeypatch.setattr(lease_objects, "_SEEN_SECONDS", 0.1)
    with run_to_train(uri, resume=False) as (folder, send):
        with pytest.raises(UsageError, match="one training at a time"), run_to_train(uri, resume=True):
            pass
        threading.Event().wait(3)  # it renews its claim
        with pytest.raises(UsageError, match="one training at a time"), run_to_train(uri, resume=True):
            pass
        (Path(folder) / "history.csv").write_text("1")
        send.epoch({})
        assert s3_names(uri) == ["history.csv", "work/.writer"]
    assert s3_names(uri) == ["history.csv"]
    with (
        pytest.raises(RunError, match=f"{uri}/work/.writer.*another has taken its place"),
        run_to_train(uri, resume=True) as (folder, send),
    ):
        filesystem_of(uri).write(f"{uri}/work/.writer", b"another\nx\n")
        threading.Event().wait(0.3)  # what was seen of it is believed for a tenth of a second
        (Path(folder) / "history.csv").write_text("2")
        send.epoch({})
    assert filesystem_of(uri).read(f"{uri}/history.csv") == b"1"
    assert filesystem_of(uri).read(f"{uri}/work/.writer") == b"another\nx\n"


def test_a_folder_is_sent_in_the_order_in_which_it_was_written(s3, tmp_path, monkeypatch):
    uri, folder = f"{s3.uri}/run", tmp_path / "run"
    files, sent = filesystem_of(uri), []
    mirror = Mirror(uri, folder, but=(".writer",))
    for number, name in enumerate(("z/first", "a/second", "m/third", ".writer", "x.1-2.partial/fourth")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
        os.utime(folder / name, ns=(number, number))
    write, delete = files.write, files.delete
    monkeypatch.setattr(files, "write", lambda path, content: sent.append(path) or write(path, content))
    monkeypatch.setattr(files, "delete", lambda path: sent.append(f"-{path}") or delete(path))
    mirror.send()
    assert sent == [f"{uri}/z/first", f"{uri}/a/second", f"{uri}/m/third"]
    sent.clear()
    mirror.send()
    assert sent == []
    shutil.rmtree(folder / "a")
    shutil.rmtree(folder / "z")
    (folder / "m" / "third").write_bytes(b"anew")
    mirror.send()
    assert sent == [f"{uri}/m/third", f"-{uri}/a/second", f"-{uri}/z/first"]
    other = Mirror(uri, tmp_path / "other")
    other.fetch(only=("m/",))
    assert names(tmp_path / "other") == ["m/third"]
    other.send()
    assert len(sent) == 3, "what was fetched is not sent"
