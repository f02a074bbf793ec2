"""Training and scoring where the front end runs a network, which the run keeps for itself."""

import csv
import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import soundmill
from features.errors import UsageError
from features.frontend import embedding
from features.frontend.clip import clip_waveform
from features.frontend.spectrogram import compute_features
from features.frontend.windows import Windowing
from features.io.filesystem import filesystem_of
from features.store.manifest import load_manifest
from features.store.shards import read_shard
from model.inference import front_end_network
from model.inference.artifact_description import ArtifactDescription
from model.inference.executor import Executor, load_executor
from model.inference.front_end_network import keep_network
from model.inference.linear_network import LinearNetwork
from model.scoring.label_windows import label_windows
from model.scoring.plan import WindowUnit
from model.scoring.request import Request
from model.scoring.scorer import score
from pipelines.score import label
from tests.conftest import call
from tests.features.networks.small import (
    HIDDEN,
    RATE_HZ,
    SAMPLES,
    SIZE,
    small_network,
    small_spec,
    small_toml,
    small_weights,
    write_small_network,
)
from tests.object_store.upload import upload
from tests.pipelines.conftest import files_of, make_old
from tests.real_networks import BIRDNET
from tests.signals import noise, sine, write_wav

SPEC = small_toml(clip_seconds=0.25)
OPTIONS = ("--hop-seconds", 0.1, "--probabilities")
SCORED = ("labels.csv", "events.csv", "embeddings.parquet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A source, its features, a run of the linear network, and recordings to label: `clips`, `set`, `run`, `field`."""
    root = tmp_path_factory.mktemp("network")
    for number in range(30):
        quiet = noise(2_000, seed=number, amplitude=0.02)
        write_wav(root / "clips" / "low" / f"{number}.wav", sine(150 + number, 2_000, RATE_HZ) + quiet, RATE_HZ)
        write_wav(root / "clips" / "high" / f"{number}.wav", sine(900 + number, 2_000, RATE_HZ) + quiet, RATE_HZ)
    (root / "spec.toml").write_text(SPEC)
    write_small_network(root / "network.tflite")
    featurize = ("--input", root / "clips", "--output", root / "set", "--spec", root / "spec.toml")
    assert call("pipelines.featurize", *featurize) == 0
    assert call("model.train", "--features", root / "set", "--output", root / "run") == 0
    for number in range(4):
        write_wav(root / "field" / f"{number}.wav", sine(300 * number + 100, 9_000, RATE_HZ), RATE_HZ)
    write_wav(root / "field" / "long.wav", noise(60_000, amplitude=0.1), RATE_HZ)
    (root / "field" / "none.wav").write_bytes(b"no sound " * 20)
    make_old(root / "field")
    return root


def scored(run: object, source: object, output: Path, *options: object) -> dict[str, bytes]:
    """What score writes, the names of its outputs."""
    output.mkdir(exist_ok=True)
    further = ("--events", output / "events.csv", "--embeddings", output / "embeddings.parquet")
    arguments = ("--model", run, "--input", source, "--output", output / "labels.csv", *OPTIONS, *further, *options)
    assert call("pipelines.score", *arguments) == 0
    return {name: content for name, content in files_of(output).items() if name in SCORED}


@pytest.fixture(scope="module")
def of_one_process(folder, tmp_path_factory) -> dict[str, bytes]:
    return scored(folder / "run", folder / "field", tmp_path_factory.mktemp("one"))


def test_a_run_has_the_network_of_its_set_as_the_same_file(folder):
    name = small_spec().network_name
    there, here = folder / "set" / "networks" / name, folder / "run" / "model" / "networks" / name
    assert os.path.samefile(there, here)
    assert here.read_bytes() == small_network()


def test_embeddings_of_a_linear_network_are_the_features(folder, of_one_process, tmp_path):
    (tmp_path / "embeddings.parquet").write_bytes(of_one_process["embeddings.parquet"])
    table = pq.read_table(tmp_path / "embeddings.parquet")
    first = table["embedding"].to_pylist()[0]
    assert (table["path"][0].as_py(), len(first)) == ("0.wav", HIDDEN)
    waveform = clip_waveform(str(folder / "field" / "0.wav"), small_spec())[0]
    windows = np.stack([waveform[begin : begin + SAMPLES] for begin in range(0, 1_600, SAMPLES // 2)])
    expected = np.maximum(windows.astype(np.float64) @ small_weights()[0].T, 0).mean(axis=0)
    np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-6)


def test_two_workers_and_a_run_that_was_interrupted_write_the_same_bytes(folder, of_one_process, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    further = ("--events", output / "events.csv", "--embeddings", output / "embeddings.parquet")
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.score.label", only_the_first_unit)
        call("pipelines.score", "--model", folder / "run", "--input", folder / "field", "--output",
             output / "labels.csv", *OPTIONS, *further)  # fmt: skip
    [job] = (path for path in (output / "labels.csv.parts").iterdir() if path.is_dir())
    assert os.listdir(job / "networks") == [small_spec().network_name]
    assert scored(folder / "run", folder / "field", output, "--workers", 2) == of_one_process
    assert not list((output / "labels.csv.parts").glob("*/networks"))


def only_the_first_unit(job, batches, **_: object) -> None:
    assert len(batches) > 3  # 64 windows of the network each
    job.write(0, job.label(job.load_network(), 0))
    raise KeyboardInterrupt


def test_an_output_is_gone_on_with_and_python_says_the_same(folder, of_one_process, tmp_path):
    (tmp_path / "field").mkdir()
    for path in sorted((folder / "field").iterdir())[:3]:
        shutil.copy2(path, tmp_path / "field" / path.name)
    output = tmp_path / "out"
    scored(folder / "run", tmp_path / "field", output)
    for path in (folder / "field").iterdir():
        shutil.copy2(path, tmp_path / "field" / path.name)
    assert scored(folder / "run", tmp_path / "field", output) == of_one_process
    files = [folder / "field" / name for name in ("0.wav", "1.wav", "2.wav", "3.wav", "long.wav")]
    table = soundmill.load_model(folder / "run").predict(files, hop_seconds=0.1)
    lines = list(csv.DictReader(of_one_process["labels.csv"].decode().splitlines()))
    assert [f"{number:.6f}" for number in table["probability"].to_pylist()] == [line["probability"] for line in lines]
    assert table["label"].to_pylist() == [line["label"] for line in lines]


def test_short_recordings_that_are_taken_whole_fill_the_batches_of_the_network(tmp_path, monkeypatch):
    spec = small_spec(clip_seconds=None)
    seconds = [0.1, 0.05, 0.3, 0.11, 0.2, 0.1, 0.7, 0.1, 0.12, 8.0, 0.1]
    for number, length in enumerate(seconds):
        write_wav(tmp_path / f"{number:02d}.wav", noise(round(length * RATE_HZ), seed=number), RATE_HZ)
    write_small_network(tmp_path / "networks" / spec.network_name)
    head = LinearNetwork(np.eye(2, SIZE, dtype=np.float32), np.zeros(2, np.float32)).to_litert(spec.shape)
    description = ArtifactDescription(spec, spec.fingerprint, ["a", "b"], "linear", True, ("training",), "", None)
    network = Executor(head, description, "litert", tmp_path / "networks").with_embeddings()
    together, compute = [], embedding.Embedder.compute

    def counted(self, waveforms, out):
        together.append(len(waveforms))
        compute(self, waveforms, out)

    paths = sorted(str(path) for path in tmp_path.glob("*.wav"))
    with monkeypatch.context() as patch:
        patch.setattr(embedding.Embedder, "compute", counted)
        patch.setattr("model.scoring.label_windows._WAITING_SAMPLES", 50_000)
        labels = label_windows(network, "", [WindowUnit(path, 0, 1) for path in paths], Windowing(), "float32")
    assert together == [8, 2, 1]  # the long one does not wait for more
    waveforms = [clip_waveform(path, spec)[0] for path in paths]
    alone = np.concatenate([compute_features([waveform], spec, tmp_path / "networks") for waveform in waveforms])
    np.testing.assert_array_equal(labels.embeddings, alone)


def test_features_that_a_set_has_give_the_same_lines(folder, tmp_path, capsys):
    for name, more in (("computed", ()), ("known", ("--features", folder / "set"))):
        arguments = ("--model", folder / "run", "--input", folder / "clips", "--output", tmp_path / f"{name}.csv")
        assert call("pipelines.score", *arguments, *more) == 0
    assert f"60 files had features in {folder / 'set'}" in capsys.readouterr().out
    assert (tmp_path / "known.csv").read_bytes() == (tmp_path / "computed.csv").read_bytes()


def test_a_network_that_is_not_whole_is_one_line_and_nothing_is_written(folder, tmp_path):
    run = shutil.copytree(folder / "run", tmp_path / "run")
    [network] = (run / "model" / "networks").iterdir()
    for spoil, said in ((lambda: network.write_bytes(small_network()[:-1]), "damaged"), (network.unlink, "missing")):
        spoil()
        request = Request(run=str(run), input=str(folder / "field"), output=str(tmp_path / "labels.csv"))
        with pytest.raises(UsageError, match=rf"{network}: the file of the network is {said}"):
            score(request, label)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    spec = small_spec()
    broken = shutil.copytree(folder / "set", tmp_path / "set")
    (broken / "networks" / spec.network_name).write_bytes(b"")
    with pytest.raises(UsageError, match="the file of the network is damaged"):
        call("model.train", "--features", broken, "--output", tmp_path / "new")
    assert not (tmp_path / "new" / "model").exists()


def test_where_there_can_be_no_link_it_is_a_copy(folder, tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(front_end_network.os, "link", refused)
    keep_network(small_spec(), folder / "set" / "networks", tmp_path)
    [copy] = (tmp_path / "networks").iterdir()
    assert (copy.name, copy.read_bytes(), copy.stat().st_nlink) == (small_spec().network_name, small_network(), 1)


def test_run_input_and_output_may_be_in_a_store(folder, of_one_process, s3, monkeypatch):
    run, source = upload(folder / "run", f"{s3.uri}/run"), upload(folder / "field", f"{s3.uri}/field")
    output = f"{s3.uri}/out/labels.csv"
    assert call("pipelines.score", "--model", run, "--input", source, "--output", output, *OPTIONS) == 0
    assert filesystem_of(output).read(output) == of_one_process["labels.csv"]
    monkeypatch.setattr(embedding, "_pools", {})  # as in a process that has not met the network yet
    loaded = soundmill.load_model(run)  # its copy of the run is gone by now
    assert loaded.predict(folder / "field" / "0.wav").num_rows == 5


@pytest.mark.data
def test_a_real_clip_has_the_same_numbers_wherever_it_is_met(birdnet, data, tmp_path):
    """BirdNET, on clips of ESC-10: shard, predict, score, Python."""
    with (data / "esc10" / "esc10.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] in ("rain", "rooster")]
    source = tmp_path / "source"
    for row in rows[:3] + rows[-3:]:
        (source / row["category"]).mkdir(parents=True, exist_ok=True)
        shutil.copy2(data / "esc10" / "audio" / row["filename"], source / row["category"])
    network = ("--preset", "birdnet-2.4", "--network-file", birdnet / BIRDNET)
    features, run = tmp_path / "set", tmp_path / "run"
    assert call("pipelines.featurize", "--input", source, "--output", features, *network, "--split", "100/0/0") == 0
    training = ("--features", features, "--output", run, "--l2", 1, "--validate-on", "none")
    assert call("model.train", *training) == 0
    output, options = tmp_path / "labels.csv", ("--tail", "drop")  # of 5 s, the first 3
    assert call("pipelines.score", "--model", run, "--input", source, "--output", output, *options) == 0
    with output.open(newline="") as file:
        lines = {line["path"]: (line["label"], line["probability"]) for line in csv.DictReader(file)}

    manifest, network = load_manifest(features), load_executor(run)
    [shard] = manifest.shards(["training"])
    content = read_shard(manifest.layout(features), shard, manifest.spec)
    probabilities = network.probabilities(np.stack(content.features))
    from_shard = {path: (network.classes[row.argmax()], f"{row.max():.6f}")
                  for path, row in zip(content.paths, probabilities, strict=True)}  # fmt: skip
    paths = [source / path for path in sorted(lines)]
    table = soundmill.load_model(run).predict(paths, tail="drop")
    from_python = dict(zip(sorted(lines), zip(
        table["label"].to_pylist(), [f"{number:.6f}" for number in table["probability"].to_pylist()], strict=True,
    ), strict=True))  # fmt: skip
    assert len(lines) == 6
    assert from_shard == from_python == lines
