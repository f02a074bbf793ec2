"""Reads Parquet files."""

import os

import pyarrow as pa
import pyarrow.parquet as pq

from features.io.entry import AnyPath
from features.io.filesystem import filesystem_of


def source_of(path: AnyPath) -> str | pa.BufferReader:
    """Returns what pyarrow reads: a path of this machine, or the whole of an object; raises `OSError`."""
    files = filesystem_of(path)
    return os.fspath(path) if files.is_local else pa.BufferReader(files.read(path))


def read_schema(path: AnyPath) -> pa.Schema:
    """Returns the schema of a file with its metadata; raises `OSError` or `ValueError`."""
    return pq.read_schema(source_of(path))


def read_table(source: AnyPath | pa.BufferReader, columns: list[str] | None = None) -> pa.Table:
    """Returns a whole file, or columns of it.

    It is what `pyarrow.parquet.read_table` returns of one file, which imports half a second of other libraries first.
    """
    if not isinstance(source, pa.BufferReader):
        source = source_of(source)
    with pq.ParquetFile(source) as file:
        return file.read(columns=columns)
