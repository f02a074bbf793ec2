"""The rows of a shard in a Parquet file, written row group by row group, each found again in what was written."""

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
from features.sources.clips import Clip

_SEARCHED_BYTES = 64
# Small enough that a reader of single rows does not read the whole shard.
_ROW_GROUP_ROWS = 128
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
        self._file = file
        dtype = np.dtype(spec.storage_dtype).newbyteorder("<")
        self._features = np.empty((_ROW_GROUP_ROWS, *spec.shape), dtype=dtype)
        self._offsets = np.arange(_ROW_GROUP_ROWS + 1, dtype=np.int32) * np.int32(spec.row_bytes)
        self._clips: list[Clip] = []
        self._places: list[Place] = []
        self._writer = pq.ParquetWriter(
            pa.PythonFile(file, mode="w"),
            _SCHEMA,
            compression="none",
            use_dictionary=["label"],
            write_statistics=False,
            store_schema=False,
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
        return self._places

    def abandon(self) -> None:
        """Ends the file, which is of no use any more, while it can be written."""
        with contextlib.suppress(Exception):
            self._writer.close()

    def _write_group(self) -> None:
        clips, begin = self._clips, self._file.num_bytes
        buffers = [None, pa.py_buffer(self._offsets), pa.py_buffer(self._features)]
        columns = [
            pa.Array.from_buffers(pa.binary(), len(clips), buffers),
            pa.array([clip.path for clip in clips], pa.string()),
            pa.array([clip.start for clip in clips], pa.int64()),
            pa.array([clip.label or "" for clip in clips], pa.string()),
            pa.array([clip.group or "" for clip in clips], pa.string()),
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=_SCHEMA), row_group_size=len(clips))
        self._places += _places(self._file, begin, self._features[: len(clips)])
        self._clips = []


def _places(file: AtomicFile, begin: int, features: NDArray[np.floating]) -> list[Place]:
    """Finds rows from a place of a Parquet file on, where each stands in its length and its bytes, in order."""
    places: list[Place] = []
    with file.view() as content:
        written = np.frombuffer(content, np.uint8)
        end = begin
        for tensor in features:
            row = tensor.reshape(-1).view(np.uint8)
            length = struct.pack("<I", len(row))
            start = length + row[:_SEARCHED_BYTES].tobytes()
            offset = -1
            while offset < 0:
                found = content.find(start, end)
                if found < 0:
                    raise ValueError("a row is not in its shard as it was written")
                if np.array_equal(written[found + len(length) : found + len(length) + len(row)], row):
                    offset = found + len(length)
                end = found + 1
            places.append(Place(offset, google_crc32c.value(row)))
            end = offset + len(row)
        del written  # it holds the mapping
    return places
