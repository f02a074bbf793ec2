"""Shards: files of feature rows, as TFRecord or as Parquet, with the same columns.

A row is the tensor as raw little-endian bytes (`features`) with `path`, `start`, `label` and `group`. A shard is
written whole or not at all, uncompressed.
"""

import math
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.errors import RunError
from features.frontend.spec import FeatureSpec
from features.io.filesystem import Location, filesystem_of
from features.io.populate import populate
from features.io.tfrecord import records, write_records
from features.runtime.invocation import command_line
from features.sources.clips import Clip
from features.store.layout import Layout
from features.store.parquet_rows import ParquetRows, Place
from features.store.parquet_tensors import tensor_offsets

MAX_ROWS, MAX_WINDOWS = 1024, 64
MAX_BYTES = 64 * 2**20


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


@dataclass(frozen=True)
class ShardRows:
    """The content of a shard.

    Attributes:
        tensors: features of each row, spec.storage_dtype of shape spec.shape, views into what was read, read-only.
        paths: path of each row's clip.
        labels: label of each row.
        groups: group of each row, empty where its clip has none.
    """

    tensors: list[NDArray[np.floating]]
    paths: list[str]
    labels: list[str]
    groups: list[str]

    @property
    def features(self) -> NDArray[np.floating]:
        """The tensors together, spec.storage_dtype of shape (rows, *spec.shape): a copy."""
        return np.stack(self.tensors)

    def take(self, rows: NDArray[np.int64]) -> "ShardRows":
        """Returns the rows of these numbers, and keeps no others alive."""
        chosen = rows.tolist()
        return ShardRows(
            [self.tensors[row].copy() for row in chosen],
            [self.paths[row] for row in chosen],
            [self.labels[row] for row in chosen],
            [self.groups[row] for row in chosen],
        )


def rows_per_shard(spec: FeatureSpec) -> int:
    """Returns how many rows a shard holds at most; it follows from the spec alone.

    A window of a network takes a hundred times as long as a spectrogram: shards are smaller, so that a few hundred
    clips are work for several workers.
    """
    most = MAX_ROWS
    if spec.network_name is not None:
        most = MAX_WINDOWS if spec.clip_samples is None else MAX_WINDOWS // spec.count_frames(spec.clip_samples)
    return max(1, min(most, MAX_BYTES // spec.row_bytes))


class ShardWriter:
    """Writes a shard row by row; the file takes its name when the block ends well.

    Attributes:
        rows: number of rows so far.
    """

    def __init__(self, layout: Layout, name: str, spec: FeatureSpec) -> None:
        """Begins a shard.

        Args:
            layout: of the feature set.
            name: of the shard, which follows from its content.
            spec: the front end of the rows.
        """
        self.rows = 0
        self._name = name
        self._file = layout.files.begin(layout.shard(name))
        self._dtype = np.dtype(spec.storage_dtype).newbyteorder("<")
        self._storage_format, self._spec = layout.storage_format, spec
        self._table: ParquetRows | None = None
        self._places: list[Place] = []

    def write(self, features: NDArray[np.floating], clips: Sequence[Clip]) -> None:
        """Appends rows: features of shape (rows, *spec.shape), in the spec's dtype, and the clip of each."""
        self.rows += len(clips)
        features = np.ascontiguousarray(features, dtype=self._dtype)
        if self._storage_format == "parquet":
            self._table = self._table or ParquetRows(self._file, self._spec)
            self._table.add(features, clips)
            return
        fields: list[dict[str, bytes | int]] = [
            {
                "path": clip.path.encode(),
                "start": clip.start,
                "label": (clip.label or "").encode(),
                "group": (clip.group or "").encode(),
            }
            for clip in clips
        ]
        self._places += (Place(*place) for place in write_records(self._file, fields, "features", features))

    def finish(self) -> tuple[Shard, list[Place]]:
        """Writes what is still to be written.

        Returns:
            What the manifest shall know of the shard, and where the tensor of each row lies.
        """
        if self._table is not None:
            self._places = self._table.finish()
        return Shard(self._name, self.rows, self._file.num_bytes, self._file.crc32c), self._places

    def discard(self) -> None:
        """Has nothing left of it when the block ends."""
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


def read_shard(
    layout: Layout,
    expected: Shard,
    spec: FeatureSpec,
    memory: NDArray[np.uint8] | None = None,
    is_mapped: bool = False,
) -> ShardRows:
    """Reads a whole shard and checks that it is the one that was written.

    Args:
        layout: of the feature set.
        expected: what the manifest knows of it.
        spec: the front end of its rows.
        memory: what is read into, expected.bytes at least, and then viewed by the rows; None for memory of their own,
            which is slower.
        is_mapped: whether the rows view the file itself where it lies in a folder, and no memory is taken. It is not
            to be cut off meanwhile.

    Raises:
        RunError: the file is missing, or is not what the manifest says, with its name and the way out.
    """
    content = checked_content(layout, expected, memory, is_mapped)
    dtype = np.dtype(spec.storage_dtype).newbyteorder("<")
    if layout.storage_format == "tfrecord":
        rows = list(records(content.data))
        tensors = [np.frombuffer(example["features"], dtype=dtype).reshape(spec.shape) for example in rows]
        paths, labels, groups = (
            [str(example[name], "utf-8") for example in rows] for name in ("path", "label", "group")
        )
    else:
        with pq.ParquetFile(pa.BufferReader(pa.py_buffer(content))) as file:
            offsets = tensor_offsets(content, file.metadata, spec.row_bytes)
            table = file.read(["path", "label", "group"] if offsets is not None else None)
        if offsets is not None:
            tensors = _viewed(content, dtype, spec, offsets)
        else:
            tensors = [row for chunk in table["features"].chunks for row in _tensor(chunk, dtype, spec)]
        paths, labels, groups = (table[name].to_pylist() for name in ("path", "label", "group"))
    return ShardRows(tensors, paths, labels, groups)


def read_tensors(
    layout: Layout,
    expected: Shard,
    spec: FeatureSpec,
    offsets: Sequence[int],
    memory: NDArray[np.uint8] | None = None,
) -> list[NDArray[np.floating]]:
    """Reads the tensors of some rows of a shard, by where they lie: what else stands in it is not parsed.

    Args:
        layout: of the feature set.
        expected: what the manifest knows of the shard.
        spec: the front end of its rows.
        offsets: of the first byte of each, as the clips table has it.
        memory: as in `read_shard`.

    Raises:
        RunError: as in `read_shard`; the checksum is that of the whole file here too.
    """
    content = checked_content(layout, expected, memory)
    return _viewed(content, np.dtype(spec.storage_dtype).newbyteorder("<"), spec, offsets)


def _viewed(
    content: NDArray[np.uint8], dtype: np.dtype[np.floating], spec: FeatureSpec, offsets: Sequence[int]
) -> list[NDArray[np.floating]]:
    count = math.prod(spec.shape)
    return [np.frombuffer(content, dtype, count, offset).reshape(spec.shape) for offset in offsets]


def checked_content(
    layout: Layout, expected: Shard, memory: NDArray[np.uint8] | None = None, is_mapped: bool = False
) -> NDArray[np.uint8]:
    """Returns the bytes of a shard, read-only, or raises `RunError` where they are not those that were written.

    Args:
        layout: of the feature set.
        expected: what the manifest knows of the shard.
        memory: as in `read_shard`.
        is_mapped: as in `read_shard`.
    """
    path = layout.shard(expected.name)
    way_out = f"{command_line('features.verify', layout.root, '--repair')} computes it again from the source"
    try:
        if is_mapped and isinstance(path, Path):
            content, size = _mapped(path, expected)
        else:
            content, size = _read_into(np.empty(expected.bytes, np.uint8) if memory is None else memory, path, expected)
    except OSError as error:
        raise RunError(f"cannot read the shard {path}: {error.strerror}; {way_out}") from error
    if not len(content) == size == expected.bytes or google_crc32c.value(content) != expected.crc32c:
        raise RunError(
            f"the shard {path} is damaged: it has {size} bytes with another checksum than the manifest's "
            f"({expected.bytes} bytes); {way_out}"
        )
    content.flags.writeable = False
    return content


def _mapped(path: Path, expected: Shard) -> tuple[NDArray[np.uint8], int]:
    """Returns a shard's file where the system has it, and its size; nothing of one that has not the size it should."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size != expected.bytes:
            return np.empty(0, np.uint8), size
        content = np.frombuffer(mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ), np.uint8)
    populate(content)
    return content, size


def _read_into(memory: NDArray[np.uint8], path: Location, expected: Shard) -> tuple[NDArray[np.uint8], int]:
    """Reads a shard's file into memory, as many bytes as it should have; returns what was filled and its real size."""
    if not isinstance(path, Path):
        whole = np.frombuffer(filesystem_of(path).read(path), np.uint8)
        count = min(len(whole), expected.bytes)
        memory[:count] = whole[:count]
        return memory[:count], len(whole)
    count = 0
    with open(path, "rb", buffering=0) as file:
        while count < expected.bytes and (read := file.readinto(memory[count : expected.bytes].data)):
            count += read
        return memory[:count], os.fstat(file.fileno()).st_size


def _tensor(chunk: pa.BinaryArray, dtype: np.dtype[np.floating], spec: FeatureSpec) -> NDArray[np.floating]:
    """Views the bytes of a column as (rows, *spec.shape), without copying."""
    offsets = np.frombuffer(chunk.buffers()[1], dtype=np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
    if len(chunk) and not (np.diff(offsets) == spec.row_bytes).all():
        raise ValueError(f"a row has other than {spec.row_bytes} bytes")
    count = (int(offsets[-1]) - int(offsets[0])) // dtype.itemsize
    flat = np.frombuffer(chunk.buffers()[2], dtype=dtype, count=count, offset=int(offsets[0]))
    flat.flags.writeable = False
    return flat.reshape(len(chunk), *spec.shape)
