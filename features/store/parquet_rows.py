"""The rows of a shard in a Parquet file, written page by page from where their features lie."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.io.atomic import AtomicFile
from features.io.crc32c import joined_crc32c
from features.io.plain_parquet import MAGIC, Chunk, Column, RowGroup, footer, numbers_page, page_header, texts_page
from features.sources.clips import Clip

# Small enough that a reader of single rows does not read the whole shard; a power of two, as the rows of a page are.
_ROW_GROUP_ROWS = 128
# File systems take longer for the same bytes in smaller pieces, and larger ones leave a core's cache.
_WRITTEN_BYTES = 2**19
_COLUMNS = (
    Column("features"),
    Column("path", is_text=True),
    Column("start", is_number=True),
    Column("label", is_text=True),
    Column("group", is_text=True),
)


def rows_written_together(spec: FeatureSpec) -> int:
    """Returns how many rows of features are best written at once, a power of two; of Parquet they are a page."""
    most = max(1, min(_ROW_GROUP_ROWS, _WRITTEN_BYTES // spec.row_bytes))
    return 1 << (most.bit_length() - 1)


class Place(NamedTuple):
    """Where the tensor of a row lies in the file of its shard.

    Attributes:
        offset: of its first byte.
        crc32c: CRC-32C of its bytes.
    """

    offset: int
    crc32c: int


class ParquetRows:
    """Writes rows into a Parquet file. Which rows a page has does not depend on how they come."""

    def __init__(self, file: AtomicFile, spec: FeatureSpec) -> None:
        """Begins the file."""
        dtype = np.dtype(spec.storage_dtype).newbyteorder("<")
        self._file = file
        self._length = struct.pack("<I", spec.row_bytes)
        self._page = np.empty((rows_written_together(spec), *spec.shape), dtype=dtype)
        self._held = 0  # rows of a page that is not full
        self._clips: list[Clip] = []  # of the rows that are in no group yet
        self._groups: list[RowGroup] = []
        self._places: list[Place] = []
        self._file.write(MAGIC)
        self._group_offset, self._group_rows = self._file.num_bytes, 0  # of the pages so far of a group

    def add(self, features: NDArray[np.floating], clips: Sequence[Clip]) -> None:
        """Appends rows: features of shape (rows, *spec.shape), little-endian and contiguous, and the clip of each."""
        self._clips += clips
        first, whole = 0, len(self._page)
        while first < len(features):
            taken = min(whole - self._held, len(features) - first)
            rows = features[first : first + taken]
            first += taken
            if taken < whole:
                self._page[self._held : self._held + taken] = rows
                rows, self._held = self._page, self._held + taken
                if self._held < whole:
                    return
            self._write_page(rows)

    def finish(self) -> list[Place]:
        """Ends the file and returns where the tensor of each row lies."""
        if self._held:
            self._write_page(self._page[: self._held])
        if self._group_rows:
            self._end_group()
        self._file.write(footer(_COLUMNS, self._groups))
        return self._places

    def _write_page(self, rows: NDArray[np.floating]) -> None:
        """Writes a page of features: of each its length, and its bytes as they stand in memory."""
        row_bytes = rows[0].nbytes
        whole, end = self._file.crc32c, self._file.num_bytes
        parts: list[bytes | NDArray[np.generic]] = []
        before = page_header(len(rows), len(rows) * (len(self._length) + row_bytes)) + self._length
        for row in rows:
            crc32c = google_crc32c.value(row)
            whole = joined_crc32c(google_crc32c.extend(whole, before), crc32c, row_bytes)
            end += len(before)
            self._places.append(Place(end, crc32c))
            end += row_bytes
            parts += before, row
            before = self._length
        self._file.write(*parts, crc32c=whole)
        self._held, self._group_rows = 0, self._group_rows + len(rows)
        if self._group_rows == _ROW_GROUP_ROWS:
            self._end_group()

    def _end_group(self) -> None:
        """Writes the other columns of a group."""
        clips, self._clips = self._clips[: self._group_rows], self._clips[self._group_rows :]
        chunks = [Chunk(self._group_offset, self._file.num_bytes - self._group_offset)]
        for page in (
            texts_page([clip.path.encode() for clip in clips]),
            numbers_page([clip.start for clip in clips]),
            texts_page([(clip.label or "").encode() for clip in clips]),
            texts_page([(clip.group or "").encode() for clip in clips]),
        ):
            chunks.append(Chunk(self._file.num_bytes, len(page)))
            self._file.write(page)
        self._groups.append(RowGroup(self._group_rows, tuple(chunks)))
        self._group_offset, self._group_rows = self._file.num_bytes, 0
