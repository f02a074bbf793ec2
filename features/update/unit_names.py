"""What units are called: by a hash of what they shall hold, so that the next run finds those that this one finished."""

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.update.changes import Changes

_NAME_DIGITS = 24
_NAMED = ["path", "start", "duration", "size", "mtime_ns", "label", "group", "partition", "content_hash", "version"]
# Clips that are taken together: few enough for the memory of a core, many enough that columns count and not calls.
_TAKEN_CLIPS = 16_384
_THREADS = 2  # most of the work is Arrow's and that of hashes
_AS_IT_IS = bytes({*range(0x20, 0x7F)} - {*b'"\\'})  # bytes of strings that JSON in ASCII writes as they are


def unit_digests(changes: Changes, units: Sequence[NDArray[np.int64]], salt: str) -> Iterator[str]:
    """Yields of each unit a digest of what its clips are; those of many are taken together.

    Args:
        changes: the clips.
        units: numbers of the clips of each.
        salt: what else the digests are of.
    """
    rest = _together(units)
    # What is known of the clips is put on disk when it is first taken: once, and not by each thread.
    yield from _digests(changes, next(rest, []), salt)
    ahead: deque[Future[list[str]]] = deque()
    with ThreadPoolExecutor(_THREADS) as threads:
        for together in rest:
            ahead.append(threads.submit(_digests, changes, together, salt))
            if len(ahead) > _THREADS:
                yield from ahead.popleft().result()
        for future in ahead:
            yield from future.result()


def _together(units: Sequence[NDArray[np.int64]]) -> Iterator[Sequence[NDArray[np.int64]]]:
    ends = np.cumsum([len(clips) for clips in units], dtype=np.int64)
    first = 0
    while first < len(units):
        last = max(first + 1, int(np.searchsorted(ends, ends[first] - len(units[first]) + _TAKEN_CLIPS, "right")))
        yield units[first:last]
        first = last


def _digests(changes: Changes, units: Sequence[NDArray[np.int64]], salt: str) -> list[str]:
    if not units:
        return []
    bounds = np.cumsum([len(clips) for clips in units]).tolist()
    taken = changes.take(np.concatenate(units)).select(_NAMED)
    columns = [column.combine_chunks() for column in taken.columns]
    written = [_json_lists(column, bounds) for column in columns]
    with_version = set(np.searchsorted(bounds, np.flatnonzero(columns[-1].is_valid()), "right").tolist())
    digests = []
    for unit in range(len(units)):
        # Without versions the names are those of before there were any.
        values = [lists[unit] for lists in (written if unit in with_version else written[:-1])]
        digest = hashlib.sha256(f"{salt}[[{'],['.join(values)}]]".encode())
        digests.append(digest.hexdigest()[:_NAME_DIGITS])
    return digests


def _json_lists(column: pa.Array, ends: Sequence[int]) -> list[str]:
    """Returns for each unit what `json.dumps` writes of its values, without spaces and brackets."""
    lengths = np.diff([0, *ends]).tolist()
    if column.null_count == len(column):
        return [",".join(["null"] * length) for length in lengths]
    if pa.types.is_dictionary(column.type):
        column = pa.DictionaryArray.from_arrays(column.indices, _json(column.dictionary)).dictionary_decode()
    elif column.null_count or not pa.types.is_string(column.type) or _is_escaped(column):
        column = _json(column)
    else:  # nothing is to be done to a value but to put it between quotation marks
        return [f'"{joined}"' for joined in _joined(column, ends, '","')]
    return _joined(column.fill_null("null"), ends, ",")


def _joined(column: pa.StringArray, ends: Sequence[int], separator: str) -> list[str]:
    lists = pa.ListArray.from_arrays(pa.array([0, *ends], pa.int32()), column)
    joined: list[str] = pc.binary_join(lists, separator).to_pylist()
    return joined


def _is_escaped(values: pa.StringArray) -> bool:
    """Returns whether JSON writes a value otherwise than between quotation marks."""
    first, last = np.frombuffer(values.buffers()[1], np.int32)[values.offset :][[0, len(values)]].tolist()
    return bool(memoryview(values.buffers()[2] or b"")[first:last].tobytes().translate(None, _AS_IT_IS))


def _json(values: pa.Array) -> pa.StringArray:
    """Returns what `json.dumps` writes of each value that is not null."""
    if not pa.types.is_string(values.type):
        return values.cast(pa.string())
    if _is_escaped(values):
        return pa.array((None if value is None else json.dumps(value) for value in values.to_pylist()), pa.string())
    return pc.binary_join_element_wise('"', values, '"', "")
