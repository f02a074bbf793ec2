"""Streams the rows of shards, in an order that only a seed and the number of the epoch decide.

An epoch deals the shards, in an order of its own, into groups of about `buffer_rows` rows, and the rows of a group are
shuffled among themselves. One group is held while the next is read, so memory follows the buffer and never the set. The
order is computed from the manifest, before anything is read: it is the same from either format and from memory. Where a
sampler draws the rows of each epoch, a group gives those of its shards that were drawn, and its part of the windows of
`_silence_`, which are in no shard.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import SoundmillError
from features.io.filesystem import Location
from features.store.manifest import Manifest
from features.store.shards import Shard, ShardRows, read_shard, rows_per_shard
from model.training.holdout import Selection, clips_of, is_selected
from model.training.label_plan import NO_CLASS, LabelPlan
from model.training.sampling import Sampler, Visit
from model.training.silence import SilenceRows

_READER_THREADS = 2
_BUFFER_SHARDS = 4
_SILENCE_ROWS = 1024

Batch = tuple[NDArray[np.float32], NDArray[np.int32]]


@dataclass
class Rows:
    """The rows of some partitions of a feature set.

    Attributes:
        folder: the feature set.
        manifest: its state.
        partitions: which rows.
        classes: in the order of their ids; a label that counts as none of them is `NO_CLASS`.
        plan: what labels count as.
        in_memory: whether shards are kept in memory once they were read.
        selection: numbers of the rows of each shard that count, by its name; None for all rows.
        silence: windows of `_silence_` that come with them where there is no sampler.
        sampler: draws the rows of each epoch where there is a seed; None for each row once.
        one_hot: whether batches have a row of zeros and a one for a class id; only zeros for `NO_CLASS`.
        failure: the error that ended a data set of these rows, None while there was none.
    """

    folder: Location
    manifest: Manifest
    partitions: tuple[str, ...]
    classes: list[str]
    in_memory: bool = False
    selection: Selection | None = None
    plan: LabelPlan = field(default_factory=LabelPlan)
    silence: SilenceRows | None = None
    sampler: Sampler | None = None
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
        """Returns the number of rows of an epoch."""
        if self.sampler is not None:
            return len(self.sampler)
        return sum(map(self.num_rows, self.shards)) + len(self.silence or ())

    def visit(self, seed: int | None, epoch: int) -> Visit:
        """Returns the rows of an epoch: what the sampler draws, which takes a seed; without one each that counts."""
        if self.sampler is None:
            return Visit(None, self.silence)
        if seed is None:
            raise ValueError("the rows that a sampler draws have a seed")
        return self.sampler.visit(seed, epoch)

    def class_counts(self) -> NDArray[np.int64]:
        """Returns the rows of each class in an epoch: (classes,)."""
        if self.sampler is not None:
            return self.sampler.counts
        if self.selection is not None:
            labels = self.clips(["label"])["label"].to_pylist()
            return np.array([labels.count(name) for name in self.classes])
        counts = self.manifest.counts["classes"]
        return np.array([sum(counts[name].get(one, 0) for one in self.partitions) for name in self.classes])

    def contents(self) -> Iterator[ShardRows]:
        """Reads all rows in the order of the manifest, a shard at a time, and then the windows of `_silence_`."""
        for shard in self.shards:
            yield self.read(shard)
        for first in range(0, len(self.silence or ()), _SILENCE_ROWS):
            yield self.silence.read(first, first + _SILENCE_ROWS)  # type: ignore[union-attr]

    def clips(self, columns: Sequence[str]) -> pa.Table:
        """Reads columns of the clips table for these rows, in their order, without windows of `_silence_`.

        Raises:
            RunError: the clips table cannot be read, or is not the one that was committed.
        """
        clips = clips_of(self.folder, self.manifest, self.partitions, columns)
        if self.selection is not None:
            clips = clips.filter(pa.array(is_selected(clips, self.selection)))
        return clips.select(list(columns))

    def read(self, shard: Shard, memory: NDArray[np.uint8] | None = None) -> ShardRows:
        """Reads the rows of a shard, or takes them from where they are kept.

        Those of a file in a folder view the file, unless they are kept; those of an object are read into `memory` where
        that is given.
        """
        if shard.name in self._kept:
            return self._kept[shard.name]
        layout, spec = self.manifest.layout(self.folder), self.manifest.spec
        rows = read_shard(layout, shard, spec, memory, is_mapped=not self.in_memory)
        if self.selection is not None:
            rows = rows.take(self.selection[shard.name])
        if self.in_memory:
            self._kept[shard.name] = rows
        return rows

    def take_buffer(self) -> NDArray[np.uint8] | None:
        """Returns memory to read any of the shards into; None where it is kept, or is a file."""
        if self.in_memory or self.manifest.layout(self.folder).files.is_local:
            return None
        return self._memory.pop() if self._memory else np.empty(max(shard.bytes for shard in self.shards), np.uint8)

    def return_buffer(self, memory: NDArray[np.uint8] | None) -> None:
        """Takes memory of `take_buffer` back that is no longer in use."""
        if memory is not None:
            self._memory.append(memory)

    def class_names(self, rows: ShardRows) -> list[str]:
        """Returns what each row of a shard counts as."""
        names = {label: self.plan.class_of(label) or label for label in set(rows.labels)}
        return [names[label] for label in rows.labels]

    def class_ids(self, rows: ShardRows) -> NDArray[np.int32]:
        """Returns the class id of each row of a shard."""
        ids = {label: number for number, label in enumerate(self.classes)}
        return np.array([ids.get(name, NO_CLASS) for name in self.class_names(rows)], dtype=np.int32)


@dataclass(frozen=True)
class Group:
    """Shards that are in memory together, and the order in which their rows leave it.

    Attributes:
        shards: numbers of the shards.
        silence: numbers of the first window of `_silence_` that comes with them, and of that after the last one.
        order: int64 of shape (rows, 2): the place of the shard in `shards`, or after all of them that of the windows,
            and the row within it.
    """

    shards: list[int]
    silence: tuple[int, int]
    order: NDArray[np.int64]


def epoch_order(
    rows_by_shard: list[int],
    buffer_rows: int,
    seed: int | None,
    epoch: int,
    visited: list[NDArray[np.int64]] | None = None,
    silence: int = 0,
) -> Iterator[Group]:
    """Yields the groups of an epoch.

    Args:
        rows_by_shard: rows of each shard.
        buffer_rows: a group takes shards until it has that many rows.
        seed: of the shuffling, None for the order of the manifest.
        epoch: number of the epoch.
        visited: rows of each shard that come; None for each once.
        silence: how many windows of `_silence_` come with them, to each group as many as its rows are of all.
    """
    generator = None if seed is None else np.random.default_rng([seed, epoch])
    chosen = [np.arange(rows) for rows in rows_by_shard] if visited is None else visited
    shards = np.flatnonzero([len(rows) for rows in chosen])
    shards = shards if generator is None else generator.permutation(shards)
    total, come, first = sum(map(len, chosen)), 0, 0
    members: list[int] = []
    for place, shard in enumerate(shards.tolist()):
        members.append(shard)
        if sum(rows_by_shard[member] for member in members) < buffer_rows and place + 1 < len(shards):
            continue
        come += sum(len(chosen[member]) for member in members)
        last = silence * come // total
        parts = [*(chosen[member] for member in members), np.arange(last - first)]
        pairs = [np.stack([np.full(len(rows), number), rows], axis=1) for number, rows in enumerate(parts)]
        order = np.concatenate(pairs)
        yield Group(members, (first, last), order if generator is None else generator.permutation(order))
        members, first = [], last


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
    visit = rows.visit(seed, epoch)
    silence = visit.silence
    groups = epoch_order(
        [rows.num_rows(shard) for shard in shards],
        buffer_rows or _BUFFER_SHARDS * rows_per_shard(spec),
        seed,
        epoch,
        visit.rows,
        len(silence or ()),
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
            reading = [pool.submit(rows.read, shards[number], memory) for number, memory in parts]
            if silence is not None:
                reading.append(pool.submit(silence.read, *group.silence))
            return group, buffers, reading

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
