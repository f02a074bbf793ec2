import hashlib
import os
import random

import pyarrow as pa
import pytest

from features import plan as plan_module
from features.plan import content_hash, file_hash, key_hashes, limit, make_plan, read_unit, seconds_of, write_work_list
from features.shards import FORMATS
from features.sources import scan
from tests.features.examples import LOG_MEL, TINY, changed, clip_rows, found, planned, units_of
from tests.signals import sine, write_wav

NOW = 1_700_000_000_000_000_000
LONG = changed(LOG_MEL, clip_seconds=60.0)  # 43 rows a shard


def names(clips, spec=TINY, storage_format="tfrecord"):
    return make_plan(clips, spec, storage_format).names


def shuffled(clips, seed=0):
    order = list(range(len(clips)))
    random.Random(seed).shuffle(order)
    return clips.take(pa.array(order, pa.int64()))


@pytest.mark.parametrize(
    ("clips", "rows"),
    [
        (0, []),
        (1, [1]),
        (1023, [1023]),
        (1024, [1024]),
        (1025, [1024, 1]),
        (2048, [1024, 1024]),
        (2050, [1024, 1024, 2]),
    ],
)
def test_rows_of_shards(clips, rows):
    plan = make_plan(clip_rows(clips), TINY, "tfrecord")
    assert [end - first for first, end in zip(plan.first_rows, plan.first_rows[1:], strict=False)] == rows
    assert len(plan.names) == len(set(plan.names)) == len(rows)
    assert len(plan.clips) == clips


def test_partitions_do_not_mix_and_come_in_their_order():
    partitions = ["testing", "training", "validation", "training", "testing"] * 20
    plan = make_plan(clip_rows(100, partition=partitions), LONG, "tfrecord")
    assert [name.split("-")[0] for name in plan.names] == ["training", "validation", "testing"]
    for name, first, end in zip(plan.names, plan.first_rows, plan.first_rows[1:], strict=False):
        assert set(plan.clips["partition"].to_pylist()[first:end]) == {name.split("-")[0]}


def test_folds_come_by_number_after_the_partitions():
    partitions = ["fold-10", "fold-2", "testing", "fold-1"] * 20
    plan = make_plan(clip_rows(80, partition=partitions), LONG, "tfrecord")
    assert [name.rpartition("-")[0] for name in plan.names] == ["testing", "fold-1", "fold-2", "fold-10"]
    for name, first, end in zip(plan.names, plan.first_rows, plan.first_rows[1:], strict=False):
        assert set(plan.clips["partition"].to_pylist()[first:end]) == {name.rpartition("-")[0]}


def test_members_are_dealt_in_the_order_of_the_hash_of_their_key():
    clips = clip_rows(
        300, start=list(range(300)), path=[f"{'yes' if row < 150 else 'no'}/ä{row}" for row in range(300)]
    )
    dealt = make_plan(clips, LONG, "tfrecord").clips.to_pylist()
    keys = [hashlib.sha256(f"{row['path']}\0{row['start']}".encode()).digest() for row in dealt]
    assert keys == sorted(keys) == sorted(key_hashes(clips))
    # So every shard of 43 rows mixes both classes.
    for first in range(0, 258, 43):
        assert 8 < sum(row["path"].startswith("yes") for row in dealt[first : first + 43]) < 35


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_the_table_does_not_matter(seed):
    clips = clip_rows(200, partition=["training", "testing"] * 100, size=list(range(200)))
    plan, other = make_plan(clips, LONG, "parquet"), make_plan(shuffled(clips, seed), LONG, "parquet")
    assert other.names == plan.names
    assert other.first_rows == plan.first_rows
    assert other.clips.equals(plan.clips)


CHANGES = {
    "path": "yes/other.wav",
    "start": 1,
    "duration": 80,
    "size": 101,
    "mtime_ns": 1_001,
    "label": "no",
    "group": "other",
    "partition": "testing",
}


@pytest.mark.parametrize("column", CHANGES)
def test_what_one_clip_is_changes_its_shards_name(column):
    original = clip_rows(3)[column].to_pylist()
    changed_rows = clip_rows(3, **{column: [original[0], CHANGES[column], original[2]]})
    assert len(set(names(clip_rows(3)) + names(changed_rows))) == 1 + len(names(changed_rows))


def test_spec_and_format_change_every_name():
    clips = clip_rows(3)
    other = {*names(clips, changed(TINY, crop="centre")), *names(clips, TINY, "parquet"), *names(clips)}
    assert len(other) == 3
    assert all(name.startswith("training-") for name in other)


def test_other_partitions_do_not_change_a_name():
    one = clip_rows(10)
    more = pa.concat_tables([one, clip_rows(5, path=[f"no/{row}.wav" for row in range(5)], partition="testing")])
    assert names(more)[0] == names(one)[0]


def test_names_are_file_names():
    (name,) = names(clip_rows(1, path=["../ä/\n.wav"], label="../x"))
    partition, digest = name.split("-")
    assert partition == "training"
    assert len(digest) == 24
    assert int(digest, 16)


@pytest.mark.parametrize("storage_format", FORMATS)
def test_work_list_round_trip(tmp_path, storage_format):
    clips = clip_rows(
        130,
        path=[f"jä/\\xff {row}.wav" for row in range(130)],
        label=["jä", "nö"] * 65,
        start=list(range(130)),
        duration=[None, 80] * 65,
        partition=["training"] * 100 + ["testing"] * 30,
    )
    plan = make_plan(clips, LONG, storage_format)
    units = units_of(plan, tmp_path)
    assert [unit.name for unit in units] == plan.names
    assert [len(unit.clips) for unit in units] == [43, 43, 14, 30]
    assert [vars(clip) for unit in units for clip in unit.clips] == plan.clips.to_pylist()
    write_work_list(plan, [3, 1], tmp_path / "some.parquet")
    assert [read_unit(tmp_path / "some.parquet", number) for number in (0, 1)] == [units[3], units[1]]


@pytest.mark.parametrize("number", [None, 0, 1, 99, 100, 101])
def test_limit(number):
    clips = clip_rows(100)
    limited = limit(clips, number)
    assert len(limited) == min(100, 100 if number is None else number)
    paths = limited["path"].to_pylist()
    assert paths == sorted(paths), "the order of the table is kept"
    assert set(limit(shuffled(clips), number)["path"].to_pylist()) == set(paths)


def test_a_larger_limit_and_more_files_keep_what_was_chosen():
    clips = clip_rows(400)
    chosen = [set(limit(clips, number)["path"].to_pylist()) for number in (10, 20, 40)]
    assert chosen[0] < chosen[1] < chosen[2]
    before = limit(clips.slice(0, 200), 40)["path"].to_pylist()
    after = limit(clips, 40)["path"].to_pylist()
    old = set(clips["path"].to_pylist()[:200])
    assert set(after) & old < set(before), "a new file may push out an old one, never let in another"


def test_content_hash_is_blake2b_of_128_bits(tmp_path):
    # The digest of nothing, as b2sum -l 128 gives it.
    assert content_hash(b"") == "cae66941d9efbd404e4d88758ea67670"
    content = os.urandom(300_000)
    (tmp_path / "a").write_bytes(content)
    assert file_hash(str(tmp_path / "a")) == content_hash(content)


def test_files_changed_close_to_the_scan_are_hashed(tmp_path):
    ages = {"old": 10_000_000_000, "edge": 2_000_000_000, "racy": 1_999_999_999, "future": -(10**12)}
    for name, age in ages.items():
        path = write_wav(tmp_path / "yes" / f"{name}.wav", sine(440, 16))
        os.utime(path, ns=(NOW - age, NOW - age))
    source, clips = found(tmp_path)
    plan = make_plan(clips, TINY, "tfrecord", source.root, NOW)
    digest = content_hash((tmp_path / "yes" / "old.wav").read_bytes())
    hashes = {row["path"]: row["content_hash"] for row in plan.clips.to_pylist()}
    assert hashes == {"yes/old.wav": None, "yes/edge.wav": None, "yes/racy.wav": digest, "yes/future.wav": digest}
    unhashed = make_plan(clips, TINY, "tfrecord")
    assert unhashed.clips["content_hash"].null_count == 4


@pytest.mark.parametrize(("age", "told_apart"), [(1_000_000_000, True), (10_000_000_000, False)])
def test_a_racy_content_is_part_of_the_name(tmp_path, age, told_apart):
    plans = []
    for hz in (440, 550):
        path = write_wav(tmp_path / "yes" / "a.wav", sine(hz, 16))
        os.utime(path, ns=(NOW - age, NOW - age))
        source, clips = found(tmp_path)
        plans.append(make_plan(clips, TINY, "tfrecord", source.root, NOW).names)
    assert (plans[0] != plans[1]) == told_apart


def test_a_file_that_vanished_after_the_scan_is_planned_without_hash(tmp_path):
    write_wav(tmp_path / "yes" / "a.wav", sine(440, 16))
    source, clips = found(tmp_path)
    (tmp_path / "yes" / "a.wav").unlink()
    assert make_plan(clips, TINY, "tfrecord", source.root, 0).clips["content_hash"].to_pylist() == [None]


def test_a_scanned_folder_becomes_units(tmp_path):
    for row in range(30):
        write_wav(tmp_path / "words" / ("yes", "no")[row % 2] / f"{row:08x}_nohash_0.wav", sine(440, 16 + row))
    units = planned(tmp_path / "words", tmp_path)
    paths = [clip.path for unit in units for clip in unit.clips]
    assert sorted(paths) == scan(str(tmp_path / "words"), labelled=True).clips["path"].to_pylist()
    for unit in units:
        assert {clip.partition for clip in unit.clips} == {unit.name.split("-")[0]}
        for clip in unit.clips:
            assert clip.label == clip.path.split("/")[0]
            assert clip.group == clip.path.split("/")[1][:8]
            assert clip.size == (tmp_path / "words" / clip.path).stat().st_size


def test_a_file_of_many_clips_is_hashed_once(tmp_path, monkeypatch):
    path = write_wav(tmp_path / "a.wav", sine(440, 16))
    hashed = []
    monkeypatch.setattr(plan_module, "file_hash", lambda file: hashed.append(file) or file_hash(file))
    clips = clip_rows(3, path="a.wav", start=[0, 1, 2], mtime_ns=path.stat().st_mtime_ns)
    hashes = make_plan(clips, TINY, "tfrecord", str(tmp_path), 0).clips["content_hash"].to_pylist()
    assert hashes == [content_hash(path.read_bytes())] * 3
    assert hashed == [str(path)]


def test_seconds_are_those_of_the_clips(tmp_path):
    write_wav(tmp_path / "a.wav", sine(440, 16_000, 8_000), 8_000)
    (tmp_path / "b.wav").write_bytes(b"")
    paths = ["a.wav", "a.wav", "a.wav", "a.wav", "b.wav", "b.wav", "none.wav"]
    clips = clip_rows(
        7, path=paths, start=[0, 4_000, 12_000, 20_000, 0, 1, 0], duration=[None, 4_000, 8_000, None] + [1] * 3
    )
    assert seconds_of(clips, str(tmp_path)) == (2.0 + 0.5 + 0.5, 3)
