"""The rows of a shard in a Parquet file, written row group by row group, each found in the pages that they become."""

import contextlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.io.atomic import AtomicFile
from features.io.crc32c import joined_crc32c
from features.sources.clips import Clip

# Small enough that a reader of single rows does not read the whole shard.
_ROW_GROUP_ROWS = 128
# A page ends with the batch in which it comes to 1 MiB: with less of them at a time, pages fit into a core's cache.
_BATCH_BYTES = 2**20
_SCHEMA = pa.schema(
    [
        pa.field("features", pa.binary(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
    ]
)


class Place(NamedTuple):
    """Where the tensor of a row lies in the file of its shard.

    Attributes:
        offset: of its first byte.
        crc32c: CRC-32C of its bytes.
    """

    offset: int
    crc32c: int


class ParquetRows:
    """Writes rows into a Parquet file, row group by row group."""

    def __init__(self, file: AtomicFile, spec: FeatureSpec) -> None:
        """Begins the file."""
        dtype = np.dtype(spec.storage_dtype).newbyteorder("<")
        self._features = np.empty((_ROW_GROUP_ROWS, *spec.shape), dtype=dtype)
        self._offsets = np.arange(_ROW_GROUP_ROWS + 1, dtype=np.int32) * np.int32(spec.row_bytes)
        self._clips: list[Clip] = []
        self._pages = _Pages(file, spec.row_bytes)
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._pages, mode="w"),
            _SCHEMA,
            compression="none",
            use_dictionary=["label"],
            write_statistics=False,
            store_schema=False,
            write_batch_size=max(1, min(_ROW_GROUP_ROWS, _BATCH_BYTES // spec.row_bytes)),
        )

    def add(self, features: NDArray[np.floating], clips: Sequence[Clip]) -> None:
        """Appends rows: features of shape (rows, *spec.shape), little-endian, and the clip of each."""
        for tensor, clip in zip(features, clips, strict=True):
            self._features[len(self._clips)] = tensor
            self._clips.append(clip)
            if len(self._clips) == _ROW_GROUP_ROWS:
                self._write_group()

    def finish(self) -> list[Place]:
        """Ends the file and returns where the tensor of each row lies."""
        if self._clips:
            self._write_group()
        self._writer.close()
        return self._pages.places

    def abandon(self) -> None:
        """Ends the file, which is of no use any more, while it can be written."""
        with contextlib.suppress(Exception):
            self._writer.close()

    def _write_group(self) -> None:
        clips = self._clips
        buffers = [None, pa.py_buffer(self._offsets), pa.py_buffer(self._features)]
        columns = [
            pa.Array.from_buffers(pa.binary(), len(clips), buffers),
            pa.array([clip.path for clip in clips], pa.string()),
            pa.array([clip.start for clip in clips], pa.int64()),
            pa.array([clip.label or "" for clip in clips], pa.string()),
            pa.array([clip.group or "" for clip in clips], pa.string()),
        ]
        self._pages.expected = len(clips)
        self._writer.write_table(pa.Table.from_arrays(columns, schema=_SCHEMA), row_group_size=len(clips))
        if self._pages.expected:
            raise ValueError("rows are not in their shard as they were written")
        self._clips = []


class _Pages:
    """What pyarrow writes to: a file, in which it is noted where the tensors of rows lie.

    A page of plain values has for each its length and its bytes, and is written in one piece.

    Attributes:
        places: of the rows so far.
        expected: rows of a group that are to come: their pages are its first.
    """

    def __init__(self, file: AtomicFile, row_bytes: int) -> None:
        self._file, self._row_bytes = file, row_bytes
        self._length = struct.pack("<I", row_bytes)
        self.places: list[Place] = []
        self.expected = 0

    @property
    def closed(self) -> bool:
        """Whether the file is; pyarrow asks before it writes."""
        return self._file.closed

    def write(self, content: bytes) -> int:
        """Writes what pyarrow gives; raises `RunError` where no space is left."""
        step = len(self._length) + self._row_bytes
        if not self.expected or not content.startswith(self._length) or len(content) % step:
            return self._file.write(content)
        rows = np.frombuffer(content, np.uint8).reshape(-1, step)
        begin, whole = self._file.num_bytes, self._file.crc32c
        for number, row in enumerate(rows[:, len(self._length) :]):
            crc32c = google_crc32c.value(row)
            # What stands before it is its length, or the page is none.
            whole = joined_crc32c(google_crc32c.extend(whole, self._length), crc32c, self._row_bytes)
            self.places.append(Place(begin + number * step + len(self._length), crc32c))
        if not (rows[:, : len(self._length)] == rows[0, : len(self._length)]).all():
            raise ValueError("a page of a shard holds something else than rows")
        self.expected -= len(rows)
        return self._file.write(content, crc32c=whole)
