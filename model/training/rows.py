"""Streams the rows of shards, in an order that only a seed and the number of the epoch decide.

An epoch deals the shards, in an order of its own, into groups of about `buffer_rows` rows, and the rows of a group are
shuffled among themselves. One group is held while the next is read, so memory follows the buffer and never the set. The
order is computed from the manifest, before anything is read: it is the same from either format and from memory.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.errors import SoundmillError
from features.store.manifest import Manifest
from features.store.shards import Shard, ShardRows, read_shard, rows_per_shard
from model.training.holdout import Selection

_READER_THREADS = 2
_BUFFER_SHARDS = 4
UNKNOWN_CLASS = -1

Batch = tuple[NDArray[np.float32], NDArray[np.int32]]


@dataclass
class Rows:
    """The rows of some partitions of a feature set.

    Attributes:
        folder: the feature set.
        manifest: its state.
        partitions: which rows.
        classes: labels in the order of their ids; other labels are `UNKNOWN_CLASS`.
        in_memory: whether shards are kept in memory once they were read.
        selection: numbers of the rows of each shard that count, by its name; None for all rows.
        one_hot: whether batches have a row of zeros and a one for a class id; only zeros for `UNKNOWN_CLASS`.
        failure: the error that ended a data set of these rows, None while there was none.
    """

    folder: Path
    manifest: Manifest
    partitions: tuple[str, ...]
    classes: list[str]
    in_memory: bool = False
    selection: Selection | None = None
    one_hot: bool = False
    failure: SoundmillError | None = None
    _kept: dict[str, ShardRows] = field(default_factory=dict, repr=False)
    _memory: list[NDArray[np.uint8]] = field(default_factory=list, repr=False)

    @property
    def shards(self) -> list[Shard]:
        """The shards that have rows, in manifest order."""
        shards = self.manifest.shards(self.partitions)
        return shards if self.selection is None else [shard for shard in shards if shard.name in self.selection]

    def num_rows(self, shard: Shard) -> int:
        """Returns how many rows of a shard count."""
        return shard.rows if self.selection is None else len(self.selection[shard.name])

    def __len__(self) -> int:
        """Returns the number of rows."""
        return sum(map(self.num_rows, self.shards))

    def read(self, shard: Shard, memory: NDArray[np.uint8] | None = None) -> ShardRows:
        """Reads the rows of a shard, into `memory` where that is given, or takes them from where they are kept."""
        if shard.name in self._kept:
            return self._kept[shard.name]
        rows = read_shard(self.manifest.layout(self.folder), shard, self.manifest.spec, memory)
        if self.selection is not None:
            rows = rows.take(self.selection[shard.name])
        if self.in_memory:
            self._kept[shard.name] = rows
        return rows

    def take_buffer(self) -> NDArray[np.uint8] | None:
        """Returns memory to read any of the shards into; None where what is read is kept."""
        if self.in_memory:
            return None
        return self._memory.pop() if self._memory else np.empty(max(shard.bytes for shard in self.shards), np.uint8)

    def return_buffer(self, memory: NDArray[np.uint8] | None) -> None:
        """Takes memory of `take_buffer` back that is no longer in use."""
        if memory is not None:
            self._memory.append(memory)

    def class_ids(self, rows: ShardRows) -> NDArray[np.int32]:
        """Returns the class id of each row of a shard."""
        ids = {label: number for number, label in enumerate(self.classes)}
        return np.array([ids.get(label, UNKNOWN_CLASS) for label in rows.labels], dtype=np.int32)


@dataclass(frozen=True)
class Group:
    """Shards that are in memory together, and the order in which their rows leave it.

    Attributes:
        shards: numbers of the shards.
        order: int64 of shape (rows, 2): the place of the shard in `shards`, and the row within it.
    """

    shards: list[int]
    order: NDArray[np.int64]


def epoch_order(rows_by_shard: list[int], buffer_rows: int, seed: int | None, epoch: int) -> Iterator[Group]:
    """Yields the groups of an epoch.

    Args:
        rows_by_shard: rows of each shard.
        buffer_rows: a group takes shards until it has that many rows.
        seed: of the shuffling, None for the order of the manifest.
        epoch: number of the epoch.
    """
    generator = None if seed is None else np.random.default_rng([seed, epoch])
    shards = np.arange(len(rows_by_shard)) if generator is None else generator.permutation(len(rows_by_shard))
    members: list[int] = []
    for place, shard in enumerate(shards.tolist()):
        members.append(shard)
        if sum(rows_by_shard[member] for member in members) < buffer_rows and place + 1 < len(shards):
            continue
        pairs = [
            np.stack([np.full(rows_by_shard[member], number), np.arange(rows_by_shard[member])], axis=1)
            for number, member in enumerate(members)
        ]
        order = np.concatenate(pairs)
        yield Group(members, order if generator is None else generator.permutation(order))
        members = []


def batches(
    rows: Rows, batch_size: int, seed: int | None = None, epoch: int = 0, buffer_rows: int | None = None
) -> Iterator[Batch]:
    """Yields the batches of one epoch.

    Args:
        rows: what to stream.
        batch_size: rows per batch; the last one may be smaller.
        seed: of the shuffling, None for the order of the manifest.
        epoch: number of the epoch.
        buffer_rows: see `epoch_order`; None for four full shards.

    Yields:
        Features, float32 of shape (clips, *spec.shape, 1), and class ids, int32 of shape (clips,).
    """
    shards, spec = rows.shards, rows.manifest.spec
    groups = epoch_order(
        [rows.num_rows(s) for s in shards], buffer_rows or _BUFFER_SHARDS * rows_per_shard(spec), seed, epoch
    )
    left = len(rows)
    filled = 0
    features, ids = _empty(min(batch_size, left), spec.shape)
    with ThreadPoolExecutor(_READER_THREADS) as pool:

        def start(group: Group | None) -> tuple[Group, list[NDArray[np.uint8] | None], list[Future[ShardRows]]] | None:
            if group is None:
                return None
            buffers = [rows.take_buffer() for _ in group.shards]
            parts = zip(group.shards, buffers, strict=True)
            return group, buffers, [pool.submit(rows.read, shards[number], memory) for number, memory in parts]

        pending = start(next(groups, None))
        while pending:
            group, buffers, reading = pending
            read = [future.result() for future in reading]
            # The group before this one is let go of here, before the next is read.
            tensors, labels = [part.tensors for part in read], [rows.class_ids(part) for part in read]
            pending = start(next(groups, None))
            for place, row in zip(*group.order.T.tolist(), strict=True):  # pairs would be garbage-collected
                features[filled, ..., 0] = tensors[place][row]
                ids[filled] = labels[place][row]
                filled += 1
                if filled == len(ids):
                    yield features, ids
                    left -= filled
                    filled = 0
                    features, ids = _empty(min(batch_size, left), spec.shape)
            for memory in buffers:
                rows.return_buffer(memory)


def steps(rows: Rows, batch_size: int) -> int:
    """Returns the number of batches of an epoch."""
    return -(-len(rows) // batch_size)


def _empty(size: int, shape: tuple[int, ...]) -> Batch:
    return np.empty((size, *shape, 1), dtype=np.float32), np.empty(size, dtype=np.int32)
