"""Trackers that fail, and trackers of trainings that do not end: the training is as it would be without them."""

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from features.errors import UsageError
from features.store.manifest import load_manifest
from model.inference.artifact import read_description
from model.tracking import client
from model.tracking.mlflow_store import metric_names
from model.tracking.registry import KINDS, Kind, check_trackers
from model.tracking.session import read_state
from model.tracking.trackers import Trackers, tracking
from model.training.history import EachEpoch, read_history
from model.training.trainer import train
from tests.conftest import start_command, succeed, wait_until
from tests.held import EPOCH, held_at
from tests.model.tracking import read_back
from tests.model.tracking.test_stores import chosen

LINEAR = {"network": "linear"}
NAMES = ["recall/it's", "recall/it_s", "recall/a,b [c]", "..", "a//b", "/", "数/ä: 1", "x" * 400]


@pytest.fixture(scope="module")
def alone(feature_set, tmp_path_factory) -> str | None:
    """What a training without trackers ends in."""
    run = tmp_path_factory.mktemp("alone") / "run"
    train(str(feature_set), str(run), LINEAR)
    return read_description(run).litert_sha256


def processes_of(group: int) -> list[str]:
    """The processes of a group that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, their_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(their_group) == group and state != "Z":
                found.append(stat.parent.name)
    return found


def train_with(names: tuple[str, ...], feature_set: Path, run: Path, act=lambda trackers: None) -> list[str]:
    """Trains in trackers, to which something happens when the first epoch has ended; those that took all of it."""
    rows = []

    def follow(row) -> None:
        rows.append(row)
        if len(rows) == 1:
            act(trackers)

    with tracking(names, str(run), EachEpoch(follow)) as trackers:
        figures = train(str(feature_set), str(run), LINEAR, watch=trackers)
        return trackers.show(str(feature_set), figures)


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_names_of_metrics_are_what_mlflow_takes_and_all_different():
    given = metric_names(NAMES)
    assert list(given) == NAMES
    assert len(set(given.values())) == len(NAMES)
    assert given["recall/it's"] == "recall/it_s"
    assert given["数/ä: 1"] == "数/ä: 1"
    assert all(len(name) <= 250 for name in given.values())


@pytest.mark.trial
def test_mlflow_takes_the_names_of_metrics():
    from mlflow.utils.validation import _validate_metric_name

    for name in metric_names(NAMES).values():
        _validate_metric_name(name)


def test_none_is_for_no_tracker_and_each_is_there_once():
    assert check_trackers(["none", "none"]) == ()
    assert check_trackers(["mlflow", "tensorboard", "mlflow"]) == ("mlflow", "tensorboard")
    with pytest.raises(UsageError, match="--tracker none is for no tracker at all; leave it or comet out"):
        check_trackers(["comet", "none"])


def test_the_logs_of_tensorboard_are_there_by_default(trained, feature_set):
    stored = read_back.read_tensorboard(trained)
    history = read_history(trained / "history.csv")
    assert stored.curves["val_loss"] == [(row["epoch"], pytest.approx(row["val_loss"])) for row in history]
    assert json.loads(stored.texts["spec.json"])["fingerprint"] == load_manifest(feature_set).spec.fingerprint
    assert stored.parameters["epochs"] == 3
    assert {"curves", "confusion", "examples", "example-01"} <= set(stored.pictures)
    assert len(stored.sounds) == len(stored.pictures) - 3
    assert stored.model == read_back.files_of(trained / "model")
    assert stored.texts["layers.txt"] == (trained / "layers.txt").read_text()
    assert read_state(trained, "tensorboard") == {"key": None, "epochs": 3, "shown": 3}


def test_a_package_that_is_missing_is_one_warning(feature_set, alone, tmp_path, caplog, monkeypatch):
    monkeypatch.setitem(KINDS, "comet", Kind("comet", "no_such_package_of_comet", "Comet"))
    assert train_with(("comet",), feature_set, tmp_path / "run") == []
    said = "the package no_such_package_of_comet is not installed (pip install 'soundmill[comet]')"
    assert warnings(caplog) == [f"warning: Comet is left out, which changes nothing of the training: {said}"]
    assert read_description(tmp_path / "run").litert_sha256 == alone


def test_a_store_in_a_folder_is_refused_with_a_way_out(feature_set, alone, tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:./mlruns")
    train_with(("mlflow",), feature_set, tmp_path / "run")
    [warning] = warnings(caplog)
    assert "MLFLOW_TRACKING_URI is file:./mlruns, and MLflow keeps nothing in folders any more; set it to" in warning
    assert read_description(tmp_path / "run").litert_sha256 == alone


def test_a_tracker_that_dies_in_an_epoch_is_one_warning(feature_set, alone, tmp_path, caplog):
    def kill(trackers) -> None:
        process = trackers._trackers["comet"]._process
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    assert train_with(("tensorboard", "comet"), feature_set, tmp_path / "run", kill) == ["tensorboard"]
    [warning] = warnings(caplog)
    assert warning.startswith(
        "warning: Comet is left out, which changes nothing of the training: its process ended (SIGKILL)"
    )
    assert read_description(tmp_path / "run").litert_sha256 == alone
    assert read_back.read_tensorboard(tmp_path / "run").end == "finished"


@pytest.mark.trial
def test_a_tracker_that_hangs_is_one_warning_and_leaves_no_process(feature_set, alone, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(client, "_SECONDS", {})
    monkeypatch.setattr(client, "_LEAST_SECONDS", 1.0)
    groups = []

    def stop(trackers) -> None:
        groups.append(trackers._trackers["mlflow"]._process.pid)
        os.kill(groups[0], signal.SIGSTOP)

    train_with(("mlflow",), feature_set, tmp_path / "run", stop)
    [warning] = warnings(caplog)
    assert "it did not answer within 1 s" in warning
    assert read_description(tmp_path / "run").litert_sha256 == alone
    assert processes_of(groups[0]) == []


def test_a_run_that_cannot_be_read_is_one_warning(tmp_path, caplog):
    (tmp_path / "trackers").mkdir()
    (tmp_path / "trackers" / "of_later_versions.json").write_text("{}")
    Trackers(None, str(tmp_path), None).begin(tmp_path)
    assert warnings(caplog) == []
    trackers = Trackers(("tensorboard",), str(tmp_path), None)
    trackers.begin(tmp_path)
    trackers.show("features", {})
    [warning] = warnings(caplog)
    assert warning.startswith("warning: TensorBoard is left out, which changes nothing of the training: ")


def test_a_run_of_before_there_were_recipes_is_tracked_when_it_is_resumed(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("recipe.toml", "logs", "trackers"))
    with tracking(None, str(run), None) as trackers:
        trackers.begin(run)
    stored = read_back.read_tensorboard(run)
    assert len(stored.curves["loss"]) == len(read_history(run / "history.csv"))
    assert "spec.json" in stored.texts and "recipe.toml" not in stored.texts


def test_logs_that_cannot_be_written_are_one_warning(feature_set, alone, tmp_path, caplog):
    def spoil(trackers) -> None:
        session = trackers._trackers["tensorboard"]._session
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, session._tracker._training._file.fileno())
        os.close(full)

    train_with(("tensorboard",), feature_set, tmp_path / "run", spoil)
    [warning] = warnings(caplog)
    assert "TensorBoard is left out" in warning
    assert "No space left on device" in warning
    assert read_description(tmp_path / "run").litert_sha256 == alone


@pytest.mark.trial
def test_a_resumed_training_tells_what_is_new_and_goes_on_in_its_own_trackers(feature_set, tmp_path):
    run = tmp_path / "run"
    options = ("--features", feature_set, "--output", run, "--network", "mlp", "--patience", 0)
    succeed("model.train", *options, "--epochs", 1)
    succeed("model.train", *options, "--epochs", 2, "--resume")
    stored = read_back.read_tensorboard(run)
    history = read_history(run / "history.csv")
    assert stored.curves["loss"] == [(row["epoch"], pytest.approx(row["loss"])) for row in history]
    assert len(history) == 2
    assert stored.model == read_back.files_of(run / "model")
    events = sorted((run / "logs" / "run").iterdir())
    assert len(events) == 2
    # Once more there is nothing to say.
    succeed("model.train", *options, "--epochs", 2, "--resume", *chosen("tensorboard"))
    assert read_back.read_tensorboard(run).curves == stored.curves
    assert sorted((run / "logs" / "run").iterdir()) == events


def test_sounds_that_are_gone_are_said_and_pictures_stay(words, tmp_path, caplog):
    caplog.set_level("INFO")
    source, features, run = tmp_path / "words", tmp_path / "set", tmp_path / "run"
    shutil.copytree(words, source)
    succeed("pipelines.featurize", "--input", source, "--preset", "speech-commands", "--output", features)
    shutil.rmtree(source)
    train_with(("tensorboard",), features, run)
    stored = read_back.read_tensorboard(run)
    assert stored.sounds == {}
    assert "example-01" in stored.pictures
    assert "The recording is not there any more, or has changed." in stored.texts["examples.csv"]
    [line] = [record.getMessage() for record in caplog.records if "a picture alone" in record.getMessage()]
    number = len(stored.pictures) - 3
    assert (
        line
        == f"{number} of {number} examples have a picture alone: The recording is not there any more, or has changed."
    )


def test_without_validation_it_says_so(feature_set, tmp_path):
    run = tmp_path / "run"
    with tracking(("tensorboard",), str(run), None) as trackers:
        settings = {**LINEAR, "validate_on": (), "l2": 0.1}
        trackers.show(str(feature_set), train(str(feature_set), str(run), settings, watch=trackers))
    stored = read_back.read_tensorboard(run)
    assert set(stored.pictures) == {"curves"}
    assert stored.texts["validation.txt"].startswith("Nothing was validated on clips of its own")


@pytest.mark.parametrize(
    ("how", "names"),
    [
        pytest.param(signal.SIGINT, ("wandb", "comet"), marks=pytest.mark.trial),
        pytest.param(signal.SIGKILL, ("wandb", "mlflow", "comet"), marks=pytest.mark.endurance),
        pytest.param(signal.SIGINT, ("mlflow",), marks=pytest.mark.endurance),
    ],
)
def test_what_interrupts_a_training_leaves_no_process_and_a_resumed_one_goes_on(feature_set, tmp_path, how, names):
    """By Ctrl-C or killed: each store has the epochs that ended, and after `--resume` all of them, each once."""
    run, readers = tmp_path / "run", {name: getattr(read_back, f"read_{name}") for name in names}
    options = ("--features", feature_set, "--output", run, "--network", "mlp", "--batch-size", 1, "--patience", 0)
    process = start_command(*held_at(tmp_path, [4], EPOCH, "model.train"), *options, "--epochs", 10, *chosen(*names))
    # While it goes on, figures are there as they come.
    wait_until(lambda: all(read_state(run, name).get("epochs", 0) >= 2 for name in names))
    if "comet" in names:  # whose archive is made at the end
        [partial] = (run / "trackers" / "comet").glob("partial-*/*/messages.json")
        assert partial.read_text().count('"metricName":"val_loss"') >= 2
    for name in set(names) - {"comet"}:
        wait_until(lambda: len(readers[name](run).curves.get("loss", [])) >= 2)  # noqa: B023 - called here
    groups = children_of(process.pid)
    assert len(groups) >= len(names)
    assert process.poll() is None
    os.kill(process.pid, how)
    process.communicate()
    wait_until(lambda: not any(processes_of(group) for group in groups), 60)
    ends = {"mlflow": ("KILLED", "FAILED"), "comet": ("stopped", "failed"), "wandb": ("1", "1")}
    for name, read in readers.items():
        stored = read(run)
        assert [step for step, _ in stored.curves["loss"]] == list(range(1, len(stored.curves["loss"]) + 1))
        assert 2 <= len(stored.curves["loss"]) <= len(read_history(run / "history.csv")) < 10
        assert stored.end == ends[name][how == signal.SIGKILL]
    succeed("model.train", *options, "--epochs", 10, "--resume")
    history = read_history(run / "history.csv")
    for name, read in readers.items():
        stored = read(run)
        assert stored.curves["loss"] == [(row["epoch"], pytest.approx(row["loss"])) for row in history], name
        assert stored.model == read_back.files_of(run / "model"), name


def children_of(parent: int) -> list[int]:
    """The processes that one has started; each tracker's leads a group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[1] == str(parent):
                found.append(int(stat.parent.name))
    return found
