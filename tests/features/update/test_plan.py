import hashlib
import json
import os
import random

import numpy as np
import pyarrow as pa
import pytest

from features.io.unit_file import UnitFile
from features.sources.clip_order import key_hashes, key_order, limit
from features.sources.folder import scan
from features.store.known_rows import empty_cache
from features.store.shards import Shard
from features.update.changes import Evidence, compare
from features.update.dry_run import seconds_of
from features.update.known_lines import KnownLines
from features.update.plan import MERGED_SHARDS, Plan, make_plan
from features.update.work_list import members, read_unit, write_work_list
from tests.features.examples import LOG_MEL, TINY, changed, clip_rows, planned, prepared
from tests.signals import sine, write_wav

NOW = 1_700_000_000_000_000_000
LONG = changed(LOG_MEL, clip_seconds=60.0)  # 43 rows a shard


def cold(clips, spec=TINY, storage_format="tfrecord") -> Plan:
    """The plan of a new set."""
    changes = compare(clips, KnownLines(lambda _: []), Evidence("/nowhere", NOW))
    return make_plan(changes, {}, spec, storage_format)


def names(clips, spec=TINY, storage_format="tfrecord"):
    return list(cold(clips, spec, storage_format).units)


def shuffled(clips, seed=0):
    order = list(range(len(clips)))
    random.Random(seed).shuffle(order)
    return clips.take(pa.array(order, pa.int64()))


def dealt(plan, clips, column="path"):
    """What the clips of each unit have in a column."""
    return {name: clips[column].take(pa.array(rows)).to_pylist() for name, rows in plan.units.items()}


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
    plan = cold(clip_rows(clips))
    assert [len(unit) for unit in plan.units.values()] == rows
    assert list(plan.units) == plan.partitions["training"]
    assert sorted(np.concatenate([*plan.units.values(), np.empty(0, int)]).tolist()) == list(range(clips))
    assert plan.staying == plan.rows == {}


def test_partitions_do_not_mix_and_come_in_their_order():
    clips = clip_rows(100, partition=["testing", "training", "validation", "training", "testing"] * 20)
    plan = cold(clips, LONG)
    assert list(plan.partitions) == ["training", "validation", "testing"]
    assert [name.split("-")[0] for name in plan.units] == ["training", "validation", "testing"]
    for name, partitions in dealt(plan, clips, "partition").items():
        assert set(partitions) == {name.split("-")[0]}


def test_folds_come_by_number_after_the_partitions():
    clips = clip_rows(80, partition=["fold-10", "fold-2", "testing", "fold-1"] * 20)
    plan = cold(clips, LONG)
    assert list(plan.partitions) == ["testing", "fold-1", "fold-2", "fold-10"]
    assert [name.rpartition("-")[0] for name in plan.units] == ["testing", "fold-1", "fold-2", "fold-10"]
    for name, partitions in dealt(plan, clips, "partition").items():
        assert set(partitions) == {name.rpartition("-")[0]}


def test_members_are_dealt_in_the_order_of_the_hash_of_their_key():
    clips = clip_rows(
        300, start=list(range(300)), path=[f"{'yes' if row < 150 else 'no'}/ä{row}" for row in range(300)]
    )
    plan = cold(clips, LONG)
    order = [row for rows in plan.units.values() for row in rows.tolist()]
    rows = clips.to_pylist()
    keys = [hashlib.sha256(f"{rows[row]['path']}\0{rows[row]['start']}".encode()).digest() for row in order]
    assert keys == sorted(keys) == sorted(words.tobytes() for words in key_hashes(clips))
    # So every shard of 43 rows mixes both classes.
    for paths in list(dealt(plan, clips).values())[:-1]:
        assert 8 < sum(path.startswith("yes") for path in paths) < 35


def test_clips_of_one_key_keep_their_order():
    clips = clip_rows(90, path=[f"yes/{row % 40}.wav" for row in range(90)], duration=list(range(90)))
    rows = clips.to_pylist()
    keys = [hashlib.sha256(f"{row['path']}\0{row['start']}".encode()).digest() for row in rows]
    assert key_order(clips).tolist() == sorted(range(90), key=lambda row: keys[row])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_the_table_does_not_matter(seed):
    clips = clip_rows(200, partition=["training", "testing"] * 100, size=list(range(200)))
    other = shuffled(clips, seed)
    plan, again = cold(clips, LONG, "parquet"), cold(other, LONG, "parquet")
    assert again.partitions == plan.partitions
    assert dealt(again, other) == dealt(plan, clips)


CHANGES = {
    "path": "yes/other.wav",
    "start": 1,
    "duration": 80,
    "size": 101,
    "mtime_ns": 1_001,
    "version": "0123456789abcdef0123456789abcdef",
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


@pytest.mark.parametrize("rows", [1, 42, 43, 44, 200])
def test_names_are_hashes_of_the_json_of_their_members(rows):
    """The rule that sets on disk go by, as the module `json` writes it."""
    random_of = random.Random(rows)
    odd = ["a", 'q"uote', "back\\slash", "new\nline", "ä", "\x7f", "日本", "😀", ""]
    columns = {
        "path": [f"{random_of.choice(odd)}/{row}.wav" for row in range(rows)],
        "label": [random_of.choice([*odd, None]) for _ in range(rows)],
        "group": [random_of.choice([*odd, None]) for _ in range(rows)],
        "start": [random_of.randrange(3) for _ in range(rows)],
        "duration": [random_of.choice([None, 80, 2**40]) for _ in range(rows)],
        # Of the second shard alone.
        "version": [f'"{row}"' if 43 <= row < 50 else None for row in range(rows)],
    }
    clips = clip_rows(rows, **columns)
    plan = cold(clips, LONG)
    expected = []
    for numbers in plan.units.values():
        taken = clips.take(pa.array(numbers))
        named = ["path", "start", "duration", "size", "mtime_ns", "label", "group", "partition", "content_hash"]
        values = [taken[name].to_pylist() if name in taken.column_names else [None] * len(taken) for name in named]
        if any(taken["version"].to_pylist()):
            values.append(taken["version"].to_pylist())
        text = f"{LONG.fingerprint}\ntfrecord\n0\n\n" + json.dumps(values, separators=(",", ":"))
        expected.append(f"training-{hashlib.sha256(text.encode()).hexdigest()[:24]}")
    assert list(plan.units) == expected


def test_work_list_without_copies(tmp_path):
    clips = clip_rows(3, label=["a", None, "a"], content_hash=[None, "ab", None])
    path = tmp_path / "list.arrow"
    write_work_list(["x"], np.array([3]), lambda first, last: members(clips.slice(first, last)), path, copies=False)
    with UnitFile(path) as file:
        unit = read_unit(file, 0)
    assert [vars(clip) for clip in unit.clips] == clips.to_pylist()
    assert unit.cached == {}


def test_work_list_round_trip(tmp_path):
    clips = clip_rows(
        4,
        path=[f"jä/\\xff {row}.wav" for row in range(4)],
        label=["jä", "nö"] * 2,
        start=list(range(4)),
        duration=[None, 80] * 2,
        content_hash=[None, "ab", None, "cd"],
    )
    cached = pa.table(
        {
            "shard": ["training-1", None, "testing-2", None],
            "offset": [0, None, 77, None],
            "crc32c": [2**32 - 1, None, 0, None],
            "content_hash": ["ef", None, "01", None],
            "seconds": [1.5, None, 2.0, None],
            "warning": [None, None, "silent", None],
            "decoder": ["wav", None, "ffmpeg 7.0", None],
            "proven": [True, None, False, None],
        }
    )
    rows = members(clips, cached)
    units = [rows.slice(3), rows, rows.slice(1, 2)]
    ends = np.cumsum([len(unit) for unit in units])
    together = pa.concat_tables(units)
    path = tmp_path / "list.arrow"
    write_work_list(["b", "a", "c"], ends, lambda first, last: together.slice(first, last - first), path)
    with UnitFile(path) as file:
        units = [read_unit(file, number) for number in range(3)]
    assert [unit.name for unit in units] == ["b", "a", "c"]
    assert [vars(clip) for clip in units[1].clips] == clips.to_pylist()
    assert {number: vars(row) for number, row in units[1].cached.items()} == {
        number: row for number, row in enumerate(cached.to_pylist()) if row["shard"]
    }
    assert units[0].cached == {}
    assert units[2].clips == units[1].clips[1:3]
    assert units[2].cached == {1: units[1].cached[2]}


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


@pytest.mark.parametrize(("age", "different"), [(1_000_000_000, True), (10_000_000_000, False)])
def test_a_racy_content_is_part_of_the_name(tmp_path, age, different):
    plans = []
    for hz in (440, 550):
        path = write_wav(tmp_path / "words" / "yes" / "a.wav", sine(hz, 16))
        os.utime(path, ns=(NOW - age, NOW - age))
        plans.append(prepared(tmp_path / "words", tmp_path / "set", scan_started_ns=NOW).todo)
    assert (plans[0] != plans[1]) == different


def test_a_scanned_folder_becomes_units(tmp_path):
    for row in range(30):
        write_wav(tmp_path / "words" / ("yes", "no")[row % 2] / f"{row:08x}_nohash_0.wav", sine(440, 16 + row))
    units = planned(tmp_path / "words", tmp_path / "set")
    paths = [clip.path for unit in units for clip in unit.clips]
    assert sorted(paths) == scan(str(tmp_path / "words"), labelled=True).clips["path"].to_pylist()
    for unit in units:
        assert {clip.partition for clip in unit.clips} == {unit.name.split("-")[0]}
        for clip in unit.clips:
            assert clip.label == clip.path.split("/")[0]
            assert clip.group == clip.path.split("/")[1][:8]
            assert clip.size == (tmp_path / "words" / clip.path).stat().st_size


def test_seconds_are_those_of_the_clips(tmp_path):
    write_wav(tmp_path / "a.wav", sine(440, 16_000, 8_000), 8_000)
    (tmp_path / "b.wav").write_bytes(b"")
    paths = ["a.wav", "a.wav", "a.wav", "a.wav", "b.wav", "b.wav", "none.wav"]
    clips = clip_rows(
        7, path=paths, start=[0, 4_000, 12_000, 20_000, 0, 1, 0], duration=[None, 4_000, 8_000, None] + [1] * 3
    )
    assert seconds_of(clips, str(tmp_path)) == (2.0 + 0.5 + 0.5, 3)


def test_processes_read_the_lengths_that_one_reads(tmp_path):
    """Three jobs, the last of one file."""
    write_wav(tmp_path / "a.wav", sine(440, 24_000))
    write_wav(tmp_path / "b.wav", sine(440, 4_000, 8_000), 8_000)
    (tmp_path / "c.wav").write_bytes(b"")
    for number in range(2_001):
        os.link(tmp_path / ("a.wav", "b.wav", "c.wav")[number % 3], tmp_path / f"{number:04d}.wav")
    clips = clip_rows(2_001, path=[f"{number:04d}.wav" for number in range(2_001)], start=[0] * 2_001)
    expected = 667 * 1.5 + 667 * 0.5, 667
    assert seconds_of(clips, str(tmp_path), 1) == seconds_of(clips, str(tmp_path), 2) == expected


# What a set of shards of 43 rows at most becomes as clips come and go.


class Growing:
    """A set of which only the plan is made: the rows of its shards, and how many rows were ever written."""

    def __init__(self):
        self.clips, self.cache, self.shards, self.written = clip_rows(0), empty_cache(), {}, 0

    def plan(self, clips) -> Plan:
        """Plans the next state from these clips, and takes it for committed."""
        changes = compare(clips, KnownLines(lambda _: [self.cache]), Evidence("/nowhere", NOW, NOW))
        plan = make_plan(changes, self.shards, LONG, "tfrecord")
        self.written += sum(map(len, plan.units.values()))
        tables, shards = [], {name: [] for name in plan.partitions}
        for partition, held in plan.partitions.items():
            for name in held:
                rows = plan.rows[name] if name in plan.rows else plan.units[name]
                lines = changes.take(rows)
                extra = {"shard": [name] * len(rows), "row": list(range(len(rows))), "offset": list(range(len(rows)))}
                for column, values in extra.items():
                    lines = lines.append_column(column, pa.array(values))
                tables.append(lines)
                shards[partition].append(plan.staying.get(name, Shard(name, len(rows), 1, 0)))
        table = pa.concat_tables(tables)
        missing = [name for name in empty_cache().column_names if name not in table.column_names]
        for name in missing:
            table = table.append_column(name, pa.nulls(len(table)))
        schema = empty_cache().schema
        self.clips, self.cache, self.shards = clips, table.select(schema.names).cast(schema), shards
        return plan

    @property
    def sizes(self):
        return [shard.rows for shards in self.shards.values() for shard in shards]


@pytest.mark.parametrize("added", [1, pytest.param(10, marks=pytest.mark.trial), 40])
def test_a_hundred_additions_leave_few_small_shards_and_write_little(added):
    growing, clips = Growing(), clip_rows(100 * added)
    for run in range(100):
        plan = growing.plan(clips.slice(0, (run + 1) * added))
        assert sum(growing.sizes) == (run + 1) * added
        assert not set(plan.staying) & set(plan.units)
    small = [rows for rows in growing.sizes if rows < 43 / 2]
    assert len(small) <= 2 * (MERGED_SHARDS - 1)
    assert growing.written < 3 * 100 * added


def test_nothing_is_planned_where_nothing_has_changed():
    growing, clips = Growing(), clip_rows(100)
    first = growing.plan(clips)
    again = growing.plan(shuffled(clips))
    assert again.units == {}
    assert again.partitions == first.partitions
    for name, rows in first.units.items():
        assert np.array_equal(
            shuffled(clips)["path"].take(pa.array(again.rows[name])), clips["path"].take(pa.array(rows))
        )


def test_a_shard_that_loses_a_row_is_built_anew_from_the_others():
    growing, clips = Growing(), clip_rows(100)
    first = growing.plan(clips)
    gone = int(first.units[first.partitions["training"][1]][7])
    left = pa.concat_tables([clips.slice(0, gone), clips.slice(gone + 1)])
    plan = growing.plan(left)
    assert [name in plan.staying for name in plan.partitions["training"]] == [True, False, True]
    (rebuilt,) = dealt(plan, left).values()
    before = dealt(first, clips)[first.partitions["training"][1]]
    assert rebuilt == [path for path in before if path != clips["path"][gone].as_py()]


def test_a_row_that_moves_to_another_partition_leaves_its_shard():
    growing, clips = Growing(), clip_rows(100)
    first = growing.plan(clips)
    moved = clip_rows(100, partition=["testing" if row == 5 else "training" for row in range(100)])
    plan = growing.plan(moved)
    assert len(plan.staying) == 2
    found = dealt(plan, moved)
    assert found[plan.partitions["testing"][0]] == ["yes/00005_nohash_0.wav"]
    assert sum(map(len, found.values())) == len(next(paths for paths in dealt(first, clips).values()
                                                     if "yes/00005_nohash_0.wav" in paths))  # fmt: skip


def test_a_relabelled_row_stays_where_it_is():
    growing, clips = Growing(), clip_rows(100)
    first = growing.plan(clips)
    relabelled = clip_rows(100, label=["no" if row == 5 else "yes" for row in range(100)])
    plan = growing.plan(relabelled)
    assert len(plan.staying) == 2
    (rows,) = plan.units.values()
    assert any(np.array_equal(rows, others) for others in first.units.values())
