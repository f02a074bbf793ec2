"""Names that file systems allow come back to the byte from all that featurize writes."""

import csv
import os
from pathlib import Path

import pytest

from features.sources.paths import unescape_path
from features.store.manifest import load_manifest
from features.store.shards import read_shard
from tests.conftest import call, clips_table
from tests.pipelines.conftest import make_old
from tests.pipelines.test_score import UNUSUAL_NAMES
from tests.signals import noise, write_wav


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Under each unusual name a clip in one class and an empty file in another."""
    root = tmp_path_factory.mktemp("odd")
    for number, name in enumerate(UNUSUAL_NAMES):
        for label in (b"yes", b"no"):
            path = os.path.join(os.fsencode(root), label, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if label == b"no":
                open(path, "wb").close()
            else:
                os.rename(write_wav(root / "clip.wav", noise(16_000, seed=number)), path)
    return make_old(root)


@pytest.fixture(scope="module", params=["tfrecord", "parquet"])
def feature_set(source, tmp_path_factory, request) -> Path:
    output = tmp_path_factory.mktemp("features") / "set"
    assert call("pipelines.featurize", "--input", source, "--output", output, "--format", request.param) == 0
    return output


def test_clips_and_shards_hold_the_paths_that_there_are(feature_set):
    manifest = load_manifest(feature_set)
    expected = sorted(b"yes/" + name for name in UNUSUAL_NAMES)
    in_table = clips_table(feature_set, manifest)["path"].to_pylist()
    assert sorted(map(unescape_path, in_table)) == expected
    in_shards = []
    for shard in manifest.all_shards:
        in_shards += read_shard(manifest.layout(feature_set), shard, manifest.spec).paths
    assert sorted(map(unescape_path, in_shards)) == expected


def test_rejects_name_the_paths_that_there_are(feature_set):
    table = feature_set / load_manifest(feature_set).rejects_file
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [unescape_path(row["path"]) for row in rows] == sorted(b"no/" + name for name in UNUSUAL_NAMES)
    assert {(row["stage"], row["reason"], row["size"]) for row in rows} == {("decode", "empty", "0")}


def test_a_second_run_knows_them_all(source, feature_set):
    manifest = load_manifest(feature_set)
    options = ("--format", manifest.storage_format)
    assert call("pipelines.featurize", "--input", source, "--output", feature_set, *options) == 0
    assert load_manifest(feature_set) == manifest
