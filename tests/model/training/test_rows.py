import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from features.errors import RunError
from features.store.manifest import load_manifest
from features.store.shards import read_shard
from model.training.label_plan import NO_CLASS
from model.training.rows import Rows, batches, epoch_order, steps
from tests.model.conftest import make_small_shards

FORMATS = ("tfrecord", "parquet")
NUM_ROWS = 81


def open_rows(folder, partitions=("training",), classes=None, **options) -> Rows:
    manifest = load_manifest(folder)
    return Rows(folder, manifest, partitions, classes or manifest.classes, **options)


def in_one(epoch) -> tuple[np.ndarray, np.ndarray]:
    features, ids = zip(*epoch, strict=True)
    return np.concatenate(features), np.concatenate(ids)


def as_bytes(features) -> list[bytes]:
    return [row.tobytes() for row in features]


@pytest.fixture(scope="module")
def in_manifest_order(small_shards) -> tuple[np.ndarray, list[str]]:
    """Features and labels of the training partition, read shard by shard."""
    manifest = load_manifest(small_shards["tfrecord"])
    shards = [
        read_shard(manifest.layout(small_shards["tfrecord"]), shard, manifest.spec)
        for shard in manifest.shards(["training"])
    ]
    return np.concatenate([s.features for s in shards]), [label for s in shards for label in s.labels]


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("storage_format", FORMATS)
def test_the_order_follows_from_seed_and_epoch_alone(small_shards, storage_format, in_memory):
    one = in_one(batches(open_rows(small_shards["tfrecord"]), 8, seed=3, epoch=1, buffer_rows=20))
    rows = open_rows(small_shards[storage_format], in_memory=in_memory)
    for _ in range(2):  # the second time from memory, where it is kept there
        again = in_one(batches(rows, 8, seed=3, epoch=1, buffer_rows=20))
        np.testing.assert_array_equal(again[0], one[0])
        np.testing.assert_array_equal(again[1], one[1])


def test_another_seed_or_epoch_gives_another_order(small_shards):
    rows = open_rows(small_shards["tfrecord"], in_memory=True)
    orders = {
        tuple(as_bytes(in_one(batches(rows, 8, seed, epoch, buffer_rows=20))[0]))
        for seed in (0, 1, 2)
        for epoch in (0, 1, 2)
    }
    assert len(orders) == 9


def test_an_order_mixes_rows_of_several_shards(small_shards, in_manifest_order):
    place = {row: number for number, row in enumerate(as_bytes(in_manifest_order[0]))}
    rows = open_rows(small_shards["tfrecord"])
    places = [place[row] for row in as_bytes(in_one(batches(rows, 8, seed=0))[0][..., 0])]
    neighbours = sum(abs(a - b) == 1 for a, b in itertools.pairwise(places))
    assert neighbours < NUM_ROWS / 4


@pytest.mark.parametrize("buffer_rows", [1, 20, 1000, None])
@pytest.mark.parametrize("batch_size", [1, NUM_ROWS - 1, NUM_ROWS, NUM_ROWS + 1])
def test_every_row_comes_exactly_once_with_its_class(small_shards, in_manifest_order, batch_size, buffer_rows):
    rows = open_rows(small_shards["tfrecord"], in_memory=True)
    epoch = list(batches(rows, batch_size, seed=5, buffer_rows=buffer_rows))
    assert [len(ids) for _, ids in epoch][:-1] == [batch_size] * (steps(rows, batch_size) - 1)
    assert len(epoch) == steps(rows, batch_size)
    features, ids = in_one(epoch)
    expected, labels = in_manifest_order
    assert len(set(as_bytes(expected))) == NUM_ROWS
    pairs = sorted(zip(as_bytes(features[..., 0]), (rows.classes[number] for number in ids), strict=True))
    assert pairs == sorted(zip(as_bytes(expected), labels, strict=True))


@pytest.mark.parametrize("storage_format", FORMATS)
@pytest.mark.parametrize("batch_size", [1, 16, NUM_ROWS + 1])
def test_without_a_seed_rows_come_in_manifest_order(small_shards, in_manifest_order, storage_format, batch_size):
    rows = open_rows(small_shards[storage_format])
    features, ids = in_one(batches(rows, batch_size, buffer_rows=15))
    np.testing.assert_array_equal(features[..., 0], in_manifest_order[0])
    assert [rows.classes[number] for number in ids] == in_manifest_order[1]
    assert features.dtype == np.float32
    assert ids.dtype == np.int32


def test_a_batch_is_never_written_to_again(small_shards):
    rows = open_rows(small_shards["tfrecord"])
    kept = list(batches(rows, 10, seed=1))
    copied = [(features.copy(), ids.copy()) for features, ids in batches(rows, 10, seed=1)]
    for (features, ids), (features_copy, ids_copy) in zip(kept, copied, strict=True):
        np.testing.assert_array_equal(features, features_copy)
        np.testing.assert_array_equal(ids, ids_copy)


def test_a_union_of_partitions_has_the_rows_of_each(small_shards):
    both = open_rows(small_shards["tfrecord"], ("training", "validation"))
    parts = [open_rows(small_shards["tfrecord"], (name,)) for name in ("training", "validation")]
    expected = [row for part in parts for row in as_bytes(in_one(batches(part, 8))[0])]
    assert as_bytes(in_one(batches(both, 8))[0]) == expected


def test_labels_that_are_no_class_get_the_unknown_id(small_shards, in_manifest_order):
    rows = open_rows(small_shards["tfrecord"], classes=["middle", "high"])
    ids = in_one(batches(rows, 8))[1]
    known = {"middle": 0, "high": 1}
    assert ids.tolist() == [known.get(label, NO_CLASS) for label in in_manifest_order[1]]
    assert NO_CLASS in ids


@dataclass
class WatchedRows(Rows):
    """Rows that count for how many shards their memory is in use at once."""

    in_use: int = 0
    most: int = 0

    def take_buffer(self):
        self.in_use += 1
        self.most = max(self.most, self.in_use)
        return super().take_buffer()

    def return_buffer(self, memory):
        self.in_use -= 1
        super().return_buffer(memory)


@pytest.mark.parametrize("storage_format", FORMATS)
def test_two_groups_of_shards_are_held_at_most(small_shards, storage_format):
    manifest = load_manifest(small_shards[storage_format])
    rows = WatchedRows(small_shards[storage_format], manifest, ("training",), manifest.classes)
    groups = list(epoch_order([shard.rows for shard in rows.shards], 20, seed=0, epoch=0))
    largest_pair = max(len(a.shards) + len(b.shards) for a, b in itertools.pairwise(groups))
    for _ in batches(rows, 1, seed=0, buffer_rows=20):
        pass
    assert 0 < rows.most <= largest_pair < len(rows.shards)
    assert rows.in_use == 0


@pytest.mark.parametrize("storage_format", FORMATS)
def test_memory_that_is_read_into_again_and_again_gives_the_rows_that_are_kept(small_shards, storage_format):
    streamed = open_rows(small_shards[storage_format])
    kept = open_rows(small_shards[storage_format], in_memory=True)
    for epoch in range(3):
        for (features, ids), (expected, expected_ids) in zip(
            batches(streamed, 3, seed=0, epoch=epoch, buffer_rows=20),
            batches(kept, 3, seed=0, epoch=epoch, buffer_rows=20),
            strict=True,
        ):
            np.testing.assert_array_equal(features, expected)
            np.testing.assert_array_equal(ids, expected_ids)


def test_groups_take_shards_until_the_buffer_is_full():
    rows_by_shard = [5, 3, 8, 1, 4, 4]
    for seed in (None, 0, 1):
        groups = list(epoch_order(rows_by_shard, 9, seed, epoch=0))
        assert sorted(shard for group in groups for shard in group.shards) == list(range(6))
        for number, group in enumerate(groups):
            sizes = [rows_by_shard[shard] for shard in group.shards]
            assert sum(sizes[:-1]) < 9
            assert sum(sizes) >= 9 or number == len(groups) - 1
            pairs = [(place, row) for place, size in enumerate(sizes) for row in range(size)]
            assert sorted(map(tuple, group.order.tolist())) == pairs


@pytest.mark.parametrize("in_memory", [False, True])
def test_shards_are_read_again_each_epoch_unless_they_stay_in_memory(words, tmp_path, in_memory):
    folder = make_small_shards(words, tmp_path / "set", "tfrecord")
    rows = open_rows(folder, in_memory=in_memory)
    first = in_one(batches(rows, 16))
    for shard in (folder / "shards").iterdir():
        shard.unlink()
    if in_memory:
        np.testing.assert_array_equal(in_one(batches(rows, 16))[0], first[0])
    else:
        with pytest.raises(RunError, match="cannot read the shard"):
            in_one(batches(rows, 16))


def test_a_damaged_shard_ends_the_stream_and_is_named(words, tmp_path):
    folder = make_small_shards(words, tmp_path / "set", "tfrecord")
    victim = sorted((folder / "shards").glob("training-*"))[4]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with pytest.raises(RunError, match=victim.name):
        in_one(batches(open_rows(folder), 16, seed=0))
