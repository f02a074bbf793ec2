"""An earlier table, of which the rows of recordings that are as they were are taken over into a new one.

A table's rows are in the order of its recordings, so that those of each are one piece of it, as large as was noted when
it was written: its extent, in bytes of a text or in rows of Parquet.
"""

import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.io.entry import AnyPath
from features.io.filesystem import filesystem_of

_READ_BYTES = 8 * 2**20
_PIECES_AT_ONCE = 1_000


@dataclass(frozen=True)
class Written:
    """What a file was when it was written.

    Attributes:
        num_bytes: its size.
        crc32c: CRC-32C of its bytes.
    """

    num_bytes: int
    crc32c: int


def written_at(place: AnyPath) -> Written:
    """Reads a file through and returns what it is now; raises `OSError` where it cannot be read."""
    files, size, crc32c = filesystem_of(place), 0, 0
    while part := files.read_range(place, size, _READ_BYTES):
        size += len(part)
        crc32c = google_crc32c.extend(crc32c, part)
    return Written(size, crc32c)


@dataclass(frozen=True, eq=False)
class Pieces:
    """Pieces of two tables that make up a third, in its order: arrays of shape (pieces,).

    Attributes:
        are_new: whether each is of the new table, and not of the earlier one.
        starts: where each begins in its table, after the header.
        sizes: how much it is.
    """

    are_new: NDArray[np.bool_]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __iter__(self) -> Iterator[tuple[bool, int, int]]:
        """Yields the pieces."""
        return zip(self.are_new.tolist(), self.starts.tolist(), self.sizes.tolist(), strict=True)


@dataclass(frozen=True, eq=False)
class Merge:
    """How a table goes on from an earlier one.

    Attributes:
        place: of the earlier table.
        earlier: its recordings, in its order.
        extents: of them, int64 of shape (earlier recordings,).
        recordings: of the table that is made, in its order, which is that of the earlier one for those of both.
        kept: whose rows are the earlier ones, bool of shape (recordings,).
    """

    place: AnyPath
    earlier: pa.ChunkedArray
    extents: NDArray[np.int64]
    recordings: pa.ChunkedArray
    kept: NDArray[np.bool_]

    def pieces(self, extents_of: Callable[[pa.ChunkedArray], NDArray[np.int64]]) -> Pieces:
        """Returns of which pieces the table consists; `extents_of` returns the new extents of recordings."""
        sizes = np.where(self.kept, 0, extents_of(self.recordings))
        starts = np.cumsum(sizes) - sizes
        numbers = pc.index_in(self.recordings.filter(pa.array(self.kept)), value_set=self.earlier).to_numpy()
        sizes[self.kept] = self.extents[numbers]
        starts[self.kept] = (np.cumsum(self.extents) - self.extents)[numbers]
        of_any = sizes > 0
        are_new, starts, sizes = ~self.kept[of_any], starts[of_any], sizes[of_any]
        begins = np.ones(len(sizes), np.bool_)  # whether one does not follow the one before it in the same table
        begins[1:] = (are_new[1:] != are_new[:-1]) | (starts[1:] != starts[:-1] + sizes[:-1])
        first = np.flatnonzero(begins)
        return Pieces(are_new[first], starts[first], np.add.reduceat(sizes, first) if len(first) else sizes)


def text_pieces(earlier: str, new: str, header_bytes: int, pieces: Pieces) -> Iterator[list[memoryview]]:
    """Yields the bytes of pieces, some at a time.

    Args:
        earlier: path of the earlier table.
        new: path of that of the new rows.
        header_bytes: that stand before the rows in either.
        pieces: what is wanted.
    """
    views = _view(earlier), _view(new)
    waiting: list[memoryview] = []
    for is_new, start, size in pieces:
        waiting.append(views[is_new][header_bytes + start : header_bytes + start + size])
        if len(waiting) == _PIECES_AT_ONCE:
            yield waiting
            waiting = []
    yield waiting


def parquet_pieces(earlier: str, new: str, pieces: Pieces) -> Iterator[pa.Table]:
    """Yields the rows of pieces; see `text_pieces`."""
    with pq.ParquetFile(earlier) as earlier_file, pq.ParquetFile(new) as new_file:
        rows = [_Rows(earlier_file), _Rows(new_file)]
        for is_new, start, size in pieces:
            yield from rows[is_new].read(start, size)


class _Rows:
    """Reads rows from the front to the back, a row group at a time."""

    def __init__(self, file: pq.ParquetFile) -> None:
        self._file, self._group, self._first = file, 0, 0
        self._table = file.schema_arrow.empty_table()

    def read(self, start: int, size: int) -> Iterator[pa.Table]:
        while size:
            while start >= self._first + len(self._table):
                self._first += len(self._table)
                self._table = self._file.read_row_group(self._group)
                self._group += 1
            piece = self._table.slice(start - self._first, size)
            yield piece
            start, size = start + len(piece), size - len(piece)


def _view(path: str) -> memoryview:
    """Returns the bytes of a file, which are mapped as long as any of them is in use."""
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
