"""The layout of Hugging Face's datasets: Parquet with typed columns, `datasets.load_dataset(DIR)`.

A set in Parquet has the bytes of tensors, which datasets 5.2.0 cuts at their last byte that is not zero where it makes
arrays of them. So the rows are written anew: tensors as lists of a fixed size of numbers, labels as text, which DuckDB,
pandas and polars read as they are. What makes arrays of two dimensions and class ids of them in `datasets` stands in
the dataset card.
"""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.interchange.placing import WRITTEN
from features.interchange.written import SourceSet, Written, with_progress
from features.store.shards import Shard, read_shard

_FOLDER = "data"
_FILE_BYTES = 256 * 2**20
# Of a row group, which readers of single rows read as a whole.
_GROUP_ROWS = 4096
_GROUP_BYTES = 8 * 2**20


def write_huggingface(source: SourceSet, folder: Path) -> Written:
    """Lays a set out for datasets.

    Args:
        source: the set.
        folder: where, empty.

    Raises:
        RunError: a shard is missing or damaged.
    """
    written, schema = Written(), _schema(source)
    (folder / _FOLDER).mkdir()
    files = {split: _files(shards, source) for split, shards in source.shards.items()}
    listed = with_progress(source.shards)
    for split, held in files.items():
        for number, shards in enumerate(held):
            path = folder / _FOLDER / f"{split}-{number:05d}-of-{len(held):05d}.parquet"
            with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["label", "group"]) as writer:
                for rows in _groups(source, (shard for *_, shard in itertools.islice(listed, len(shards))), schema):
                    writer.write_table(rows)
                    written.split_bytes[split] += rows.nbytes
                    written.rows[split] += len(rows)
            written.ways[WRITTEN] += 1
    next(listed, None)  # ends the progress line
    return written


def data_files(split: str) -> str:
    """Returns the pattern of the files of a split, relative to the folder."""
    return f"{_FOLDER}/{split}-*.parquet"


def _files(shards: list[Shard], source: SourceSet) -> list[list[Shard]]:
    """Returns which shards go into which file: as many as fit, one at least."""
    files: list[list[Shard]] = []
    size = 0
    for shard in shards:
        added = shard.rows * source.spec.row_bytes
        if not files or size + added > _FILE_BYTES:
            files.append([])
            size = 0
        files[-1].append(shard)
        size += added
    return files


def _groups(source: SourceSet, shards: Iterable[Shard], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yields the rows of shards, as many at a time as a row group has."""
    most = max(1, min(_GROUP_ROWS, _GROUP_BYTES // source.spec.row_bytes))
    waiting: list[pa.Table] = []
    for rows in (rows for shard in shards for rows in _tables(source, shard, schema, most)):
        if waiting and sum(map(len, waiting)) + len(rows) > most:
            yield pa.concat_tables(waiting)
            waiting = []
        waiting.append(rows)
    if waiting:
        yield pa.concat_tables(waiting)


def _tables(source: SourceSet, shard: Shard, schema: pa.Schema, most: int) -> Iterator[pa.Table]:
    """Yields the rows of a shard, so many at a time at most."""
    rows = read_shard(source.layout, shard, source.spec)
    starts = source.starts(shard)
    for first in range(0, shard.rows, most):
        part = slice(first, first + most)
        columns = [
            _lists(np.stack(rows.tensors[part])),
            pa.array(rows.labels[part], pa.string()),
            pa.array(rows.paths[part], pa.string()),
            pa.array(starts[part], pa.int64()),
            pa.array(rows.groups[part], pa.string()),
        ]
        yield pa.Table.from_arrays(columns, schema=schema)


def _lists(tensors: NDArray[np.floating]) -> pa.Array:
    """Returns tensors of shape (rows, *shape) as lists of a fixed size, one within the other."""
    values = pa.array(tensors.astype(tensors.dtype.newbyteorder("="), copy=False).reshape(-1))
    for size in reversed(tensors.shape[1:]):
        values = pa.FixedSizeListArray.from_arrays(values, size)
    return values


def _schema(source: SourceSet) -> pa.Schema:
    values = pa.from_numpy_dtype(np.dtype(source.spec.storage_dtype))
    for size in reversed(source.spec.shape):
        values = pa.list_(values, size)
    columns = {"features": values, "label": pa.string(), "path": pa.string(), "start": pa.int64(), "group": pa.string()}
    return pa.schema(columns)
