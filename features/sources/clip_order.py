"""The order of clips: by the sha256 of their keys, so that every shard mixes the classes of any folder."""

from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.io.take import take_rows

_DIGEST_WORDS = 4
_KEY = ["path", "start"]
# So many keys are Python's at a time.
_TOGETHER = 65_536
_WHOLE = b"\x000"  # what the key of a clip that begins with its file ends with


def key_hashes(clips: pa.Table) -> NDArray[np.uint64]:
    """Returns the sha256 of each clip's key (path, start): four big-endian words of shape (clips, 4)."""
    digests = bytearray()
    for batch in clips.select(_KEY).to_batches(max_chunksize=_TOGETHER):
        if np.any(batch["start"].to_numpy()):
            keys = pc.binary_join_element_wise(batch["path"], batch["start"].cast(pa.string()), "\0").cast(pa.binary())
            digests += b"".join([sha256(key).digest() for key in keys.to_pylist()])
        else:
            paths = batch["path"].cast(pa.binary()).to_pylist()
            digests += b"".join([sha256(path + _WHOLE).digest() for path in paths])
    return np.frombuffer(digests, ">u8").reshape(-1, _DIGEST_WORDS)


def key_order(clips: pa.Table, numbers: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Returns the numbers of clips, all or these, in the order of their keys' hashes, of one key in their own.

    Takes 24 bytes a clip for a moment, and 8 for what it returns.
    """
    keys = clips.select(_KEY)
    first = np.empty(len(keys) if numbers is None else len(numbers), np.uint64)
    for begin in range(0, len(first), _TOGETHER):
        end = begin + _TOGETHER
        some = keys.slice(begin, _TOGETHER) if numbers is None else take_rows(keys, numbers[begin:end])
        first[begin:end] = key_hashes(some)[:, 0]
    order = np.argsort(first)
    tied = _tied(first, order)
    if len(tied):  # one key twice, else as good as never: the other words are asked too
        chosen = order[tied]
        words = key_hashes(take_rows(keys, chosen if numbers is None else numbers[chosen]))
        order[tied] = chosen[np.lexsort((chosen, *words.T[::-1]))]
    return order if numbers is None else numbers[order]


def _tied(values: NDArray[np.uint64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the places in an order whose value is that of a neighbour."""
    found = [np.empty(0, np.int64)]
    for begin in range(0, len(order) - 1, _TOGETHER):
        ordered = values[order[begin : begin + _TOGETHER + 1]]
        found.append(np.flatnonzero(ordered[1:] == ordered[:-1]) + begin)
    equal = np.concatenate(found)
    return np.union1d(equal, equal + 1)


def limit(clips: pa.Table, number: int | None) -> pa.Table:
    """Takes the first `number` clips in the order of their keys' hashes, all where it is None; keeps table order."""
    if number is None or number >= len(clips):
        return clips
    return take_rows(clips, np.sort(key_order(clips)[:number]))
