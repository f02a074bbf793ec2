import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from features.store.manifest import (
    FORMAT_VERSION,
    OBJECTS_FORMAT_VERSION,
    ClipsPart,
    Manifest,
    existing_manifest,
    load_manifest,
)
from features.store.shards import Shard
from features.store.statistics import Statistics
from tests.features.examples import MFCC, changed

GOLDEN = Path(__file__).parents[2] / "golden"
NETWORK_SPEC = FeatureSpec(
    front_end="embedding", sample_rate_hz=48_000, clip_seconds=5.0, window_samples=144_000, hop_samples=48_000,
    pool="max", network_sha256="0123456789abcdef" * 4, network_format="onnx", network_output="pool/Mean",
    embedding_size=40, input_scale=32_768.0,
)  # fmt: skip
NETWORK = {
    "file": f"{'0123456789abcdef' * 4}.onnx",
    "name": "Vögel 2.4.onnx",
    "bytes": 51_726_412,
    "licence": "CC BY-NC-SA 4.0",
    "source": None,
}

CORRECTIONS = {
    "files": [{"path": '/data/\\xff/review "2".csv', "sha256": "fedcba9876543210" * 4}],
    "relabelled": 3,
    "left_out": 1,
    "added": 1,
    "right": 40,
}
PARTS = [ClipsPart("clips-000003-0123456789abcdef.parquet", 2), ClipsPart("clips-000007-fedcba9876543210.parquet", 1)]


def golden_manifest() -> Manifest:
    statistics = Statistics(132, tuple(float(number) for number in range(40)), tuple(0.1 * n for n in range(40)))
    return Manifest(
        state=7,
        spec=MFCC,
        storage_format="parquet",
        policies={"silent": "keep", "truncated": "keep"},
        source={"kind": "folder", "root": "/data/wörter"},
        options={"group": r"^(\d+)", "split": [70, 20, 10], "limit": 3},
        classes=["nö", "yes"],
        partitions={"training": [Shard("training-0a", 2, 14_080, 2**32 - 1)], "validation": [],
                    "testing": [Shard("testing-0b", 1, 7_040, 0)]},
        statistics={"training": statistics, "validation": Statistics(0, (), ()), "testing": statistics},
        counts={"clips": 3, "rejected": 1, "seconds": 2.5, "classes": {"nö": {"training": 2}, "yes": {"testing": 1}},
                "rejects": {"empty": 1}, "warnings": {"silent": 1}},
        clips_file="clips-000007-0123456789abcdef.parquet",
        rejects_file="rejects-000007-0123456789abcdef.csv",
        versions={"soundmill": "0.1.0", "numpy": "2.4.0"},
        format_version=OBJECTS_FORMAT_VERSION,
    )  # fmt: skip


def golden_manifest_of(version: int) -> Manifest:
    changes = {"spec": NETWORK_SPEC, "network": NETWORK} if version == 5 else {}
    changes |= {"corrections": CORRECTIONS} if version in (6, 7) else {}
    changes |= {"clips_file": None, "clips_parts": PARTS} if version == 7 else {}
    return replace(golden_manifest(), format_version=version, **changes)


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6, 7])
def test_a_manifest_of_every_format_version_stays_readable(tmp_path, version):
    # SOUNDMILL_UPDATE_GOLDEN=1 writes that of the present version: only before a release of it.
    golden = GOLDEN / f"manifest-v{version}.json"
    if os.environ.get("SOUNDMILL_UPDATE_GOLDEN") and version == FORMAT_VERSION:
        golden.write_text(golden_manifest_of(version).to_json(), encoding="utf-8")
    shutil.copy(golden, tmp_path / "manifest.json")
    assert json.loads(golden.read_text(encoding="utf-8"))["format_version"] == version
    assert load_manifest(tmp_path) == golden_manifest_of(version)


@pytest.mark.parametrize("version", [3, 4, 5, 6, 7])
def test_round_trip(version):
    manifest = golden_manifest_of(version)
    assert Manifest.from_json(manifest.to_json(), "there") == manifest
    content = json.loads(manifest.to_json())
    assert content["format_version"] == version
    assert content["fingerprint"] == manifest.spec.fingerprint
    assert content["shape"] == list(manifest.spec.shape)
    assert ("network" in content) == (version == 5), "a set without a network is written as before there were any"
    assert ("corrections" in content) == (version in (6, 7)), "and so is one that nothing was corrected of"
    assert ("clips_parts" in content) == (version == 7), "and one whose clips table is one file"


def edited(**changes):
    content = json.loads(golden_manifest().to_json())
    for name, value in changes.items():
        content.pop(name) if value is None else content.update({name: value})
    return json.dumps(content)


def parted(rows):
    """A manifest whose clips table is files of so many rows each."""
    content = json.loads(edited(clips_parts=[{"file": f"{number}", "rows": held} for number, held in enumerate(rows)]))
    return json.dumps({**content, "clips_file": None})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not the manifest of a feature set"),
        ("[]", "is not the manifest of a feature set"),
        ("{}", "is not the manifest of a feature set"),
        (golden_manifest().to_json()[:-9], "is not the manifest of a feature set"),
        (edited(format="other"), "is not the manifest of a feature set"),
        (edited(format_version=8), "has format version 8; this soundmill reads versions 1 to 7"),
        (edited(format_version=8, spec={"new": 1}), "has format version 8; this soundmill reads versions 1 to 7"),
        (edited(clips_parts=[{"file": "a", "rows": 3}]), "its clips table is neither one file nor several"),
        (parted([]), "its clips table is neither one file nor several"),
        (parted([2]), "the files of its clips table do not have the rows of whole shards"),
        (parted([1, 2]), "the files of its clips table do not have the rows of whole shards"),
        (parted([2, 2]), "the files of its clips table do not have the rows of whole shards"),
        (parted([2, 1, 1]), "the files of its clips table do not have the rows of whole shards"),
        (edited(classes=None), "is not the manifest of a feature set"),
        (edited(extra=1), "is not the manifest of a feature set"),
        (edited(partitions={"training": [{"name": "a"}]}), "is not the manifest of a feature set"),
        (edited(statistics={"training": {}}), "is not the manifest of a feature set"),
        (edited(spec={**MFCC.to_dict(), "hop_samples": 0}), "hop_samples is above 0"),
        (edited(spec={**MFCC.to_dict(), "new": 0}), "unknown field 'new'"),
        (edited(fingerprint="0" * 64), "another version of the front end; featurize into a new folder"),
        (edited(spec=changed(MFCC, crop="centre").to_dict()), "another version of the front end"),
        (edited(network=NETWORK), "its network is not that of its spec"),
        (replace(golden_manifest_of(5), network=None).to_json(), "its network is not that of its spec"),
        (replace(golden_manifest_of(5), network={**NETWORK, "file": "other.onnx"}).to_json(), "its network is not"),
    ],
)
def test_manifests_that_cannot_be_used_say_where_and_why(tmp_path, text, message):
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    for load in (load_manifest, existing_manifest):
        with pytest.raises(UsageError) as error:
            load(tmp_path)
        assert message in str(error.value)
        assert str(tmp_path / "manifest.json") in str(error.value)


def test_folders_that_hold_no_set(tmp_path):
    (tmp_path / "file").write_text("text", encoding="utf-8")
    (tmp_path / "other").mkdir()
    (tmp_path / "odd" / "manifest.json").mkdir(parents=True)
    (tmp_path / "latin").mkdir()
    (tmp_path / "latin" / "manifest.json").write_bytes(b"\xff")
    for name, message in {
        "none": "no such feature set: .*none; make it with python -m pipelines.featurize",
        "file": "no such feature set: .*file;",
        "file/set": "no such feature set: ",
        "other": "is not a complete feature set: it has no manifest.json.*run it again",
        "odd": "cannot read .*odd/manifest.json",
        "latin": "cannot read .*latin/manifest.json",
    }.items():
        with pytest.raises(UsageError, match=message):
            load_manifest(tmp_path / name)


def test_unions_of_partitions():
    manifest = golden_manifest()
    training, testing = manifest.partitions["training"], manifest.partitions["testing"]
    assert manifest.shards(["testing", "training"]) == training + testing, "in the order of the manifest"
    assert manifest.shards(["validation"]) == manifest.shards([]) == []
    assert manifest.rows(["training", "testing"]) == 3
    with pytest.raises(UsageError, match="no partition 'fold-1' in the features; there are training, validation"):
        manifest.rows(["training", "fold-1"])


def test_new_and_interrupted_sets_have_no_state(tmp_path):
    assert existing_manifest(tmp_path / "none") is None
    assert existing_manifest(tmp_path) is None
    for name in ("shards", "reports", "states", "work"):
        (tmp_path / name).mkdir()
    for name in (".lock", "runs.jsonl", "clips-000001-0a.parquet", "rejects-000001-0a.csv", "manifest.json.1.partial"):
        (tmp_path / name).touch()
    assert existing_manifest(tmp_path) is None
    (tmp_path / "manifest.json").write_text(golden_manifest().to_json(), encoding="utf-8")
    assert existing_manifest(tmp_path) == golden_manifest()


def test_an_output_that_is_something_else_is_refused(tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "thesis.txt").write_text("text", encoding="utf-8")
    with pytest.raises(
        UsageError, match=r"is not a feature set \(it holds thesis\.txt\); give a new or an empty folder"
    ):
        existing_manifest(tmp_path)
    with pytest.raises(UsageError, match=r"is a file; the output of featurize is a folder"):
        existing_manifest(tmp_path / "thesis.txt")
