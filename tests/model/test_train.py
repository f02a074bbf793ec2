import csv
import itertools
import json
import shutil
import signal

import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from features.errors import RunError, UsageError
from features.store.manifest import load_manifest
from model.evaluation.evaluator import evaluate
from model.inference.artifact import load_artifact
from model.training.history import read_history
from model.training.trainer import train
from tests.conftest import call, start_command, wait_until


def without_times(run) -> list[dict]:
    with open(run / "history.csv", newline="") as file:
        return [{name: text for name, text in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def weights(run) -> list[np.ndarray]:
    return load_artifact(run).network.get_weights()


@pytest.fixture(scope="module")
def short_run(feature_set, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "short"
    train(
        str(feature_set),
        str(output),
        dict(network="tutorial-cnn", epochs=2, batch_size=16, seed=3, patience=0),
        keep_in_memory="on",
    )
    return output


def test_the_same_seed_gives_the_same_network_from_either_format(short_run, parquet_set, tmp_path):
    settings = dict(network="tutorial-cnn", epochs=2, batch_size=16, seed=3, patience=0)
    train(str(parquet_set), str(tmp_path / "run"), settings, keep_in_memory="off")
    assert without_times(tmp_path / "run") == without_times(short_run)
    for mine, theirs in zip(weights(tmp_path / "run"), weights(short_run), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_another_seed_gives_another_network(short_run, trained):
    schedules = [json.loads((run / "config.json").read_text())["settings"] for run in (short_run, trained)]
    for settings in schedules:
        for name in ("seed", "epochs", "patience"):
            (settings if name == "seed" else settings["schedule"]).pop(name)
    assert schedules[0] == schedules[1]
    assert without_times(trained)[0] != without_times(short_run)[0]
    assert not np.array_equal(weights(trained)[-2], weights(short_run)[-2])


# So high a rate that the validation loss does not keep falling.
UNSTEADY = {"network": "tutorial-cnn", "batch_size": 16, "learning_rate": 0.02, "seed": 0}


@pytest.fixture(scope="module")
def patient_run(feature_set, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "patient"
    figures = train(str(feature_set), str(output), dict(**UNSTEADY, epochs=6, patience=0))
    return output, figures


def stop_after(losses: list[float], patience: int) -> int:
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best >= patience:
            return epoch + 1
    return len(losses)


def test_patience_0_never_stops_early(patient_run):
    losses = [row["val_loss"] for row in read_history(patient_run[0] / "history.csv")]
    assert len(losses) == 6
    assert stop_after(losses, 1) < 6, "the losses fell all the way: this run shows nothing"


def test_training_stops_after_so_many_epochs_without_a_smaller_loss(patient_run, feature_set, tmp_path):
    losses = [row["val_loss"] for row in read_history(patient_run[0] / "history.csv")]
    figures = train(str(feature_set), str(tmp_path / "run"), dict(**UNSTEADY, epochs=6, patience=1))
    assert figures["epochs"] == stop_after(losses, 1)
    assert without_times(tmp_path / "run") == without_times(patient_run[0])[: figures["epochs"]]
    # Nor does it go on.
    assert train(str(feature_set), str(tmp_path / "run"), {}, resume=True)["epochs"] == figures["epochs"]


def test_the_weights_kept_are_those_of_the_smallest_validation_loss(patient_run, feature_set):
    run, figures = patient_run
    history = read_history(run / "history.csv")
    best = min(history, key=lambda row: row["val_loss"])
    assert best is not history[-1], "the last epoch was the best: this run shows nothing"
    assert figures["best_epoch"] == best["epoch"]
    metrics = evaluate(str(run), str(feature_set), ("validation",))
    assert metrics["loss"] == pytest.approx(best["val_loss"], rel=1e-4, abs=1e-6)
    assert metrics["accuracy"] == pytest.approx(best["val_accuracy"])


def test_the_run_folder_says_how_it_was_made(trained, feature_set):
    config = json.loads((trained / "config.json").read_text())
    manifest = load_manifest(feature_set)
    assert config["settings"]["schedule"]["epochs"] == 3
    assert config["settings"]["schedule"]["batch_size"] == 16
    assert config["settings"]["seed"] == 0
    assert config["noise"] is None
    assert config["features"] == str(feature_set)
    assert config["fingerprint"] == manifest.spec.fingerprint
    assert config["classes"] == ["high", "low", "middle"]
    assert {"tensorflow", "keras", "numpy", "python"} <= config["versions"].keys()
    mean, variance = manifest.statistics["training"].scalar()
    assert config["normalization"] == {"mean": mean, "variance": variance}


def test_the_history_has_a_line_an_epoch_with_its_time(trained):
    history = read_history(trained / "history.csv")
    assert list(history[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert all(row["seconds"] > 0 for row in history)
    assert all(0 <= row[name] <= 1 for row in history for name in ("accuracy", "val_accuracy"))


def test_the_curves_are_a_picture(trained):
    picture = matplotlib.image.imread(trained / "curves.png", format="png")
    assert picture.shape[0] > 300
    assert picture.shape[1] > 600
    assert picture.std(axis=(0, 1))[:3].min() > 0.05


def test_the_layer_table_counts_the_parameters(trained):
    table = (trained / "layers.txt").read_text()
    total = next(line for line in table.splitlines() if line.strip().startswith("Total params: 1,"))
    assert "1,624,966" in total  # the tutorial's 1,625,611 less five classes of 129
    assert load_artifact(trained).network.count_params() == 1_624_966


def test_tensorboard_reads_the_logs(trained):
    history = read_history(trained / "history.csv")
    for folder, prefix in (("train", ""), ("validation", "val_")):
        events = EventAccumulator(str(trained / "logs" / folder), size_guidance={"tensors": 0})
        events.Reload()
        for name in ("loss", "accuracy"):
            values = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(f"epoch_{name}")]
            assert values == pytest.approx([row[prefix + name] for row in history], rel=1e-5)


@pytest.mark.parametrize(("validate_on", "runs"), [
    ((), (False, True)), pytest.param(("testing",), (False,), marks=pytest.mark.trial),
])  # fmt: skip
def test_a_training_that_diverges_ends_at_once_and_is_no_model(feature_set, tmp_path, caplog, validate_on, runs):
    caplog.set_level("INFO")
    settings = {
        "network": "mlp",
        "learning_rate": 1e30,
        "epochs": 9,
        "batch_size": 16,
        "validate_on": validate_on,
        "test_on": ("testing",),
        "patience": 0,
    }
    for resume in runs:
        with pytest.raises(RunError, match="diverged"):
            train(str(feature_set), str(tmp_path / "run"), settings, resume=resume)
    assert len(read_history(tmp_path / "run" / "history.csv")) < 9
    assert not (tmp_path / "run" / "model").exists()
    # What was said before: that the test is on what chooses the epoch, and the table of layers.
    assert ("the best weights are chosen on testing" in caplog.text) == (validate_on == ("testing",))
    assert "Total params:" in caplog.text
    assert [said for said in caplog.messages if "\n" in said] == [], "a message is a line"


@pytest.mark.parametrize("partition", ["training", pytest.param("validation", marks=pytest.mark.trial), "testing"])
def test_a_damaged_shard_ends_a_training_and_is_named(feature_set, tmp_path, partition):
    features = shutil.copytree(feature_set, tmp_path / "set")
    manifest = load_manifest(features)
    shard = manifest.shards([partition])[0]
    path = manifest.layout(features).shard(shard.name)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match=shard.name):
        train(
            str(features),
            str(tmp_path / "run"),
            {"network": "mlp", "epochs": 1, "batch_size": 16, "test_on": ("testing",)},
        )


def test_nothing_half_done_is_left_in_a_finished_run(trained):
    assert not list(trained.rglob("*.partial"))
    assert not list(trained.rglob("*.weights.h5"))
    assert load_artifact(trained).classes == ["high", "low", "middle"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(train_on=("nonsense",)), "nonsense"),
        (dict(train_on=("training", "testing"), validate_on=("testing",)), "both name 'testing'"),
        (dict(network="nonsense"), "tutorial-cnn"),
    ],
)
def test_what_cannot_be_trained_leaves_no_folder(feature_set, tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        train(str(feature_set), str(tmp_path / "run"), settings)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def interrupted(feature_set, tmp_path_factory):
    """A training stopped in the middle by Ctrl-C (test_resume.py kills one): run folder, exit code, standard error."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    process = start_command("model.train", "--features", feature_set, "--output", run, "--network", "tutorial-cnn",
                            "--epochs", 10_000, "--patience", 0, "--batch-size", 16)  # fmt: skip
    wait_until((run / "history.csv").exists)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=120)[1]
    return run, process.returncode, errors


@pytest.mark.parametrize("command", ["model.evaluate", "pipelines.score", "model.train"])
def test_a_training_that_was_interrupted_is_no_model(interrupted, feature_set, words, tmp_path, command):
    run = interrupted[0]
    arguments = {
        "model.evaluate": ("--model", run, "--features", feature_set),
        "pipelines.score": ("--model", run, "--input", words, "--output", tmp_path / "labels.csv"),
        "model.train": ("--features", feature_set, "--output", run),
    }[command]
    with pytest.raises(UsageError, match=f"{run}.* did not end"):
        call(command, *arguments)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_a_training_with_one_line(interrupted):
    _, code, errors = interrupted
    assert code == 130
    assert "Traceback" not in errors
    epoch_lines = [line.startswith(("epoch ", "interrupted")) for line in errors.splitlines()]
    after_the_first_epoch = list(itertools.dropwhile(lambda epoch: not epoch, epoch_lines))
    assert all(after_the_first_epoch), errors
    assert errors.splitlines()[-1].startswith("interrupted")


def test_the_page_of_the_model_is_written_when_the_training_has_ended(trained, feature_set, tmp_path):
    run, summary = tmp_path / "run", tmp_path / "summary.json"
    shutil.copytree(trained, run)  # whose training has ended: nothing but the page is left to do
    resumed = ("--features", feature_set, "--output", run, "--resume")
    assert call("model.train", *resumed, "--report", "--summary", summary) == 0
    text = (run / "report.html").read_text(encoding="utf-8")
    figures = json.loads(summary.read_text(encoding="utf-8"))["report"]
    assert figures["bytes"] == len(text.encode("utf-8"))
    assert figures["accuracy"] == evaluate(str(run), str(feature_set), ("testing",))["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--report", "page.txt"), "^--report is a page whose name ends in .html, not page.txt$"),
        (("--report", "none/page.html"), "^no folder for --report none/page.html; make none first$"),
        (("--report",), "^--report shows what the model makes of the testing clips, of which .* has none "),
    ],
)
def test_a_page_that_cannot_be_is_refused_before_the_training(small_shards, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        call("model.train", "--features", small_shards["tfrecord"], "--output", tmp_path / "run", *arguments)
    assert not (tmp_path / "run").exists()


def test_a_preview_has_no_page(feature_set):
    with pytest.raises(UsageError, match=r"^--report goes with --output; "):
        call("model.train", "--features", feature_set, "--preview", "augmentation.png", "--report")
