import csv
import multiprocessing
import os
import shutil
import time

import google_crc32c
import pyarrow as pa
import pytest

from features.errors import Reject, RunError
from features.sources.content_hash import table_hash
from features.sources.rejects import read_csv
from features.store import commit as commit_module
from features.store.layout import FORMATS, Layout, rejects_name
from features.store.manifest import existing_manifest, load_manifest
from features.store.run_log import append_run, last_scan_ns, read_runs
from features.store.shards import read_shard
from features.store.statistics import Statistics
from features.store.versions import library_versions
from features.update.update import prepare
from tests.conftest import clips_table
from tests.features.examples import (
    TINY,
    build_units,
    committed,
    featurized,
    found,
    new_set,
    prepared,
    provenance_of,
    units_of,
)
from tests.signals import noise, write_wav


def update_of(base, rejects=(), storage_format="tfrecord"):
    """What is to be done for `words` and `set`, with rejects of the scan."""
    update = prepared(base / "words", base / "set", TINY, storage_format)
    update.source.rejects.extend(rejects)
    return update


def bring_up(base, rejects=(), storage_format="tfrecord", **described):
    """Brings `set` up to date with `words`."""
    update = update_of(base, rejects, storage_format)
    build_units(update)
    return committed(update, **described)


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
    for name, samples in (("ffffffff", noise(0)), ("fffffffe", noise(30) * 0)):
        os.utime(write_wav(base / "words" / "yes" / f"{name}_nohash_0.wav", samples), ns=(1_000, 1_000))
    new_set(base / "set")
    build_units(update_of(base))
    return base


@pytest.fixture
def base(built, tmp_path):
    """`built`, and put back after a test, times and all: so units stay finished, whose names follow from the folder."""
    shutil.copytree(built, tmp_path / "aside", symlinks=True)
    yield built
    shutil.rmtree(built)
    (tmp_path / "aside").rename(built)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_committed_is_what_was_built(base):
    rejects = [Reject("nö/b.wav", "scan", "permission", "Permission denied"), Reject("a.wav", "scan", "bad_label", "x")]
    manifest, new = bring_up(base, rejects)
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
    manifest, _ = bring_up(base, storage_format=storage_format)
    shards = {}
    for partition, listed in manifest.partitions.items():
        for shard in listed:
            shards[shard.name] = partition, read_shard(Layout(base / "set", storage_format), shard, TINY)
    rows = clips_table(base / "set", manifest).to_pylist()
    assert len(rows) == 91 == sum(len(shard.paths) for _, shard in shards.values())
    for row in rows:
        partition, shard = shards[row["shard"]]
        assert (row["partition"], row["path"], row["label"]) == (
            partition, shard.paths[row["row"]], shard.labels[row["row"]],
        )  # fmt: skip
        content = Layout(base / "set", storage_format).shard(row["shard"]).read_bytes()
        tensor = content[row["offset"] : row["offset"] + TINY.row_bytes]
        assert tensor == shard.features[row["row"]].tobytes()
        assert google_crc32c.value(tensor) == row["crc32c"]


def test_statistics_are_those_of_all_rows_of_a_partition(base):
    manifest, _ = bring_up(base)
    for partition, shards in manifest.partitions.items():
        rows = [read_shard(Layout(base / "set", "tfrecord"), s, TINY).features for s in shards]
        expected = Statistics.merge(map(Statistics.of, rows))
        assert manifest.statistics[partition] == expected
        assert expected.count == manifest.rows([partition]) * TINY.shape[0]


def test_the_state_that_is_kept_is_the_one_that_was_seen_whatever_another_run_commits(base, monkeypatch):
    """A lock may be lost, as where a process sleeps too long: then the replacement of the manifest alone decides."""
    bring_up(base)
    write_wav(base / "words" / "yes" / "00000001_nohash_1.wav", noise(40, seed=99))
    update = update_of(base)
    build_units(update)
    seen, versions = update.layout.manifest.read_bytes(), commit_module.library_versions

    def overtake(spec: object) -> dict[str, str]:
        update.layout.manifest.write_bytes(seen.replace(b'"state": 1', b'"state": 2'))
        return versions(spec)

    monkeypatch.setattr(commit_module, "library_versions", overtake)
    with pytest.raises(RunError, match="another featurize committed into"):
        committed(update)
    assert load_manifest(base / "set").state == 2
    assert update.layout.state(1).read_bytes() == seen


def test_table_of_rejects(base):
    rejects = [
        Reject("日本/=1.wav", "scan", "missing", "gone, it is", label="owl"),
        Reject("=1.wav", "scan", "bad_label", "no label"),
    ]
    manifest, _ = bring_up(base, rejects)
    with open(base / "set" / manifest.rejects_file, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    known = (base / "words" / "yes" / "ffffffff_nohash_0.wav").stat()
    assert rows[0] == [
        "path", "stage", "reason", "message", "start", "duration", "size", "mtime_ns", "content_hash", "label"
    ]  # fmt: skip
    assert [row[9] for row in rows[1:]] == ["", "yes", "owl"]
    assert [row[:8] for row in rows[1:]] == [
        ["./=1.wav", "scan", "bad_label", "no label", "0", "", "", ""],
        ["yes/ffffffff_nohash_0.wav", "decode", "empty", "the file holds no samples", "0", "",
         str(known.st_size), str(known.st_mtime_ns)],
        ["日本/=1.wav", "scan", "missing", "gone, it is", "0", "", "", ""],
    ]  # fmt: skip


def test_tables_carry_the_hash_of_their_content(base):
    manifest, _ = bring_up(base)
    for table, name in (("clips", manifest.clips_file), ("rejects", manifest.rejects_file)):
        digest = table_hash((base / "set" / name).read_bytes())
        assert name.rpartition(".")[0] == f"{table}-000001-{digest}"


class Disk:
    """Watches the calls by which files get onto a disk and get their names."""

    def __init__(self, folder, monkeypatch):
        self.calls = []
        fsync, replace_file = os.fsync, os.replace

        def synced(descriptor):
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            self.calls.append(("fsync", os.path.relpath(path, folder)))
            fsync(descriptor)

        def named(source, target):
            self.calls.append(("name", os.path.relpath(target, folder), os.path.relpath(source, folder)))
            replace_file(source, target)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "replace", named)

    @property
    def named(self):
        names = [call[1] for call in self.calls if call[0] == "name"]
        return [name for name in names if not name.startswith("..")]  # the work list lies beside the set

    def in_order(self):
        """Every file is on disk before it gets its name, and its name is on disk before the next file gets one."""
        for place, call in enumerate(self.calls):
            if call[0] == "name":
                assert self.calls[place - 1] == ("fsync", call[2])
                assert self.calls[place + 1] == ("fsync", os.path.dirname(call[1]) or ".")
        return True


def test_files_and_folders_are_on_disk_before_they_are_named(base, monkeypatch):
    make_words(base / "words", range(30, 32))
    update = update_of(base)
    disk = Disk(base / "set", monkeypatch)
    build_units(update)
    names = [unit.name for unit in units_of(update)]
    assert disk.named == [file for name in names for file in (f"shards/{name}.tfrecord", f"reports/{name}.parquet")]
    assert disk.in_order()
    disk.calls.clear()
    manifest, _ = committed(update)
    assert disk.named == [manifest.clips_file, manifest.rejects_file, "manifest.json"]
    assert disk.in_order()
    disk.calls.clear()
    second, _ = bring_up(base, policies={"silent": "reject"})
    assert disk.named == [second.clips_file, second.rejects_file, "states/manifest-000001.json", "manifest.json"]
    assert disk.in_order()
    # A new folder's own name is on disk before the state that refers to what lies in it.
    (first_of_states,) = [place for place, call in enumerate(disk.calls) if call[:2] == ("name", disk.named[2])]
    assert ("fsync", ".") in disk.calls[:first_of_states]


def test_equal_content_commits_nothing(base, monkeypatch):
    manifest, _ = bring_up(base)
    before = tree(base / "set")
    again = bring_up(base)
    assert again == (manifest, False)
    assert tree(base / "set") == before
    # Other versions of libraries are not other content either.
    monkeypatch.setattr("features.store.commit.library_versions", lambda _: {"numpy": "0.0"})
    assert bring_up(base) == (manifest, False)
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
    first, _ = bring_up(base)
    text = (base / "set" / "manifest.json").read_bytes()
    second, new = bring_up(base, **described)
    assert new
    assert second.state == 2
    assert load_manifest(base / "set") == second
    assert (base / "set" / "states" / "manifest-000001.json").read_bytes() == text
    assert (base / "set" / first.clips_file).exists()
    assert (base / "set" / second.clips_file).exists()
    third, new = bring_up(base)
    assert (third.state, new) == (3, True)
    assert sorted(os.listdir(base / "set" / "states")) == ["manifest-000001.json", "manifest-000002.json"]


def test_new_files_are_a_new_state(base):
    first, _ = bring_up(base)
    make_words(base / "words", range(30, 40))
    second, new = bring_up(base)
    assert new
    assert second.counts["clips"] == first.counts["clips"] + 30
    assert {shard.name for shard in first.all_shards} < {shard.name for shard in second.all_shards}


def test_a_concurrent_commit_is_refused(base):
    one, other = update_of(base), update_of(base)
    assert (one.todo, other.todo) == ([], [])
    first, _ = committed(one)
    before = tree(base / "set")
    with pytest.raises(RunError, match=r"another featurize committed into .*run it again"):
        committed(other)
    outdated = update_of(base)
    bring_up(base, policies={"silent": "reject"})
    with pytest.raises(RunError, match=r"another featurize committed into .*run it again"):
        committed(outdated, policies={"silent": "sometimes"})
    assert committed(outdated) == (first, False), "what has nothing to commit blocks no other run"
    after = tree(base / "set")
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: content for name, content in before.items() if name != "manifest.json"
    }
    assert first.state == 1


def test_a_shard_that_went_away_is_not_committed(base):
    update = update_of(base)
    name = next(iter(update.plan.units))
    update.layout.shard(name).unlink()
    with pytest.raises(RunError, match=rf"{name}.tfrecord went away before it was committed; run featurize again"):
        committed(update)
    assert not (base / "set" / "manifest.json").exists()
    assert update_of(base).todo == [name]
    assert bring_up(base)[0].counts["clips"] == 91


def commit_one(base, barrier, number, outcomes):
    update = update_of(base)
    barrier.wait()
    try:
        committed(update, policies={"silent": f"keep {number}"})
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


def test_a_set_without_a_usable_clip_is_no_set(tmp_path):
    write_wav(tmp_path / "words" / "yes" / "ffffffff_nohash_0.wav", noise(0))
    rejects = [Reject("b.wav", "scan", "missing", "gone"), Reject("a.wav", "scan", "permission", "denied")]
    with pytest.raises(RunError, match=r"every clip was rejected, 3 in all; the first: a\.wav: perm.*denied") as raised:
        bring_up(tmp_path, rejects)
    assert not (tmp_path / "set" / "manifest.json").exists()
    (table,) = (tmp_path / "set").glob("rejects-000001-*.csv")
    assert str(raised.value).endswith(f"all are in {table}")
    assert [(reject.path, reject.label) for reject in read_csv(table)] == [
        ("a.wav", None), ("b.wav", None), ("yes/ffffffff_nohash_0.wav", "yes")
    ]  # fmt: skip
    make_words(tmp_path / "words", range(3))
    assert bring_up(tmp_path)[1], "the table is in no one's way"


def test_a_table_of_rejects_from_before_there_were_labels_stays(base):
    manifest, _ = bring_up(base)
    rows = list(csv.reader((base / "set" / manifest.rejects_file).read_text().splitlines()))
    content = "".join(",".join(row[:-1]) + "\n" for row in rows).encode()
    earlier = rejects_name(1, content)
    (base / "set" / earlier).write_bytes(content)
    state = base / "set" / "manifest.json"
    state.write_text(state.read_text().replace(manifest.rejects_file, earlier))
    before = tree(base / "set")
    assert bring_up(base)[1] is False
    assert tree(base / "set") == before
    third, new = bring_up(base, [Reject("b.wav", "scan", "missing", "gone")])
    assert new
    assert {reject.path: reject.label for reject in read_csv(base / "set" / third.rejects_file)} == {
        "b.wav": None, "yes/ffffffff_nohash_0.wav": "yes"
    }  # fmt: skip


def test_a_unit_all_of_whose_clips_were_rejected_has_no_shard_and_is_not_tried_again(base):
    clips = [path.name for path in (base / "words" / "yes").iterdir()]
    (base / "words" / "validation_list.txt").write_text("yes/ffffffff_nohash_0.wav\n")
    (base / "words" / "testing_list.txt").write_text("".join(f"yes/{name}\n" for name in clips[:3]))
    manifest, _ = bring_up(base)
    assert manifest.rows(["validation"]) == 0
    assert manifest.counts["rejects"] == {"empty": 1}
    before = tree(base / "set")
    assert update_of(base).todo == []
    assert bring_up(base) == (manifest, False)
    assert tree(base / "set") == before


def test_sums_of_a_shard_whose_report_is_gone_follow_from_its_rows(base):
    first, _ = bring_up(base)
    for path in (base / "set" / "reports").iterdir():
        path.unlink()
    make_words(base / "words", [30])
    second, _ = bring_up(base)
    _, cold = featurized(base / "words", base / "cold")
    for name, sums in cold.statistics.items():
        assert second.statistics[name].count == sums.count
        assert second.statistics[name].total == pytest.approx(sums.total, rel=1e-12)
    assert first.state + 1 == second.state


def test_runs_are_lines_and_no_part_of_the_state(base):
    bring_up(base)
    before = load_manifest(base / "set")
    layout = before.layout(base / "set")
    append_run(layout, {"state": 1, "clips": 3, "scan_started_ns": 5})
    append_run(layout, {"state": 2, "note": "ä\n"})
    assert read_runs(layout) == [{"state": 1, "clips": 3, "scan_started_ns": 5}, {"state": 2, "note": "ä\n"}]
    assert load_manifest(base / "set") == before
    with open(base / "set" / "runs.jsonl", "a", encoding="utf-8") as file:
        file.write('[3]\n{"state": 1, "scan_started_ns": 8}\n{"state": 1, "scan_sta')
    assert len(read_runs(layout)) == 3
    append_run(layout, {"state": 7})
    assert read_runs(layout)[-1] == {"state": 7}
    assert [last_scan_ns(layout, state) for state in (1, 2, 3)] == [8, None, None]
    (base / "set" / "runs.jsonl").unlink()
    assert read_runs(layout) == []
    assert last_scan_ns(layout, 1) is None


def test_folds_stand_in_the_manifest_by_number(base):
    """As a table of folds gives them; a fold all of whose clips were rejected stays."""
    source, clips = found(base / "words")
    folds = {"training": "fold-2", "validation": "fold-10", "testing": "fold-1"}
    partitions = [folds[name] for name in clips["partition"].to_pylist()]
    partitions[clips["path"].to_pylist().index("yes/ffffffff_nohash_0.wav")] = "fold-3"
    clips = clips.set_column(clips.column_names.index("partition"), "partition", pa.array(partitions))
    update = prepare(Layout(base / "set", "tfrecord"), None, source, clips, TINY, provenance_of(source), time.time_ns())
    build_units(update)
    manifest, _ = committed(update)
    assert manifest == load_manifest(base / "set")
    assert list(manifest.partitions) == list(manifest.statistics) == ["fold-1", "fold-2", "fold-3", "fold-10"]
    assert manifest.rows(manifest.partitions) == 91
    assert manifest.rows(["fold-3"]) == 0
    assert all(list(counts) == ["fold-1", "fold-2", "fold-10"] for counts in manifest.counts["classes"].values())


def test_a_table_of_rejects_that_is_gone_is_written_anew(base, caplog):
    first, _ = bring_up(base)
    (base / "set" / first.rejects_file).unlink()
    second, new = bring_up(base)
    assert new
    assert caplog.messages == [
        f"warning: cannot read the table of rejects {base / 'set' / first.rejects_file} ([Errno 2] No such file or "
        f"directory: '{base / 'set' / first.rejects_file}'); its files are tried again"
    ]
    assert second.counts == first.counts
    assert (base / "set" / second.rejects_file).is_file()
