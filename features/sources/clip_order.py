"""The order of clips: by the sha256 of their keys, so that every shard mixes the classes of any folder."""

from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_DIGEST_WORDS = 4
_KEY = ["path", "start"]


def key_hashes(clips: pa.Table) -> NDArray[np.uint64]:
    """Returns the sha256 of each clip's key (path, start): four big-endian words of shape (clips, 4)."""
    digests = bytearray()
    for batch in clips.select(_KEY).to_batches(max_chunksize=65_536):
        keys = pc.binary_join_element_wise(batch["path"], batch["start"].cast(pa.string()), "\0").cast(pa.binary())
        digests += b"".join([sha256(key).digest() for key in keys.to_pylist()])
    return np.frombuffer(digests, ">u8").reshape(-1, _DIGEST_WORDS)


def key_order(clips: pa.Table, numbers: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Returns the numbers of clips, all or these, in the order of their keys' hashes, of one key in their own."""
    keys = clips.select(_KEY)
    hashes = key_hashes(keys if numbers is None else keys.take(pa.array(numbers)))
    first = hashes[:, 0].astype(np.uint64)
    order = np.argsort(first)
    ordered = first[order]
    if (ordered[1:] == ordered[:-1]).any():  # one key twice, else as good as never: the other words are asked too
        order = np.lexsort(hashes.T[::-1])
    return order if numbers is None else numbers[order]


def limit(clips: pa.Table, number: int | None) -> pa.Table:
    """Takes the first `number` clips in the order of their keys' hashes, all where it is None; keeps table order."""
    if number is None or number >= len(clips):
        return clips
    return clips.take(pa.array(np.sort(key_order(clips)[:number])))
