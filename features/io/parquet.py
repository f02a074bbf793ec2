"""Reads Parquet files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def read_table(source: str | Path | pa.BufferReader, columns: list[str] | None = None) -> pa.Table:
    """Returns a whole file, or columns of it.

    It is what `pyarrow.parquet.read_table` returns of one file, which imports half a second of other libraries first.
    """
    with pq.ParquetFile(source) as file:
        return file.read(columns=columns)
