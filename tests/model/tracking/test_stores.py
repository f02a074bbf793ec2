"""One training in all four trackers, read back by their own means, and what it looked up in the network meanwhile."""

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.pictures.examples import source_waveform
from features.store.clips_table import read_clips
from features.store.manifest import load_manifest
from model.inference.artifact import load_artifact, read_description
from model.training.history import read_history
from tests.conftest import succeed
from tests.model.tracking import read_back
from tests.network import NetworkWatch

TRACKERS = ("tensorboard", "mlflow", "comet", "wandb")
ENDS = {"tensorboard": "finished", "mlflow": "FINISHED", "comet": "finished", "wandb": "0"}
OPTIONS = ("--network", "mlp", "--epochs", 2, "--batch-size", 32, "--learning-rate", 1e-4)  # makes mistakes
STRACE = shutil.which("strace")
pytestmark = pytest.mark.trial


def chosen(*names: str) -> tuple[str, ...]:
    return tuple(word for name in names for word in ("--tracker", name))


@pytest.fixture(scope="module")
def tracked(feature_set, tmp_path_factory) -> tuple[Path, Path, NetworkWatch]:
    """A run that went to all trackers, what the system was asked for meanwhile, and what was looked up."""
    folder = tmp_path_factory.mktemp("tracked")
    watch = NetworkWatch(folder)
    given = re.compile("(MLFLOW|COMET|WANDB)_")
    environment = {name: text for name, text in watch.environment.items() if not given.match(name)}
    run, calls = folder / "it's a run", folder / "calls.txt"
    options = ("--features", feature_set, "--output", run, *OPTIONS, *chosen(*TRACKERS))
    command = [sys.executable, "-m", "model.train", *options]
    if STRACE:
        traced = ["-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto,sendmsg", "-e", "signal=none", "-o", calls]
        command = [STRACE, *traced, *command]
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert f"It is in MLflow, Comet, Weights & Biases too: {run}/trackers, or where your settings say." in done.stdout
    return run, calls, watch


def test_nothing_is_looked_up_or_sent(tracked):
    """Nor by programs that are not Python: wandb's are in Go and Rust."""
    run, calls, watch = tracked
    assert watch.attempts() == []
    others = (".cache", ".cache/matplotlib", ".config", ".config/matplotlib", ".keras")  # of what trains and draws
    written = [path for path in watch.written_into_home() if not path.startswith((".cache/matplotlib/", ".keras/"))]
    assert sorted(written) == [path for path in others if path in written]
    if not STRACE:
        pytest.skip("no strace: what is not Python was not watched")
    asked = calls.read_text(encoding="utf-8", errors="replace").splitlines()
    assert any("AF_UNIX" in line and "wandb" in line for line in asked), "their processes were followed"
    there = [line for line in asked if "sa_family=AF_INET" in line]
    assert [line for line in there if '"127.0.0.1"' not in line and '"::1"' not in line] == []
    assert sorted(path.name for path in run.parent.iterdir()) == ["calls.txt", "home", run.name, "site"]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_store_has_all_of_the_training(tracked, feature_set, name):
    run = tracked[0]
    stored = getattr(read_back, f"read_{name}")(run)
    history, description = read_history(run / "history.csv"), read_description(run)
    config = json.loads((run / "config.json").read_text())
    # Parameters and spec.
    known = {"network": "mlp", "epochs": 2, "learning_rate": 1e-4, "fingerprint": config["fingerprint"]}
    for parameter, value in known.items():
        found = stored.parameters[parameter]
        assert (found if isinstance(value, str) else float(found)) == value
    assert stored.parameters["features"] == str(feature_set)
    spec = json.loads(stored.texts["spec.json"])
    assert spec == {"fingerprint": config["fingerprint"], **config["spec"]}
    # Curves: each epoch once, and nothing else in them.
    for column in ("loss", "accuracy", "val_loss", "val_accuracy"):
        points = [(int(row["epoch"]), pytest.approx(row[column], rel=1e-6)) for row in history]
        assert stored.curves[column] == points
    # What came out: figures, layers, matrix.
    assert stored.texts["layers.txt"] == (run / "layers.txt").read_text()
    assert float(stored.figures["run.best_epoch"]) == 2
    matrix = [row.split(",") for row in stored.texts["confusion.csv"].splitlines()]
    assert matrix[0][1:] == description.classes
    counts = np.array([row[1:] for row in matrix[1:]], int)
    assert counts.sum() == load_manifest(feature_set).rows(["validation"])
    assert np.trace(counts) / counts.sum() == pytest.approx(max(row["val_accuracy"] for row in history[1:]))
    assert float(stored.figures["validation.accuracy"]) == pytest.approx(np.trace(counts) / counts.sum())
    for label in description.classes:
        assert 0 <= float(stored.figures[f"validation.recall/{label}"]) <= 1
    # Pictures and sounds.
    examples = [line.split(",") for line in stored.texts["examples.csv"].splitlines()[1:]]
    names = [line[0] for line in examples]
    assert set(stored.pictures) == {"curves", "confusion", "examples", *names}
    assert all(content.startswith(b"\x89PNG") for content in stored.pictures.values())
    assert stored.pictures["curves"] == (run / "curves.png").read_bytes()
    wrong = [true != predicted for _, true, predicted, *_ in examples]
    assert wrong == sorted(wrong, reverse=True), "mistakes come first"
    assert any(wrong)
    assert set(stored.sounds) == set(names)
    manifest = load_manifest(feature_set)
    clips = {clip["path"]: clip for clip in read_clips(manifest.layout(feature_set), manifest).to_pylist()}
    for number, _, _, _, path, _ in examples:
        waveform, rate_hz = soundfile.read(io.BytesIO(stored.sounds[number]), dtype="float32")
        assert rate_hz == manifest.spec.sample_rate_hz
        np.testing.assert_allclose(waveform, source_waveform(clips[path], manifest), atol=1 / 32_767)
    if stored.captions:
        assert stored.captions["example-01"].endswith(f", {examples[0][4]}")
    # The artifact.
    assert stored.model == read_back.files_of(run / "model")
    assert stored.end == ENDS[name]


def test_the_network_is_that_of_a_training_without_trackers(tracked, feature_set, tmp_path):
    succeed("model.train", "--features", feature_set, "--output", tmp_path / "run", *OPTIONS, *chosen("none"))
    # Of the weights: a file of LiteRT holds names too, which count the networks that a process has built.
    without, tracked_ones = (load_artifact(str(run)).network.get_weights() for run in (tmp_path / "run", tracked[0]))
    assert len(without) == len(tracked_ones) > 0
    for one, other in zip(without, tracked_ones, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not (tmp_path / "run" / "logs").exists()
    assert not list((tmp_path / "run" / "trackers").iterdir())
    # Nor does it begin with one when it is resumed.
    succeed("model.train", "--features", feature_set, "--output", tmp_path / "run", *OPTIONS, "--resume")
    assert not (tmp_path / "run" / "logs").exists()
