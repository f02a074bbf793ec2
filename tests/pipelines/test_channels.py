"""The channel of a spec, through the commands: featurize, show, score and predict."""

import csv
import json

import numpy as np
import pytest

from features.errors import UsageError
from features.frontend.spectrogram import compute_features
from features.sources.rejects import read_csv
from features.store.manifest import load_manifest
from features.store.shards import read_shard
from tests.conftest import call, clips_table
from tests.features.examples import TINY, changed
from tests.model.formats.dense import save_dense
from tests.signals import noise, write_wav

WINDOW = 80  # samples of one


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Recordings of one channel, of two, and of two that cancel: all in one, or in the last of 300 windows."""
    root = tmp_path_factory.mktemp("channels")
    for number in range(10):
        write_wav(root / "left" / f"{number}.wav", np.stack([noise(WINDOW, number), noise(WINDOW, 50 + number)], 1))
    sound = noise(WINDOW, 99)
    write_wav(root / "right" / "opposite.wav", np.stack([sound, -sound], axis=1))
    long = noise(300 * WINDOW, 98)
    other = np.where(np.arange(len(long)) < 299 * WINDOW, long, -long)
    write_wav(root / "right" / "partly.wav", np.stack([long, other], axis=1))
    write_wav(root / "right" / "mono.wav", sound)
    return root


def rows(path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_spec(folder, channels) -> str:
    """Writes a spec as a person does."""
    fields = {**TINY.to_dict(), "channels": channels}
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    (folder / "spec.toml").write_text("\n".join(lines))
    return str(folder / "spec.toml")


CANCELLED = [("opposite.wav", "channels_cancel"), ("opposite.wav", "silent"), ("partly.wav", "channels_cancel")]


def test_featurize_takes_the_second_channel_and_refuses_files_without_one(source, tmp_path, capsys):
    spec = write_spec(tmp_path, 2)
    arguments = ("--input", source, "--output", tmp_path / "set", "--spec", spec, "--workers", 1)
    assert call("pipelines.featurize", *arguments) == 0
    manifest = load_manifest(tmp_path / "set")
    assert manifest.spec == changed(TINY, channels=2)
    (reject,) = read_csv(tmp_path / "set" / manifest.rejects_file)
    assert (reject.path, reject.stage, reject.reason) == ("right/mono.wav", "fit", "too_few_channels")
    assert manifest.counts["warnings"] == {}
    found = 0
    for shard in manifest.all_shards:
        content = read_shard(manifest.layout(tmp_path / "set"), shard, manifest.spec)
        for path, features in zip(content.paths, content.features, strict=True):
            if path.startswith("left/"):
                number = int(path[5])
                written = np.round(noise(WINDOW, 50 + number) * 32768).astype(np.float32) / 32768
                assert np.array_equal(features, compute_features([written], TINY)[0])
                found += 1
    assert found == 10
    capsys.readouterr()
    assert call("features.show", tmp_path / "set", "--compare", source / "left" / "0.wav", "--output",
                tmp_path / "compare.png") == 0  # fmt: skip
    assert "channel 2 of 2 is used" in capsys.readouterr().out
    assert call("features.show", tmp_path / "set") == 0
    assert "channels = 2" in capsys.readouterr().out
    assert call("pipelines.featurize", *arguments) == 0
    assert "0 computed, 12 kept" in capsys.readouterr().out
    write_spec(tmp_path, "loudest")
    with pytest.raises(UsageError, match="channels: 2 against loudest"):
        call("pipelines.featurize", *arguments)


def test_featurize_names_clips_whose_channels_cancel(source, tmp_path, capsys):
    arguments = ("--input", source, "--output", tmp_path / "set", "--spec", write_spec(tmp_path, "mean"))
    assert call("pipelines.featurize", *arguments, "--workers", 1) == 0
    manifest = load_manifest(tmp_path / "set")
    warnings = clips_table(tmp_path / "set", manifest).select(["path", "warning"]).to_pylist()
    assert {row["path"]: row["warning"] for row in warnings if row["warning"]} == {
        "right/opposite.wav": "silent;channels_cancel"
    }
    assert "1 channels_cancel, 1 silent" in capsys.readouterr().out
    # The policy for silence sees it, and the set says what the run under it says.
    assert call("pipelines.featurize", *arguments, "--workers", 1, "--silent", "reject") == 0
    manifest = load_manifest(tmp_path / "set")
    assert (manifest.counts["warnings"], manifest.counts["rejects"]) == ({}, {"silent": 1})


@pytest.mark.parametrize(
    ("channels", "rejected", "warned"),
    [
        ("mean", [], CANCELLED),
        (2, [("mono.wav", "too_few_channels")], []),
    ],
)
def test_score_has_a_warning_for_a_file_and_a_reject(source, tmp_path, caplog, channels, rejected, warned):
    run = save_dense(tmp_path / "run", changed(TINY, channels=channels), ["a", "b"])
    output = tmp_path / "labels.csv"
    assert call("pipelines.score", "--model", run, "--input", source / "right", "--output", output, "--workers", 1) == 0
    assert [(row["path"], row["reason"]) for row in rows(tmp_path / "labels.rejects.csv")] == rejected
    found = sorted((row["path"], row["reason"]) for row in rows(tmp_path / "labels.warnings.csv"))
    assert found == warned
    assert len(rows(output)) == 302 - len(rejected)
    assert call("model.predict", "--model", run, source / "right" / "partly.wav") == 0
    assert ("partly.wav: channels_cancel, its channels" in caplog.text) == (channels == "mean")
