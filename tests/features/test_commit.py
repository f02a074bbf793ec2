import csv
import hashlib
import json
import multiprocessing
import os
import shutil
from dataclasses import replace

import pyarrow as pa
import pytest

from features.build import build_shard, library_versions, read_report
from features.commit import append_run, commit
from features.errors import Reject, RunError
from features.manifest import existing_manifest, load_manifest
from features.plan import make_plan
from features.shards import FORMATS, read_shard, shard_path
from features.statistics import Statistics
from tests.conftest import clips_table
from tests.features.examples import TINY, found, new_set, planned, units_of
from tests.signals import noise, write_wav

POLICIES = {"silent": "keep", "truncated": "keep"}


def reports_of(base, storage_format="tfrecord"):
    """Plans and builds what lies in `words` into `set`."""
    units = planned(base / "words", base, storage_format=storage_format)
    for unit in units:
        build_shard(unit, str(base / "set"), str(base / "words"), TINY, storage_format)
    return [read_report(base / "set", unit.name) for unit in units]


def committed(base, reports=None, state=None, rejects=(), storage_format="tfrecord", **described):
    described = {
        "spec": TINY,
        "storage_format": storage_format,
        "policies": POLICIES,
        "source": {"kind": "folder", "root": str(base / "words")},
        "options": {"group": None, "split": None, "limit": None},
        **described,
    }
    reports = reports_of(base, storage_format) if reports is None else reports
    return commit(base / "set", reports, state, list(rejects), **described)


def make_words(root, speakers=range(30)):
    for speaker in speakers:
        for word in ("yes", "nö", "日本"):
            path = root / word / f"{speaker:08x}_nohash_0.wav"
            write_wav(path, noise(50 + speaker, seed=speaker))
            os.utime(path, ns=(1_000, 1_000))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder of words whose units are built and not committed."""
    base = tmp_path_factory.mktemp("built")
    make_words(base / "words")
    write_wav(base / "words" / "yes" / "ffffffff_nohash_0.wav", noise(0))
    write_wav(base / "words" / "yes" / "fffffffe_nohash_0.wav", noise(30) * 0)
    new_set(base / "set")
    reports_of(base)
    return base


@pytest.fixture
def base(built, tmp_path):
    """A copy of `built`: times and all, so that units stay finished."""
    shutil.copytree(built, tmp_path / "base", symlinks=True)
    return tmp_path / "base"


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_committed_is_what_was_built(base):
    rejects = [Reject("nö/b.wav", "scan", "permission", "Permission denied"), Reject("a.wav", "scan", "bad_label", "x")]
    manifest, new = committed(base, rejects=rejects)
    assert new
    assert manifest == load_manifest(base / "set") == existing_manifest(base / "set")
    assert manifest.state == 1
    assert manifest.classes == ["nö", "yes", "日本"]
    assert list(manifest.partitions) == ["training", "validation", "testing"]
    assert manifest.rows(["training", "validation", "testing"]) == 91
    assert manifest.versions == library_versions()
    assert manifest.counts["clips"] == 91
    assert manifest.counts["rejected"] == 3
    assert manifest.counts["rejects"] == {"bad_label": 1, "empty": 1, "permission": 1}
    assert manifest.counts["warnings"] == {"silent": 1}
    assert manifest.counts["seconds"] == pytest.approx((3 * sum(range(50, 80)) + 30) / 16_000)
    assert {label: sum(counts.values()) for label, counts in manifest.counts["classes"].items()} == {
        "nö": 30, "yes": 31, "日本": 30,
    }  # fmt: skip


@pytest.mark.parametrize("storage_format", FORMATS)
def test_every_row_of_the_clips_table_is_where_it_says(built, tmp_path, storage_format):
    base = tmp_path
    (base / "words").symlink_to(built / "words")
    new_set(base / "set")
    manifest, _ = committed(base, storage_format=storage_format)
    shards = {}
    for partition, listed in manifest.partitions.items():
        for shard in listed:
            path = shard_path(base / "set", shard.name, storage_format)
            shards[shard.name] = partition, read_shard(path, storage_format, shard, TINY)
    rows = clips_table(base / "set", manifest).to_pylist()
    assert len(rows) == 91 == sum(len(shard.paths) for _, shard in shards.values())
    for row in rows:
        partition, shard = shards[row["shard"]]
        assert (row["partition"], row["path"], row["label"]) == (
            partition, shard.paths[row["row"]], shard.labels[row["row"]],
        )  # fmt: skip
        assert (row["offset"] is None) == (storage_format == "parquet")


def test_statistics_are_those_of_all_rows_of_a_partition(base):
    manifest, _ = committed(base)
    for partition, shards in manifest.partitions.items():
        rows = [read_shard(shard_path(base / "set", s.name, "tfrecord"), "tfrecord", s, TINY).features for s in shards]
        expected = Statistics.merge(map(Statistics.of, rows))
        assert manifest.statistics[partition] == expected
        assert expected.count == manifest.rows([partition]) * TINY.shape[0]


def test_table_of_rejects(base):
    rejects = [
        Reject("日本/=1.wav", "scan", "missing", "gone, it is"),
        Reject("=1.wav", "scan", "bad_label", "no label"),
    ]
    manifest, _ = committed(base, rejects=rejects)
    with open(base / "set" / manifest.rejects_file, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["path", "stage", "reason", "message"],
        ["./=1.wav", "scan", "bad_label", "no label"],
        ["yes/ffffffff_nohash_0.wav", "decode", "empty", "the file holds no samples"],
        ["日本/=1.wav", "scan", "missing", "gone, it is"],
    ]


def test_tables_carry_the_hash_of_their_rows(base):
    manifest, _ = committed(base)
    clips = clips_table(base / "set", manifest).to_pydict()
    rows = {"clips": json.dumps(clips).encode(), "rejects": (base / "set" / manifest.rejects_file).read_bytes()}
    for table, name in (("clips", manifest.clips_file), ("rejects", manifest.rejects_file)):
        digest = hashlib.sha256(rows[table]).hexdigest()
        assert name.rpartition(".")[0] == f"{table}-000001-{digest[:16]}"


def test_the_manifest_is_written_last(base, monkeypatch):
    written = []
    replace_file = os.replace

    def watched(source, target):
        written.append(os.path.relpath(target, base / "set"))
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", watched)
    manifest, _ = committed(base)
    assert written == [manifest.clips_file, manifest.rejects_file, "manifest.json"]
    written.clear()
    second, _ = committed(base, state=manifest, policies={"silent": "reject"})
    assert written == [second.clips_file, second.rejects_file, "states/manifest-000001.json", "manifest.json"]


def test_equal_content_commits_nothing(base):
    manifest, _ = committed(base)
    before = tree(base / "set")
    again = committed(base, state=load_manifest(base / "set"))
    assert again == (manifest, False)
    assert tree(base / "set") == before
    # Other versions of libraries are no other content either.
    other = replace(manifest, versions={"numpy": "0.0"})
    assert committed(base, state=other) == (other, False)
    assert tree(base / "set") == before


@pytest.mark.parametrize(
    "described",
    [
        {"policies": {"silent": "reject", "truncated": "keep"}},
        {"options": {"group": "path", "split": None, "limit": None}},
        {"source": {"kind": "folder", "root": "/elsewhere"}},
        {"rejects": [Reject("b.wav", "scan", "missing", "gone")]},
    ],
    ids=str,
)
def test_other_content_is_the_next_state_and_the_earlier_one_stays(base, described):
    first, _ = committed(base)
    text = (base / "set" / "manifest.json").read_bytes()
    second, new = committed(base, state=first, **described)
    assert new
    assert second.state == 2
    assert load_manifest(base / "set") == second
    assert (base / "set" / "states" / "manifest-000001.json").read_bytes() == text
    assert (base / "set" / first.clips_file).exists()
    assert (base / "set" / second.clips_file).exists()
    third, new = committed(base, state=second)
    assert (third.state, new) == (3, True)
    assert sorted(os.listdir(base / "set" / "states")) == ["manifest-000001.json", "manifest-000002.json"]


def test_new_files_are_a_new_state(base):
    first, _ = committed(base)
    make_words(base / "words", range(30, 40))
    second, new = committed(base, state=first)
    assert new
    assert second.counts["clips"] == first.counts["clips"] + 30


def test_a_concurrent_commit_is_refused(base):
    first, _ = committed(base)
    committed(base, state=first, policies={"silent": "reject"})
    before = tree(base / "set")
    for outdated in (None, first):
        with pytest.raises(RunError, match=r"another featurize committed into .*run it again"):
            committed(base, state=outdated)
    assert tree(base / "set") == before


def test_one_of_two_first_commits_is_refused(base):
    reports = reports_of(base)
    committed(base, reports)
    with pytest.raises(RunError, match="another featurize committed"):
        committed(base, reports)


def commit_one(base, barrier, number, outcomes):
    reports = reports_of(base)
    barrier.wait()
    try:
        committed(base, reports, policies={"silent": f"keep {number}"})
    except RunError:
        outcomes.put(None)
    else:
        outcomes.put(number)


def test_of_two_commits_at_once_one_wins(base):
    context = multiprocessing.get_context("spawn")
    barrier, outcomes = context.Barrier(2, timeout=60), context.Queue()
    processes = [context.Process(target=commit_one, args=(base, barrier, number, outcomes)) for number in range(2)]
    for process in processes:
        process.start()
    winners = [winner for _ in processes if (winner := outcomes.get(timeout=60)) is not None]
    for process in processes:
        process.join()
    assert len(winners) == 1
    assert load_manifest(base / "set").policies == {"silent": f"keep {winners[0]}"}
    assert not [name for name in tree(base / "set") if name.endswith(".partial")]


def test_a_set_without_a_usable_clip_is_no_set(base):
    empty = [report for report in reports_of(base) if report.name.startswith("none")]
    rejects = [Reject("b.wav", "scan", "missing", "gone"), Reject("a.wav", "scan", "permission", "denied")]
    with pytest.raises(RunError, match=r"every clip was rejected, 2 in all; the first: a\.wav: permission, denied"):
        committed(base, empty, rejects=rejects)
    assert not (base / "set" / "manifest.json").exists()


def test_runs_are_lines_and_no_part_of_the_state(base):
    committed(base)
    before = load_manifest(base / "set")
    append_run(base / "set", {"state": 1, "clips": 3})
    append_run(base / "set", {"state": 2, "note": "ä\n"})
    lines = (base / "set" / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"state": 1, "clips": 3}, {"state": 2, "note": "ä\n"}]
    assert load_manifest(base / "set") == before


def test_folds_stand_in_the_manifest_by_number(base):
    """As a table of folds gives them; a fold all of whose clips were rejected stays."""
    _, clips = found(base / "words")
    folds = {"training": "fold-2", "validation": "fold-10", "testing": "fold-1"}
    partitions = [folds[name] for name in clips["partition"].to_pylist()]
    partitions[clips["path"].to_pylist().index("yes/ffffffff_nohash_0.wav")] = "fold-3"
    clips = clips.set_column(clips.column_names.index("partition"), "partition", pa.array(partitions))
    units = units_of(make_plan(clips, TINY, "tfrecord"), base)
    for unit in units:
        build_shard(unit, str(base / "set"), str(base / "words"), TINY, "tfrecord")
    manifest, _ = committed(base, [read_report(base / "set", unit.name) for unit in units])
    assert manifest == load_manifest(base / "set")
    assert list(manifest.partitions) == list(manifest.statistics) == ["fold-1", "fold-2", "fold-3", "fold-10"]
    assert manifest.rows(manifest.partitions) == 91
    assert manifest.rows(["fold-3"]) == 0
    assert all(list(counts) == ["fold-1", "fold-2", "fold-10"] for counts in manifest.counts["classes"].values())
