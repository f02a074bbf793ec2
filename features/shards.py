"""Shards: files of feature rows, as TFRecord or as Parquet, with the same columns.

A row is the tensor as raw little-endian bytes (`features`) with `path`, `start`, `label` and `group`. A shard is
written whole or not at all, uncompressed.
"""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.atomic import AtomicFile
from features.errors import RunError
from features.parquet import read_table
from features.sources import Clip
from features.spec import FeatureSpec
from features.tfrecord import records, write_record

FORMATS = ("tfrecord", "parquet")
MAX_ROWS = 1024
MAX_BYTES = 64 * 2**20

_MAX_OPEN_FILES = 256
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


@dataclass(frozen=True)
class Shard:
    """What the manifest knows of a shard.

    Attributes:
        name: file name without its ending.
        rows: number of rows.
        bytes: size of the file.
        crc32c: CRC-32C of the file.
    """

    name: str
    rows: int
    bytes: int
    crc32c: int


class Place(NamedTuple):
    """Where the tensor of a row lies in the file of its shard.

    Attributes:
        offset: of its first byte.
        crc32c: CRC-32C of its bytes.
    """

    offset: int
    crc32c: int


@dataclass(frozen=True)
class ShardRows:
    """The content of a shard.

    Attributes:
        features: spec.storage_dtype of shape (rows, *spec.shape), read-only.
        paths: path of each row's clip.
        labels: label of each row.
    """

    features: NDArray[np.floating]
    paths: list[str]
    labels: list[str]

    def take(self, rows: NDArray[np.int64]) -> "ShardRows":
        """Returns the rows of these numbers."""
        chosen = rows.tolist()
        return ShardRows(
            self.features[chosen], [self.paths[row] for row in chosen], [self.labels[row] for row in chosen]
        )


def rows_per_shard(spec: FeatureSpec) -> int:
    """Returns how many rows a shard holds at most; it follows from the spec alone."""
    return max(1, min(MAX_ROWS, MAX_BYTES // spec.row_bytes))


def shard_path(folder: str | Path, name: str, storage_format: str) -> Path:
    """Returns where a shard of a feature set lies."""
    return Path(folder) / "shards" / f"{name}.{storage_format}"


class ShardWriter:
    """Writes a shard row by row; the file takes its name when the block ends well.

    Attributes:
        rows: number of rows so far.
    """

    def __init__(self, path: str | Path, storage_format: str, spec: FeatureSpec) -> None:
        """Begins a shard.

        Args:
            path: where it goes, named after its content.
            storage_format: `tfrecord` or `parquet`.
            spec: the front end of the rows.
        """
        self.rows = 0
        self._file = AtomicFile(path)
        self._dtype = np.dtype(spec.storage_dtype).newbyteorder("<")
        self._table = _ParquetRows(self._file, spec) if storage_format == "parquet" else None
        self._places: list[Place] = []

    def write(self, features: NDArray[np.floating], clips: Sequence[Clip]) -> None:
        """Appends rows: features of shape (rows, *spec.shape), in the spec's dtype, and the clip of each."""
        self.rows += len(clips)
        features = np.ascontiguousarray(features, dtype=self._dtype)
        if self._table is not None:
            self._table.add(features, clips)
            return
        for tensor, clip in zip(features, clips, strict=True):
            fields: dict[str, bytes | int] = {
                "path": clip.path.encode(),
                "start": clip.start,
                "label": (clip.label or "").encode(),
                "group": (clip.group or "").encode(),
            }
            self._places.append(Place(*write_record(self._file, fields, "features", tensor)))

    def finish(self) -> tuple[Shard, list[Place]]:
        """Writes what is still to be written.

        Returns:
            What the manifest shall know of the shard, and where the tensor of each row lies.
        """
        if self._table is not None:
            self._places = self._table.finish()
        name = os.path.splitext(os.path.basename(self._file.path))[0]
        return Shard(name, self.rows, self._file.num_bytes, self._file.crc32c), self._places

    def discard(self) -> None:
        """Says that nothing shall be left of it when the block ends."""
        self._file.discard()

    def __enter__(self) -> "ShardWriter":
        """Returns the writer itself."""
        self._file.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Names the file, or removes it where the block raised."""
        self._file.__exit__(kind, error, trace)


class RowReader:
    """Reads the tensors of single rows of a set's shards by their places, and proves them."""

    def __init__(self, folder: str | Path, storage_format: str, spec: FeatureSpec) -> None:
        """Takes the folder of the set; shards are opened when a row of theirs is asked for."""
        self._folder, self._storage_format = folder, storage_format
        self._dtype = np.dtype(spec.storage_dtype).newbyteorder("<")
        self._shape = spec.shape
        self._row_bytes = spec.row_bytes
        self._files: dict[str, BinaryIO] = {}

    def read(self, shard: str, place: Place) -> NDArray[np.floating] | None:
        """Returns the tensor of a row, shape spec.shape, or None where the bytes that were written are not there."""
        try:
            content = os.pread(self._file(shard).fileno(), self._row_bytes, place.offset)
        except OSError:
            return None
        if len(content) != self._row_bytes or google_crc32c.value(content) != place.crc32c:
            return None
        return np.frombuffer(content, self._dtype).reshape(self._shape)

    def __enter__(self) -> "RowReader":
        """Returns the reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the shards."""
        self._close()

    def _file(self, shard: str) -> BinaryIO:
        if shard not in self._files:
            if len(self._files) == _MAX_OPEN_FILES:
                self._close()
            path = shard_path(self._folder, shard, self._storage_format)
            self._files[shard] = open(path, "rb", buffering=0)  # noqa: SIM115 - closed in __exit__
        return self._files[shard]

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}


def read_shard(path: Path, storage_format: str, expected: Shard, spec: FeatureSpec) -> ShardRows:
    """Reads a whole shard and proves that it is the one that was written.

    Raises:
        RunError: the file is missing, or is not what the manifest says, with its name and the way out.
    """
    way_out = f"python -m features.verify {path.parent.parent} --repair computes it again from the source"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"cannot read the shard {path}: {error.strerror}; {way_out}") from error
    if len(content) != expected.bytes or google_crc32c.value(content) != expected.crc32c:
        raise RunError(
            f"the shard {path} is damaged: it has {len(content)} bytes with another checksum than the manifest's "
            f"({expected.bytes} bytes); {way_out}"
        )
    shape = (expected.rows, *spec.shape)
    dtype = np.dtype(spec.storage_dtype).newbyteorder("<")
    if storage_format == "tfrecord":
        rows = list(records(memoryview(content)))
        features = np.empty(shape, dtype=dtype)
        for row, example in enumerate(rows):
            features[row] = np.frombuffer(example["features"], dtype=dtype).reshape(spec.shape)
        features.flags.writeable = False
        paths = [str(example["path"], "utf-8") for example in rows]
        labels = [str(example["label"], "utf-8") for example in rows]
    else:
        table = read_table(pa.BufferReader(content), columns=["features", "path", "label"])
        features = np.concatenate(
            [_tensor(chunk, dtype, spec) for chunk in table["features"].chunks] or [np.empty(shape, dtype=dtype)]
        )
        features.flags.writeable = False
        paths, labels = table["path"].to_pylist(), table["label"].to_pylist()
    return ShardRows(features, paths, labels)


class _ParquetRows:
    """Writes rows into a Parquet file, row group by row group."""

    def __init__(self, file: AtomicFile, spec: FeatureSpec) -> None:
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
        for tensor, clip in zip(features, clips, strict=True):
            self._features[len(self._clips)] = tensor
            self._clips.append(clip)
            if len(self._clips) == _ROW_GROUP_ROWS:
                self._write_group()

    def finish(self) -> list[Place]:
        if self._clips:
            self._write_group()
        self._writer.close()
        return self._places

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


def _tensor(chunk: pa.BinaryArray, dtype: np.dtype[np.floating], spec: FeatureSpec) -> NDArray[np.floating]:
    """Views the bytes of a column as (rows, *spec.shape), without copying."""
    offsets = np.frombuffer(chunk.buffers()[1], dtype=np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
    if len(chunk) and not (np.diff(offsets) == spec.row_bytes).all():
        raise ValueError(f"a row has other than {spec.row_bytes} bytes")
    count = (int(offsets[-1]) - int(offsets[0])) // dtype.itemsize
    flat = np.frombuffer(chunk.buffers()[2], dtype=dtype, count=count, offset=int(offsets[0]))
    return flat.reshape(len(chunk), *spec.shape)
