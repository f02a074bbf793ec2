"""A clip has the same numbers wherever it is met: in its shard, the data set, evaluate, score and the export."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import soundmill
from features.audio.decode import probe
from features.frontend.clip import clip_waveform
from features.frontend.spectrogram import compute_features
from features.sources.partition import PARTITIONS
from features.store.manifest import load_manifest
from features.store.shards import read_shard
from model.inference.artifact import load_artifact
from model.training.dataset import ordered_dataset
from model.training.rows import Rows
from tests.conftest import call
from tests.features.networks.small import small_toml, write_small_network
from tests.model.untrained import save_untrained
from tests.pipelines.conftest import make_old
from tests.signals import noise, sine, write_wav

SPECS = {
    "stft": 'preset = "speech-commands"\n',
    "log_mel": 'preset = "log-mel"\n',
    "mfcc": 'preset = "log-mel"\nfront_end = "mfcc"\ncoefficients = 20\nstorage_dtype = "float16"\n',
    "pooled": 'preset = "urbansound-mfcc"\n',
    "raw": 'preset = "log-mel"\n',
    "embedding": small_toml(clip_seconds=1.0),
}
NETWORKS = {"log_mel": "residual", "pooled": "mlp", "raw": "raw-cnn", "embedding": "mlp"}


@dataclass
class Flow:
    """Where the parts of a flow lie."""

    source: Path
    features: Path
    run: Path
    labels: Path


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Short, exact and long clips, at other rates and with two channels, in three classes."""
    root = tmp_path_factory.mktemp("parity") / "source"
    for speaker in range(12):
        hz = 200 * (speaker + 1)
        rough = noise(16_000, seed=speaker, amplitude=0.05)
        write_wav(root / "exact" / f"{speaker}_nohash_0.wav", sine(hz, 16_000) + rough)
        write_wav(root / "short" / f"{speaker}_nohash_0.wav", sine(hz, 9_000 + speaker) + rough[: 9_000 + speaker])
        stereo = np.stack([sine(hz, 44_000, 44_100), noise(44_000, seed=speaker)], axis=1)
        write_wav(root / "stereo" / f"{speaker}_nohash_0.wav", stereo, 44_100)
        write_wav(root / "long" / f"{speaker}_nohash_0.wav", sine(hz, 20_000, 8_000), 8_000)
    return make_old(root)


# A front end of frames, as float16 in Parquet, and one of whole clips; the others with `make trial`.
BY_DEFAULT = ("mfcc", "pooled")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in BY_DEFAULT else pytest.mark.trial) for name in SPECS],
)
def flow(request, source, tmp_path_factory) -> Flow:
    root = tmp_path_factory.mktemp(request.param)
    (root / "spec.toml").write_text(SPECS[request.param])
    write_small_network(root / "network.tflite")
    found = Flow(source, root / "features", root / "run", root / "labels.csv")
    arguments = ("--input", source, "--output", found.features, "--spec", root / "spec.toml")
    storage_format = "parquet" if request.param == "mfcc" else "tfrecord"
    assert call("pipelines.featurize", *arguments, "--format", storage_format) == 0
    save_untrained(found.run, found.features, name=NETWORKS.get(request.param, "tutorial-cnn"))
    partitions = ",".join(PARTITIONS)
    evaluation = ("--model", found.run, "--features", found.features, "--test-on", partitions)
    assert call("model.evaluate", *evaluation) == 0
    scoring = ("--model", found.run, "--input", source, "--output", found.labels)
    assert call("pipelines.score", *scoring) == 0
    return found


def test_the_shard_holds_what_the_front_end_gives_for_the_file(flow):
    manifest, networks = load_manifest(flow.features), flow.features / "networks"
    checked = 0
    for shard in manifest.shards(PARTITIONS):
        rows = read_shard(manifest.layout(flow.features), shard, manifest.spec)
        for name, features in zip(rows.paths, rows.features, strict=True):
            waveform = clip_waveform(str(flow.source / name), manifest.spec)[0]
            np.testing.assert_array_equal(features, compute_features([waveform], manifest.spec, networks)[0])
            checked += 1
    assert checked == 48


def test_the_network_says_the_same_of_data_set_evaluate_and_score(flow):
    artifact, manifest = load_artifact(flow.run), load_manifest(flow.features)
    rows = Rows(flow.features, manifest, PARTITIONS, artifact.classes)
    paths = [path for shard in rows.shards for path in rows.read(shard).paths]
    probabilities = np.concatenate(
        [artifact.network(features, training=False) for features, _ in ordered_dataset(rows, 7).as_numpy_iterator()]
    ).astype(np.float64)
    if artifact.returns_logits:
        probabilities = np.exp(probabilities) / np.exp(probabilities).sum(axis=1, keepdims=True)
    assert probabilities.argmax(axis=1).std() > 0, "the network says the same of all clips"

    [evaluation] = (flow.run / "evaluation").iterdir()
    with open(evaluation / "predictions.csv", newline="") as file:
        evaluated = {row["path"]: row for row in csv.DictReader(file)}
    with open(flow.labels, newline="") as file:
        scored = {row["path"]: row for row in csv.DictReader(file) if float(row["start_seconds"]) == 0}
    assert set(paths) == set(evaluated) == set(scored)
    for path, row in zip(paths, probabilities, strict=True):
        label = artifact.classes[row.argmax()]
        assert (evaluated[path]["predicted"], scored[path]["label"]) == (label, label)
        assert float(evaluated[path]["probability"]) == pytest.approx(row.max(), abs=1e-5)
        assert float(scored[path]["probability"]) == pytest.approx(row.max(), abs=1e-5)
        assert scored[path]["probability"] == evaluated[path]["probability"]


def test_python_says_the_same(flow):
    with open(flow.labels, newline="") as file:
        scored = [tuple(row.values()) for row in csv.DictReader(file)]
    paths = sorted({flow.source / row[0] for row in scored}, key=lambda path: str(path).encode())
    table = soundmill.load_model(flow.run).predict(paths)
    names = [str(Path(path).relative_to(flow.source)) for path in table["path"].to_pylist()]
    places = ([f"{number:.6f}" for number in table[name].to_pylist()] for name in ("start_seconds", "end_seconds"))
    probabilities = [f"{number:.6f}" for number in table["probability"].to_pylist()]
    assert list(zip(names, *places, table["label"].to_pylist(), probabilities, strict=True)) == scored


def test_the_export_says_the_same(flow, tmp_path):
    assert call("model.export", "--model", flow.run, "--output", tmp_path / "export") == 0
    exported = tf.saved_model.load(str(tmp_path / "export"))
    spec = load_manifest(flow.features).spec
    takes_features = spec.network_name is not None
    if takes_features:
        assert spec.network_name in (tmp_path / "export" / "before.md").read_text()
    with open(flow.labels, newline="") as file:
        scored = [row for row in csv.DictReader(file) if float(row["start_seconds"]) == 0]
    by_path = 0
    for row in scored:
        path = str(flow.source / row["path"])
        waveform = clip_waveform(path, spec)[0]
        taken = (
            compute_features([waveform], spec, flow.run / "model" / "networks") if takes_features else waveform[None]
        )
        answers = [exported(tf.constant(taken))]
        if probe(path).rate_hz == spec.sample_rate_hz and not takes_features:
            answers.append(exported(tf.constant(path)))
            by_path += 1
        for answer in answers:
            assert answer["class_names"].numpy().tolist() == [row["label"].encode()]
            assert float(answer["probabilities"].numpy().max()) == pytest.approx(float(row["probability"]), abs=1e-4)
    assert by_path == (24 if spec.sample_rate_hz == 16_000 else 0)
