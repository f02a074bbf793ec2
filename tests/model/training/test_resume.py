"""A training that was killed resumes to the bits of one that was not."""

import csv
import json
import shlex
import shutil
import signal

import numpy as np
import pytest

from features.errors import RunError, UsageError
from features.store.manifest import load_manifest
from model.inference.artifact import load_artifact
from model.training.checkpoint import FOLDER
from model.training.noise_file import read_noise
from model.training.section import option, shown
from model.training.trainer import train
from tests.conftest import call, start_command, wait_until
from tests.held import EPOCH, held_at
from tests.signals import noise, write_wav

# Dropout, shuffling, augmentation, an optimizer with a state, a running average: all that has to resume where it was.
AUGMENTATION = {"time_shift_seconds": 0.05, "gain_db": 3.0, "frequency_masks": 1, "noise_probability": 0.5,
                "mixup_alpha": 0.2}  # fmt: skip
LEARNING = {"optimizer": "adamw", "weight_decay": 0.01, "label_smoothing": 0.1, "average_decay": 0.9}
SETTINGS = {"network": "tutorial-cnn", "epochs": 5, "batch_size": 8, "seed": 7, "patience": 0, **LEARNING,
            **AUGMENTATION}  # fmt: skip

# Of these the number of epochs may change.
PLAIN = SETTINGS | {"average_decay": 0.0}


def without_times(run) -> list[dict]:
    with open(run / "history.csv", newline="") as file:
        return [{name: text for name, text in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def network_bytes(run) -> list[bytes]:
    return [weights.tobytes() for weights in load_artifact(run).network.get_weights()]


def checkpoints(run) -> list[str]:
    return sorted(path.name for path in (run / FOLDER).iterdir())


def arrays(folder) -> list[bytes]:
    with np.load(folder / "variables.npz") as file:
        return [file[name].tobytes() for name in file.files]


@pytest.fixture(scope="module")
def noise_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noise")
    write_wav(folder / "hum.wav", noise(60_000))
    return folder


@pytest.fixture(scope="module")
def unbroken(feature_set, noise_folder, tmp_path_factory):
    run = tmp_path_factory.mktemp("resume") / "unbroken"
    train(str(feature_set), str(run), SETTINGS, noise=str(noise_folder))
    return run


@pytest.fixture(scope="module")
def begun(feature_set, noise_folder, tmp_path_factory):
    """A training of two epochs that may go on."""
    run = tmp_path_factory.mktemp("resume") / "begun"
    train(str(feature_set), str(run), PLAIN | {"epochs": 2}, noise=str(noise_folder))
    return run


def kill_inside_epoch(number: int, feature_set, noise_folder, run) -> None:
    """Kills a training when the epoch before `number` has ended and that one has not."""
    options = [text for name, value in SETTINGS.items() for text in (option(name), shown(value))]
    place = ("--features", feature_set, "--output", run, "--noise", noise_folder)
    process = start_command(*held_at(run.parent, [number], EPOCH, "model.train"), *place, *options)
    if number > 1:
        wait_until(lambda: (run / FOLDER / f"last-{number - 1:06d}").exists())
    else:
        wait_until(lambda: (run / "layers.txt").exists())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (run / "model").exists()
    with pytest.raises(UsageError, match="did not end"):
        load_artifact(run)


@pytest.mark.parametrize("epoch", [pytest.param(1, marks=pytest.mark.endurance), 3])
def test_a_killed_training_goes_on_to_the_same_bits(unbroken, feature_set, noise_folder, tmp_path, epoch):
    run = tmp_path / "run"
    kill_inside_epoch(epoch, feature_set, noise_folder, run)
    before = without_times(run) if (run / "history.csv").exists() else []
    assert len(before) < 5
    # Nothing but where it is has to be said again.
    assert call("model.train", "--features", feature_set, "--output", run, "--resume") == 0
    assert without_times(run) == without_times(unbroken)
    assert without_times(run)[: len(before)] == before
    assert network_bytes(run) == network_bytes(unbroken)
    assert checkpoints(run) == checkpoints(unbroken)
    for name in checkpoints(run):
        assert arrays(run / FOLDER / name) == arrays(unbroken / FOLDER / name)


def test_the_last_and_the_best_state_are_kept(unbroken):
    best = min(without_times(unbroken), key=lambda row: float(row["val_loss"]))["epoch"]
    assert checkpoints(unbroken) == [f"best-{int(best):06d}", "last-000005"]


@pytest.mark.trial
def test_more_epochs_are_those_of_a_longer_training(unbroken, begun, feature_set, noise_folder, tmp_path):
    run = shutil.copytree(begun, tmp_path / "run")
    # How far an average of the weights goes back follows from the number of epochs.
    longer = tmp_path / "longer"
    train(str(feature_set), str(longer), PLAIN | {"epochs": 3}, noise=str(noise_folder))
    (run / FOLDER / ".DS_Store").write_bytes(b"of a file manager")
    train(str(feature_set), str(run), {"epochs": 3}, resume=True)
    (run / FOLDER / ".DS_Store").unlink()
    assert without_times(run) == without_times(longer)
    assert network_bytes(run) == network_bytes(longer)
    assert json.loads((run / "config.json").read_text())["settings"]["schedule"]["epochs"] == 3
    with pytest.raises(UsageError, match="begun with --epochs 5, not 6"):
        train(str(feature_set), str(unbroken), {"epochs": 6}, resume=True)


def test_a_finished_training_is_left_as_it_is(unbroken, feature_set):
    def content() -> dict:
        return {path: path.read_bytes() for path in unbroken.rglob("*") if path.is_file()}

    before = content()
    figures = train(str(feature_set), str(unbroken), {}, resume=True)
    assert figures["epochs"] == 5
    assert content() == before


def test_a_training_that_goes_on_is_no_model_until_it_ends(begun, feature_set, tmp_path):
    features, run = shutil.copytree(feature_set, tmp_path / "set"), shutil.copytree(begun, tmp_path / "run")
    for path in (features / "shards").iterdir():
        path.write_bytes(b"")
    with pytest.raises(RunError):
        train(str(features), str(run), {"epochs": 3}, resume=True)
    with pytest.raises(UsageError, match="did not end, there is no model in it; resume"):
        load_artifact(run)


def test_fewer_epochs_than_have_ended_are_refused(unbroken, feature_set):
    with pytest.raises(UsageError, match="begun with --epochs 5, not 4"):
        train(str(feature_set), str(unbroken), {"epochs": 4}, resume=True)


def test_resume_without_a_run_begins_one_and_names_what_comes_next(feature_set, tmp_path, capsys):
    run = tmp_path / "Sam's run; v2"
    run.mkdir()
    (run / "config.json.123.partial").write_text("{")  # of a run that was killed as it began
    (run / "noise.parquet").write_text("")
    options = ("--features", feature_set, "--output", run, "--resume")
    assert call("model.train", *options, "--network", "mlp", "--epochs", 1, "--test-on", "testing") == 0
    assert call("model.train", *options) == 0
    assert [line.partition("Next: ")[2] for line in capsys.readouterr().out.splitlines()] == [
        f"python -m model.evaluate --model {shlex.quote(str(run))} --features {feature_set} --test-on testing"
    ] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 16}, "begun with --batch-size 8, not 16"),
        ({"network": "raw-cnn"}, "begun with --network tutorial-cnn, not raw-cnn"),
        ({"validate_on": ()}, "begun with --validate-on its default, not none"),
    ],
)
def test_another_training_is_refused(unbroken, feature_set, options, message):
    with pytest.raises(UsageError, match=message):
        train(str(feature_set), str(unbroken), options, resume=True)


def test_a_run_keeps_its_noise_and_goes_on_with_no_other(unbroken, feature_set, noise_folder, tmp_path):
    record = json.loads((unbroken / "config.json").read_text())["noise"]
    assert record["folder"] == str(noise_folder)
    spec = load_manifest(feature_set).spec
    windows = read_noise(unbroken / "noise.parquet", record["crc32c"], spec).windows
    assert {name: len(part) for name, part in windows.items()} == record["windows"]
    assert record["windows"] == {"training": 21, "validation": 0, "testing": 0}
    train(str(feature_set), str(unbroken), {}, resume=True, noise=str(noise_folder))
    with pytest.raises(UsageError, match=f"begun with --noise {noise_folder}, not with --noise"):
        train(str(feature_set), str(unbroken), {}, resume=True, noise=str(tmp_path))
    run = shutil.copytree(unbroken, tmp_path / "run")
    (run / "noise.parquet").unlink()
    with pytest.raises(UsageError, match=r"the background noise of the run, .*noise\.parquet, cannot be read"):
        train(str(feature_set), str(run), {}, resume=True)


def test_other_features_are_refused(unbroken, parquet_set):
    with pytest.raises(UsageError, match="begun with other features"):
        train(str(parquet_set), str(unbroken), {}, resume=True)


def test_a_damaged_checkpoint_is_named(begun, feature_set, tmp_path):
    run = shutil.copytree(begun, tmp_path / "run")
    path = run / FOLDER / "last-000002" / "variables.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UsageError, match=r"last-000002/variables\.npz"):
        train(str(feature_set), str(run), {"epochs": 3}, resume=True)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"settings": {"epochs": "many"}}', b"\xff"])
def test_a_damaged_record_is_named(tmp_path, feature_set, content):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"config\.json is damaged"):
        train(str(feature_set), str(tmp_path / "run"), {}, resume=True)


def test_a_folder_of_something_else_is_refused(tmp_path, feature_set):
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not a run folder"):
        train(str(feature_set), str(tmp_path), {}, resume=True)
