import itertools
import random

import numpy as np
import pyarrow as pa
import pytest

from features.store.known_rows import CACHE_SCHEMA
from features.update import clip_index
from features.update.clip_index import ClipIndex, find_lines
from features.update.known_lines import NOTHING, KnownLines
from features.update.work_list import with_few_values
from tests.features.examples import clip_rows


def keys_of(table: pa.Table) -> list[tuple[str, int]]:
    return list(zip(table["path"].to_pylist(), table["start"].to_pylist(), strict=True))


def some(number: int, seed: int, of: int = 60) -> pa.Table:
    """Clips of a few recordings, in any order."""
    chosen = random.Random(seed).sample(range(of), number)
    return clip_rows(number, path=[f"jä/{one // 4}.wav" for one in chosen], start=[one % 4 * 16 for one in chosen])


@pytest.mark.parametrize("hashes", ["its own", "one for all", "one of three"])
@pytest.mark.parametrize(("clips", "lines"), [(0, 5), (5, 0), (1, 1), (40, 40), (60, 7), (7, 60)])
def test_lines_are_found_by_whole_keys(monkeypatch, clips, lines, hashes):
    own = clip_index._hashes
    if hashes != "its own":
        kinds = np.uint64(1 if hashes == "one for all" else 3)
        monkeypatch.setattr(clip_index, "_hashes", lambda table: own(table) % kinds)
    one, other = some(clips, 1), some(lines, 2)
    found = sorted(zip(*(numbers.tolist() for numbers in ClipIndex(one).find(other)), strict=True))
    expected = [(line, number) for line, key in enumerate(keys_of(other)) for number, mine in enumerate(keys_of(one))
                if key == mine]  # fmt: skip
    assert found == expected


def cache_of(rows: pa.Table) -> pa.Table:
    """What a state knows of these clips, each of them a row of one shard."""
    extra = {"shard": pa.array(["training-1"] * len(rows)), "row": pa.array(range(len(rows)), pa.int32())}
    columns = [rows[name] if name in rows.column_names else extra.get(name, pa.nulls(len(rows)))
               for name in CACHE_SCHEMA.names]  # fmt: skip
    return pa.table(columns, names=CACHE_SCHEMA.names).cast(CACHE_SCHEMA)


@pytest.mark.parametrize("bounds", [[], [3], [1, 2, 3, 4]], ids=str)
def test_of_lines_of_one_key_the_first_counts(bounds):
    cache = cache_of(clip_rows(5, path=["b", "a", "b", "c", "a"], size=[1, 2, 3, 4, 5]))
    ends = [0, *bounds, 5]
    parts = [cache.slice(first, last - first) for first, last in itertools.pairwise(ends)]
    found = find_lines(clip_rows(3, path=["a", "b", "d"], size=[5, 1, 1]), KnownLines(lambda _: parts))
    assert found.same.tolist() == [1, 0, NOTHING]
    assert found.sized.tolist() == [False, True, False]
    assert found.is_of_clip.tolist() == [True, True, True, False, True]


@pytest.mark.parametrize(
    ("column", "values", "equal"),
    [("label", ["yes", "no", "new"], [True, False, False]), ("group", ["1", None, "3"], [True, False, True])],
)
@pytest.mark.parametrize("few", [False, True])
def test_where_a_clip_is_placed_is_compared_by_its_values(column, values, equal, few):
    placed = {"label": ["yes", "yes", "no"], "group": ["1", "2", "3"]}
    cache = cache_of(clip_rows(3, **placed))
    if few:
        cache = cache.set_column(cache.column_names.index(column), column, cache[column].dictionary_encode())
    clips = with_few_values(clip_rows(3, **{**placed, column: values}))
    assert find_lines(clips, KnownLines(lambda _: [cache])).placed.tolist() == equal
