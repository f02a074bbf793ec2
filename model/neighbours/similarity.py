"""The cosine of the angle between one row of features and every row of a set, shard by shard."""

import math
import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.runtime.progress import Progress
from features.sources.paths import unescape_path
from features.store.layout import Layout
from features.store.manifest import Manifest
from features.store.shards import Shard, read_shard, read_tensors

_READER_THREADS = 2
# Two blocks of rows, in float64, that stay in the cache of a core.
_BLOCK_BYTES = 2**19
NOT_COMPARED = -math.inf
"""In place of the similarity of a row that was left out."""


def cosines(rows: Sequence[NDArray[np.floating]], query: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns the cosine of the angle between each row and the query, all of their values one after the other.

    It is computed in float64, row by row, so that equal rows have equal cosines wherever they stand. A row of zeros
    has no direction, and its cosine is 0, as in scikit-learn.

    Args:
        rows: features of clips, of any shape.
        query: of as many values.

    Returns:
        float64 of shape (rows,), from -1 to 1.
    """
    direction = query.reshape(-1).astype(np.float64)
    length = math.sqrt(np.square(direction).sum())
    direction /= length or 1.0
    step = max(1, _BLOCK_BYTES // direction.nbytes)
    block = np.empty((min(step, len(rows)), len(direction)))
    product = np.empty_like(block)
    result = np.zeros(len(rows))
    for first in range(0, len(rows), step):
        some = rows[first : first + step]
        for place, row in enumerate(some):
            block[place] = row.reshape(-1)
        values, products = block[: len(some)], product[: len(some)]
        # Not by BLAS, whose sums depend on how many rows there are and on where a row stands.
        dots = np.multiply(values, direction, out=products).sum(axis=1)
        lengths = np.sqrt(np.multiply(values, values, out=products).sum(axis=1))
        np.divide(dots, lengths, out=result[first : first + len(some)], where=lengths > 0)
    return np.clip(result, -1.0, 1.0)


def similarities(
    layout: Layout, manifest: Manifest, clips: pa.Table, wanted: NDArray[np.bool_], query: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Reads a set once, and compares its rows with a query; two shards are in memory at a time.

    Args:
        layout: of the set.
        manifest: its state.
        clips: its clips table, with the column offset.
        wanted: of each row of it, whether it is compared; a shard without one that is, is not read.
        query: features of shape spec.shape.

    Returns:
        float64 of shape (rows,), in the order of the clips table: `cosines`, or `NOT_COMPARED`.

    Raises:
        RunError: a shard is missing or damaged.
    """
    shards = manifest.all_shards
    ends = np.cumsum([shard.rows for shard in shards], dtype=np.int64)
    parts = [(shard, slice(int(end) - shard.rows, int(end))) for shard, end in zip(shards, ends, strict=True)]
    parts = [(shard, place) for shard, place in parts if wanted[place].any()]
    result = np.full(len(wanted), NOT_COMPARED)
    if not parts:
        return result
    # Format version 1 does not know where in its shard a tensor lies.
    offsets = None if clips["offset"].null_count else clips["offset"].to_numpy()
    largest = max(shard.bytes for shard, _ in parts)
    memory: queue.SimpleQueue[NDArray[np.uint8]] = queue.SimpleQueue()
    for _ in range(_READER_THREADS):
        memory.put(np.empty(largest, np.uint8))

    def compare(part: tuple[Shard, slice]) -> None:
        shard, place = part
        held = memory.get()
        try:
            rows = np.flatnonzero(wanted[place])
            if offsets is None:
                tensors = read_shard(layout, shard, manifest.spec, held).tensors
                tensors = [tensors[row] for row in rows.tolist()]
            else:
                tensors = read_tensors(layout, shard, manifest.spec, offsets[place][rows].tolist(), held)
            result[place.start + rows] = cosines(tensors, query)
        finally:
            memory.put(held)

    progress, done = Progress("comparing", int(wanted.sum()), "clips"), 0
    pool = ThreadPoolExecutor(_READER_THREADS)
    try:
        for (_, place), _ in zip(parts, pool.map(compare, parts), strict=True):
            done += int(wanted[place].sum())
            progress.update(done)
    finally:
        pool.shutdown(cancel_futures=True)
        progress.close()
    return result


def most_alike(similarity: NDArray[np.float64], clips: pa.Table, top: int) -> list[int]:
    """Returns the rows of the largest similarities, equal ones by the bytes of their paths and by their starts.

    Args:
        similarity: as `similarities` returns it.
        clips: path and start of each row, as the clips table has them.
        top: how many rows; fewer where fewer were compared.
    """
    rows = np.flatnonzero(similarity > NOT_COMPARED)
    if len(rows) > top:
        least = np.partition(similarity[rows], len(rows) - top)[len(rows) - top]
        rows = rows[similarity[rows] >= least]
    found = clips.select(["path", "start"]).take(rows).to_pylist()
    keys = [
        (-similarity[row], unescape_path(clip["path"]), clip["start"]) for row, clip in zip(rows, found, strict=True)
    ]
    return [int(rows[place]) for place in sorted(range(len(rows)), key=keys.__getitem__)[:top]]
