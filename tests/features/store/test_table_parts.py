"""Where the clips table of a large set is cut."""

from dataclasses import replace

import numpy as np
import pytest

from features.store import table_parts
from features.store.manifest import ClipsPart
from features.store.shards import Shard
from features.store.table_parts import cut
from tests.features.store.test_manifest import golden_manifest

FULL = 10


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(table_parts, "PART_ROWS", FULL)


def shards(*rows, first=0):
    return [Shard(f"s{number}", held, 100 * held, number) for number, held in enumerate(rows, first)]


def base_of(held, cuts):
    """A state of these shards in these files."""
    parts = [ClipsPart(f"part-{number}", one.rows) for number, one in enumerate(cuts)]
    several = {"clips_file": None, "clips_parts": parts} if len(parts) > 1 else {"clips_file": "part-0"}
    counts = {"clips": sum(shard.rows for shard in held)}
    return replace(golden_manifest(), partitions={"training": held}, counts=counts, **several)


def rows_of(cuts):
    return [[shard.rows for shard in one.shards] for one in cuts]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([1], [[1]]),
        ([9], [[9]]),
        ([10], [[10]]),
        ([11], [[11]]),
        ([9, 1], [[9, 1]]),
        ([9, 2], [[9, 2]]),
        ([10, 1], [[10], [1]]),
        ([9, 1, 1], [[9, 1], [1]]),
        ([4, 4, 4, 4, 4, 4], [[4, 4, 4], [4, 4, 4]]),
        ([4, 4, 4, 4, 4, 4, 1], [[4, 4, 4], [4, 4, 4], [1]]),
    ],
)
def test_a_file_ends_with_the_shard_that_fills_it(rows, expected):
    cuts = cut(shards(*rows), None)
    assert rows_of(cuts) == expected
    assert [one.known for one in cuts] == [None] * len(expected)


def test_what_has_not_changed_keeps_its_files():
    held = shards(5, 5, 5, 5, 5)
    before = base_of(held, cut(held, None))
    assert [one.known and one.known.file for one in cut(held, before)] == ["part-0", "part-1", "part-2"]


def test_a_shard_at_the_end_is_written_with_the_last_file_where_that_is_not_full():
    held = shards(5, 5, 5, 5, 5)
    before = base_of(held, cut(held, None))
    grown = cut([*held, *shards(3, first=5)], before)
    assert [one.known and one.known.file for one in grown] == ["part-0", "part-1", None]
    assert rows_of(grown) == [[5, 5], [5, 5], [5, 3]]
    full = [*held, *shards(5, first=5)]
    before = base_of(full, cut(full, None))
    grown = cut([*full, *shards(3, first=6)], before)
    assert [one.known and one.known.file for one in grown] == ["part-0", "part-1", "part-2", None]


def test_a_shard_in_the_middle_leaves_the_files_around_it():
    held = shards(5, 5, 5, 5, 5, 5)
    before = base_of(held, cut(held, None))
    within = cut([*held[:3], *shards(2, first=6), *held[3:]], before)
    assert [one.known and one.known.file for one in within] == ["part-0", None, "part-2"]
    assert rows_of(within) == [[5, 5], [5, 2, 5], [5, 5]]
    more = [*held[:3], *shards(6, first=6), *held[3:]]
    assert rows_of(cut(more, before)) == [[5, 5], [5, 6], [5], [5, 5]]


def test_one_that_is_gone_or_other_bytes_takes_its_file_with_it():
    held = shards(5, 5, 5, 5, 5, 5)
    before = base_of(held, cut(held, None))
    gone = cut([held[0], *held[2:]], before)
    assert [one.known and one.known.file for one in gone] == [None, "part-1", "part-2"]
    other = cut([*held[:3], replace(held[3], crc32c=99), *held[4:]], before)
    assert [one.known and one.known.file for one in other] == ["part-0", None, "part-2"]


def test_a_table_of_one_file_grows_and_shrinks():
    held = shards(5, 5)
    before = base_of(held, cut(held, None))
    assert [one.known and one.known.file for one in cut([*held, *shards(1, first=2)], before)] == ["part-0", None]
    early = replace(before, format_version=1)  # the names of its tables are hashes of something else
    assert [one.known for one in cut([*held, *shards(1, first=2)], early)] == [None, None]
    large = shards(5, 5, 5)
    assert rows_of(cut(large[:2], base_of(large, cut(large, None)))) == [[5, 5]]


@pytest.mark.parametrize("seed", range(20))
def test_files_never_pile_up_and_have_all_shards_in_order(seed):
    """Of any changes: whole shards in order, no file without rows, and no two new neighbours that fit one."""
    generator = np.random.default_rng(seed)
    held, number, before = shards(*generator.integers(1, 5, 30)), 30, None
    for _ in range(15):
        cuts = cut(held, before)
        assert [shard for one in cuts for shard in one.shards] == held
        assert all(one.shards for one in cuts)
        full = sum(shard.rows for shard in held) / FULL
        assert len(cuts) <= 2 * full + 2
        for one in cuts:
            assert one.rows < FULL + 4
            if one.known is not None:
                names = [[shard.name for shard in those] for those in before.shards_by_table]
                place = [part.file for part in before.clips_tables].index(one.known.file)
                assert names[place] == [shard.name for shard in one.shards]
        before = base_of(held, cuts)
        assert [one.known for one in cut(held, before)] == (before.clips_tables if len(cuts) > 1 else [None])
        held = [shard for shard in held if generator.random() > 0.05]
        for _ in range(generator.integers(0, 4)):
            held.insert(int(generator.integers(len(held) + 1)), shards(generator.integers(1, 5), first=number)[0])
            number += 1
