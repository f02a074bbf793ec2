"""The order of clips: by the sha256 of their keys, so that every shard mixes the classes of any folder."""

import hashlib

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_DIGEST_WORDS = 4


def key_hashes(clips: pa.Table) -> NDArray[np.uint64]:
    """Returns the sha256 of each clip's key (path, start): four big-endian words of shape (clips, 4)."""
    digests = bytearray()
    for batch in clips.select(["path", "start"]).to_batches(max_chunksize=65_536):
        pairs = zip(batch["path"].to_pylist(), batch["start"].to_pylist(), strict=True)
        digests += b"".join([hashlib.sha256(f"{path}\0{start}".encode()).digest() for path, start in pairs])
    return np.frombuffer(digests, ">u8").reshape(-1, _DIGEST_WORDS)


def key_order(clips: pa.Table, *before: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the numbers of clips in the order of numbers that come before, then of their keys' hashes."""
    hashes = key_hashes(clips)
    return np.lexsort((*hashes.T[::-1], *reversed(before)))


def limit(clips: pa.Table, number: int | None) -> pa.Table:
    """Takes the first `number` clips in the order of their keys' hashes, all where it is None; keeps table order."""
    if number is None or number >= len(clips):
        return clips
    return clips.take(pa.array(np.sort(key_order(clips)[:number])))
