"""A run's network in int8, from the command to what scoring makes of it."""

import json
import shutil

import numpy as np
import pytest

import soundmill
from features.errors import UsageError
from model.evaluation import quantization
from model.inference.artifact import read_description
from model.inference.executor import EXECUTORS
from model.inference.precision import network_sha256, read_network
from tests.conftest import call
from tests.pipelines.conftest import files_of


def score(run, source, folder, *options):
    folder.mkdir(exist_ok=True)
    assert call("pipelines.score", "--model", run, "--input", source, "--output", folder / "labels.csv", *options) == 0
    return files_of(folder)


@pytest.fixture(scope="module")
def quantized(trained, feature_set, tmp_path_factory):
    """A run folder with both networks, and the figures of the command."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("runs") / "run")
    summary = run.parent / "summary.json"
    arguments = ("--model", run, "--features", feature_set, "--test-on", "validation", "--summary", summary)
    assert call("model.quantize", *arguments) == 0
    return run, json.loads(summary.read_text(encoding="utf-8"))


def test_the_artifact_says_how_right_both_are_and_keeps_its_own_network(quantized, trained):
    run, figures = quantized
    before, description = read_description(trained), read_description(run)
    assert description.int8 is not None and before.int8 is None
    assert description.int8.measured == {name: figures[name] for name in ("tested_on", "clips", "executors")}
    assert list(figures["executors"]) == list(EXECUTORS)
    for found in figures["executors"].values():
        assert found["float32"]["clips"] == found["int8"]["clips"] == figures["clips"] > 0
        low, high = found["int8"]["interval_95_by_group"]
        assert low <= found["int8"]["accuracy"] <= high
        assert found["same_label"] > 0.9
    assert read_network(run, description, "float32") == read_network(trained, before, "float32")
    assert network_sha256(run, description, "float32") == before.network_sha256


def test_scoring_with_it_gives_its_own_bytes_whatever_the_workers(quantized, words, tmp_path):
    run, source = quantized[0], words / "low"
    one, two, float32 = (
        score(run, source, tmp_path / name, "--workers", workers, "--network-precision", precision)
        for name, workers, precision in (("one", 1, "int8"), ("two", 2, "int8"), ("float32", 1, "float32"))
    )
    assert one == two != float32
    model = soundmill.load_model(run, network_precision="int8")
    table = model.predict(sorted(source.iterdir()))
    lines = one["labels.csv"].decode().splitlines()[1:]
    assert [line.rsplit(",", 1)[1] for line in lines] == [f"{value:.6f}" for value in table["probability"].to_pylist()]


def test_ranges_come_of_clips_that_the_network_learnt_from(quantized, feature_set, monkeypatch):
    found = []
    monkeypatch.setattr(quantization, "quantize", lambda content, features: found.append(features) or content)
    monkeypatch.setattr(quantization, "RANGE_CLIPS", 10)
    run = quantized[0]
    before = (run / "model" / "artifact.json").read_bytes(), (run / "model" / "network-int8.tflite").read_bytes()
    quantization.quantize_run(str(run), str(feature_set), ("validation",))
    for name, content in zip(("artifact.json", "network-int8.tflite"), before, strict=True):
        (run / "model" / name).write_bytes(content)
    training = np.concatenate([batch for batch, _ in soundmill.open_features(feature_set).batches("training", 64)])
    rows = np.linspace(0, len(training) - 1, 10).round().astype(int)
    np.testing.assert_array_equal(found[0], training[rows, ..., 0])


def test_a_run_without_it_says_how_to_make_it(trained, words, tmp_path):
    with pytest.raises(UsageError, match=r"has no network in int8; make one with .*quantize.* --model .* --features"):
        score(trained, words, tmp_path, "--network-precision", "int8")
    assert not list(tmp_path.iterdir())


def test_a_damaged_one_is_refused(quantized, tmp_path):
    run = shutil.copytree(quantized[0], tmp_path / "run")
    (run / "model" / "network-int8.tflite").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"network-int8\.tflite is missing or not the network that"):
        soundmill.load_model(run, network_precision="int8")
    assert soundmill.load_model(run).classes


def test_without_the_package_it_is_refused_before_anything_is_read(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"model\.quantize takes the package ai-edge-quantizer"):
        quantization.quantize_run(str(tmp_path / "none"), str(tmp_path), ("testing",))
