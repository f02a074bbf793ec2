"""Shards: files of feature rows, as TFRecord or as Parquet, with the same columns.

A row is the tensor as raw little-endian bytes (`features`) with `path`, `start`, `label` and `group`. A shard is
written whole or not at all, uncompressed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.atomic import AtomicFile
from features.errors import RunError
from features.sources import Clip
from features.spec import FeatureSpec
from features.tfrecord import records, write_record

FORMATS = ("tfrecord", "parquet")
MAX_ROWS = 1024
MAX_BYTES = 64 * 2**20

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


def write_shard(
    path: str | Path, storage_format: str, features: NDArray[np.floating], clips: Sequence[Clip]
) -> tuple[Shard, list[int | None]]:
    """Writes a shard.

    Args:
        path: where it goes, named after its content.
        storage_format: `tfrecord` or `parquet`.
        features: shape (rows, *spec.shape), in the spec's dtype.
        clips: the clip of each row.

    Returns:
        What the manifest shall know of it, and the byte offset of each row's record (None in Parquet).
    """
    features = np.ascontiguousarray(features, dtype=features.dtype.newbyteorder("<"))
    offsets: list[int | None] = [None] * len(clips)
    with AtomicFile(path) as file:
        if storage_format == "tfrecord":
            for row, clip in enumerate(clips):
                fields: dict[str, bytes | int] = {
                    "path": clip.path.encode(),
                    "start": clip.start,
                    "label": (clip.label or "").encode(),
                    "group": (clip.group or "").encode(),
                }
                offsets[row] = write_record(file, fields, "features", features[row])
        else:
            _write_parquet(file, features, clips)
    return Shard(Path(path).stem, len(clips), file.num_bytes, file.crc32c), offsets


def read_shard(path: Path, storage_format: str, expected: Shard, spec: FeatureSpec) -> ShardRows:
    """Reads a whole shard and proves that it is the one that was written.

    Raises:
        RunError: the file is missing, or is not what the manifest says, with its name and the way out.
    """
    way_out = "run featurize into a new folder from the same source"
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
        table = pq.read_table(pa.BufferReader(content), columns=["features", "path", "label"])
        features = np.concatenate(
            [_tensor(chunk, dtype, spec) for chunk in table["features"].chunks] or [np.empty(shape, dtype=dtype)]
        )
        features.flags.writeable = False
        paths, labels = table["path"].to_pylist(), table["label"].to_pylist()
    return ShardRows(features, paths, labels)


def _write_parquet(file: AtomicFile, features: NDArray[np.floating], clips: Sequence[Clip]) -> None:
    row_bytes = features[0].nbytes
    offsets = np.arange(len(clips) + 1, dtype=np.int32) * np.int32(row_bytes)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(features)]
    table = pa.Table.from_arrays(
        [
            pa.Array.from_buffers(pa.binary(), len(clips), buffers),
            pa.array([clip.path for clip in clips], pa.string()),
            pa.array([clip.start for clip in clips], pa.int64()),
            pa.array([clip.label or "" for clip in clips], pa.string()),
            pa.array([clip.group or "" for clip in clips], pa.string()),
        ],
        schema=_SCHEMA,
    )
    sink = pa.PythonFile(file, mode="w")
    pq.write_table(
        table,
        sink,
        row_group_size=_ROW_GROUP_ROWS,
        compression="none",
        use_dictionary=["label"],
        write_statistics=False,
        store_schema=False,
    )


def _tensor(chunk: pa.BinaryArray, dtype: np.dtype[np.floating], spec: FeatureSpec) -> NDArray[np.floating]:
    """Views the bytes of a column as (rows, *spec.shape), without copying."""
    offsets = np.frombuffer(chunk.buffers()[1], dtype=np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
    if len(chunk) and not (np.diff(offsets) == spec.row_bytes).all():
        raise ValueError(f"a row has other than {spec.row_bytes} bytes")
    count = (int(offsets[-1]) - int(offsets[0])) // dtype.itemsize
    flat = np.frombuffer(chunk.buffers()[2], dtype=dtype, count=count, offset=int(offsets[0]))
    return flat.reshape(len(chunk), *spec.shape)
