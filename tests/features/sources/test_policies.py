"""Whether clips that have a warning are used, and what a changed policy costs."""

import json

import numpy as np
import pytest
import soundfile

from features.sources.policies import DEFAULTS
from features.sources.rejects import read_csv
from features.store import versions
from features.store.manifest import load_manifest
from features.store.rejects_table import rejects_table
from tests.conftest import call, clips_table
from tests.pipelines.conftest import files_of, make_old
from tests.signals import noise, write_wav

WARNINGS = {"yes/cut.wav": "truncated", "no/cut.flac": "truncated", "yes/silent.wav": "silent"}


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "source"
    for number in range(30):
        write_wav(root / ("yes", "no")[number % 2] / f"{number:02d}.wav", noise(16_000, number))
    cut = write_wav(root / "yes" / "cut.wav", noise(16_000, 98))
    cut.write_bytes(cut.read_bytes()[:-4_000])
    soundfile.write(root / "no" / "cut.flac", noise(16_000, 99), 16_000)
    content = (root / "no" / "cut.flac").read_bytes()
    (root / "no" / "cut.flac").write_bytes(content[: len(content) // 2])
    write_wav(root / "yes" / "silent.wav", np.zeros(16_000, np.float32))
    return make_old(root)


def featurize(source, output, *options) -> dict:
    summary = output.parent / "summary.json"
    assert call("pipelines.featurize", "--input", source, "--output", output, "--summary", summary, *options) == 0
    return json.loads(summary.read_text())


def rejected(output) -> dict[str, tuple[str, str]]:
    manifest = load_manifest(output)
    return {reject.path: (reject.stage, reject.reason) for reject in read_csv(output / manifest.rejects_file)}


def content_of(output) -> dict:
    """All of a set that follows from its clips: not the numbers of its states, nor how its shards are cut."""
    manifest = load_manifest(output)
    clips = clips_table(output, manifest)
    names = ["path", "size", "content_hash", "label", "partition", "seconds", "warning", "crc32c"]
    rows = sorted(map(repr, clips.select(names).to_pylist()))
    rejects = rejects_table(read_csv(output / manifest.rejects_file))
    return {"rows": rows, "rejects": rejects, "counts": manifest.counts, "policies": manifest.policies}


def test_both_are_used_by_default_and_named(source, tmp_path, capsys):
    figures = featurize(source, tmp_path / "set")
    assert (figures["clips"], figures["rejected"], figures["warnings"]) == (33, 0, {"silent": 1, "truncated": 2})
    manifest = load_manifest(tmp_path / "set")
    assert manifest.policies == DEFAULTS
    warnings = clips_table(tmp_path / "set", manifest).select(["path", "warning"]).to_pylist()
    assert {row["path"]: row["warning"] for row in warnings if row["warning"]} == WARNINGS
    said = capsys.readouterr().out
    assert f"Used all the same, see {tmp_path}/set/{manifest.clips_file}: 1 silent, 2 truncated." in said


@pytest.mark.parametrize("policy", ["truncated", "silent"])
def test_where_they_are_rejected_each_is_a_row_with_its_reason(source, tmp_path, policy):
    figures = featurize(source, tmp_path / "set", f"--{policy}", "reject")
    refused = {path: warning for path, warning in WARNINGS.items() if warning == policy}
    assert figures["clips"] == 33 - len(refused)
    stage = "decode" if policy == "truncated" else "fit"
    assert rejected(tmp_path / "set") == {path: (stage, policy) for path in refused}
    manifest = load_manifest(tmp_path / "set")
    assert all(f"--{policy} keep" in row.message for row in read_csv(tmp_path / "set" / manifest.rejects_file))


@pytest.mark.parametrize("storage_format", ["tfrecord", "parquet"])
@pytest.mark.parametrize("before", ["keep", "reject"])
@pytest.mark.parametrize("after", ["keep", "reject"])
def test_a_changed_policy_decides_anew_only_the_clips_that_it_concerns(source, tmp_path, storage_format, before, after):
    options = ("--format", storage_format)
    featurize(source, tmp_path / "set", "--truncated", before, *options)
    figures = featurize(source, tmp_path / "set", "--truncated", after, *options)
    assert figures["computed"] == (2 if (before, after) == ("reject", "keep") else 0)
    assert figures["removed"] == 0
    assert figures["committed"] == (before != after)
    featurize(source, tmp_path / "new", "--truncated", after, *options)
    assert content_of(tmp_path / "set") == content_of(tmp_path / "new")
    again = featurize(source, tmp_path / "set", "--truncated", after, *options)
    assert (again["computed"], again["committed"], again["kept"]) == (0, False, 31 if after == "reject" else 33)


def test_back_and_forth_ends_where_it_began(source, tmp_path):
    featurize(source, tmp_path / "set")
    first = content_of(tmp_path / "set")
    featurize(source, tmp_path / "set", "--truncated", "reject", "--silent", "reject")
    assert rejected(tmp_path / "set").keys() == WARNINGS.keys()
    featurize(source, tmp_path / "set")
    assert content_of(tmp_path / "set") == first


def test_a_finished_unit_of_another_policy_is_not_taken(source, tmp_path):
    """A run under one policy that ended before its commit leaves shards which one under another must not name."""
    featurize(source, tmp_path / "set")
    (tmp_path / "set" / "manifest.json").unlink()
    featurize(source, tmp_path / "set", "--truncated", "reject")
    featurize(source, tmp_path / "new", "--truncated", "reject")
    assert content_of(tmp_path / "set") == content_of(tmp_path / "new")


def test_what_soundmill_itself_reads_now_is_tried_again(source, tmp_path, monkeypatch):
    """As after an upgrade: rejects for their content are, and the others and the rows are not."""
    (source / "yes" / "damaged.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    (source / "yes" / "empty.wav").write_bytes(b"")
    make_old(source)
    featurize(source, tmp_path / "set")
    assert featurize(source, tmp_path / "set")["computed"] == 0
    versions.library_versions.cache_clear()
    monkeypatch.setattr(versions, "_DECODING", "newer")
    figures = featurize(source, tmp_path / "set")
    versions.library_versions.cache_clear()
    assert (figures["decoded"], figures["computed"], figures["kept"], figures["rejected"]) == (2, 0, 33, 2)


def test_a_clip_may_have_several_warnings_and_a_policy_sees_each(source, tmp_path, capsys):
    """Recorders that died before they wrote how much they had recorded, one of them nothing but zeros."""
    for name, samples in (("died", noise(16_000, 97)), ("died_silent", np.zeros(16_000, np.float32))):
        path = write_wav(source / "no" / f"{name}.wav", samples)
        content = path.read_bytes()
        path.write_bytes(content[:40] + bytes(4) + content[44:])
    path = write_wav(source / "no" / "joined.wav", noise(16_000, 98))
    path.write_bytes(path.read_bytes() * 2)
    make_old(source)
    figures = featurize(source, tmp_path / "set")
    assert (figures["clips"], figures["rejected"]) == (36, 0)
    assert figures["warnings"] == {"joined": 1, "silent": 2, "truncated": 2, "wrong_size": 2}
    manifest = load_manifest(tmp_path / "set")
    rows = {row["path"]: row for row in clips_table(tmp_path / "set", manifest).to_pylist()}
    assert rows["no/died.wav"]["warning"] == "wrong_size"
    assert rows["no/joined.wav"]["warning"] == "joined"
    assert rows["no/died_silent.wav"]["warning"] == "silent;wrong_size"
    assert rows["no/died.wav"]["seconds"] == 1.0
    assert "1 joined, 2 silent, 2 truncated, 2 wrong_size." in capsys.readouterr().out
    figures = featurize(source, tmp_path / "set", "--silent", "reject")
    left = {"joined": 1, "truncated": 2, "wrong_size": 1}
    assert (figures["clips"], figures["computed"], figures["warnings"]) == (34, 0, left)
    assert rejected(tmp_path / "set") == {name: ("fit", "silent") for name in ("no/died_silent.wav", "yes/silent.wav")}
    featurize(source, tmp_path / "new", "--silent", "reject")
    assert content_of(tmp_path / "set") == content_of(tmp_path / "new")


def test_verify_and_repair_keep_to_the_policy_of_the_set(source, tmp_path):
    featurize(source, tmp_path / "set", "--truncated", "reject")
    before = files_of(tmp_path / "set", "runs.jsonl")
    shard = next((tmp_path / "set" / "shards").iterdir())
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    assert call("features.verify", tmp_path / "set", "--repair") == 0
    assert files_of(tmp_path / "set", "runs.jsonl") == before
