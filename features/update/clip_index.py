"""Finds clips by their keys, path and first frame, among what a state knows."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from features.io.take import take_rows
from features.update.known_lines import NOTHING, KnownLines

KEY_COLUMNS = ["path", "start"]
_PLACED = ["label", "group", "partition"]
_TOGETHER = 65_536
_START_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd: other starts are other hashes of one path


class ClipIndex:
    """Numbers of clips by hashes of their keys: 12 bytes a clip, 20 while it is made."""

    def __init__(self, clips: pa.Table) -> None:
        """Takes a table of path and start, which it keeps."""
        self._keys = clips.select(KEY_COLUMNS)
        hashes = _hashes(self._keys)
        numbers = np.argsort(hashes)
        hashes.sort()
        self._hashes, self._numbers = hashes, numbers.astype(np.min_scalar_type(len(numbers)))

    def find(self, table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the lines of another table whose key a clip has, and the numbers of these clips.

        Equal hashes are only where to look: keys are compared as a whole.
        """
        hashes = _hashes(table)
        ordered = np.argsort(hashes)  # so that places follow each other in memory
        places = np.empty(len(hashes), np.int64)
        places[ordered] = np.searchsorted(self._hashes, hashes[ordered])
        lines = np.arange(len(hashes))
        found = [(lines[:0], lines[:0])]
        while len(lines):
            there = places < len(self._hashes)
            there[there] = self._hashes[places[there]] == hashes[lines[there]]
            lines, places = lines[there], places[there]
            numbers = self._numbers[places].astype(np.int64)
            asked, known = take_rows(table.select(KEY_COLUMNS), lines), take_rows(self._keys, numbers)
            equal = np.ones(len(lines), bool)
            for name in KEY_COLUMNS:
                equal &= np.asarray(pc.equal(asked[name], known[name]), np.bool_)
            found.append((lines[equal], numbers[equal]))
            places = places + 1
        return np.concatenate([one for one, _ in found]), np.concatenate([other for _, other in found])


@dataclass(frozen=True)
class Found:
    """Which clip is which line of a state by its key, and in what else the two are equal.

    Attributes:
        same: for each clip the first line that has its key, `NOTHING` where none has. False for such a clip are:
        sized: whether they have the same duration and size.
        timed: whether they have the same modification time.
        versioned: whether both have a version, and the same.
        placed: whether they have the same label, group and partition.
        was_object: whether the line has a version.
        is_of_clip: for each line whether a clip has its key.
    """

    same: NDArray[np.int64]
    sized: NDArray[np.bool_]
    timed: NDArray[np.bool_]
    versioned: NDArray[np.bool_]
    placed: NDArray[np.bool_]
    was_object: NDArray[np.bool_]
    is_of_clip: NDArray[np.bool_]


def find_lines(clips: pa.Table, lines: KnownLines) -> Found:
    """Goes through the lines once, and compares each with the clip that has its key.

    Args:
        clips: table of path, start, duration, size, mtime_ns, version, label, group, partition.
        lines: of the state; they have their attributes then.
    """
    index, first, is_of_clip = None, 0, [np.empty(0, bool)]
    same = np.full(len(clips), NOTHING)
    sized, timed, versioned, placed, was_object = (np.zeros(len(clips), bool) for _ in range(5))
    for part in lines.parts():
        index = index or ClipIndex(clips)
        of_part, numbers = index.find(part)
        is_of_clip.append(np.bincount(of_part, minlength=len(part)) > 0)
        new = same[numbers] == NOTHING
        of_part, numbers = of_part[new], numbers[new]
        same[numbers[::-1]] = first + of_part[::-1]  # the first line of several is what stays
        new = same[numbers] == first + of_part
        of_part, numbers = of_part[new], numbers[new]
        clip, line = take_rows(clips.drop_columns(KEY_COLUMNS), numbers), take_rows(part, of_part)
        sized[numbers] = (numbers_of(clip, "duration") == numbers_of(line, "duration")) & (
            numbers_of(clip, "size") == numbers_of(line, "size")
        )
        timed[numbers] = numbers_of(clip, "mtime_ns") == numbers_of(line, "mtime_ns")
        versioned[numbers] = equal_values(clip["version"], line["version"])
        placed[numbers] = np.logical_and.reduce([equal_values(clip[name], line[name]) for name in _PLACED])
        was_object[numbers] = np.asarray(line["version"].is_valid(), np.bool_)
        first += len(part)
    return Found(same, sized, timed, versioned, placed, was_object, np.concatenate(is_of_clip))


def numbers_of(table: pa.Table, name: str) -> NDArray[np.int64]:
    """Returns a column of whole numbers, `NOTHING` where it is null."""
    return np.asarray(table[name].fill_null(NOTHING), np.int64)


def equal_values(column: pa.ChunkedArray, other: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Returns where two columns have the same value, false where it is null."""
    if column.null_count == len(column) or other.null_count == len(other):
        return np.zeros(len(column), bool)
    if pa.types.is_dictionary(column.type):
        # Numbers of one list of values: the longer of the two columns has few.
        values = column.combine_chunks()
        others = other.combine_chunks()
        others = others if pa.types.is_dictionary(others.type) else others.dictionary_encode()
        renumbered = pc.index_in(others.dictionary, value_set=values.dictionary).take(others.indices)
        return np.asarray(pc.equal(values.indices.cast(pa.int32()), renumbered).fill_null(False), np.bool_)
    return np.asarray(pc.equal(column, other.cast(column.type)).fill_null(False), np.bool_)


def _hashes(table: pa.Table) -> NDArray[np.uint64]:
    """Returns a hash of each key."""
    hashes = np.empty(len(table), np.uint64)
    first = 0
    for batch in table.select(KEY_COLUMNS).to_batches(max_chunksize=_TOGETHER):
        paths = batch["path"].cast(pa.binary()).to_pylist()
        of_paths = np.fromiter(map(xxhash.xxh3_64_intdigest, paths), np.uint64, len(paths))
        hashes[first : first + len(paths)] = of_paths ^ (batch["start"].to_numpy().astype(np.uint64) * _START_FACTOR)
        first += len(paths)
    return hashes
