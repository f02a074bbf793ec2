"""Reads columns of a table of ours a part at a time: of CSV, Parquet or JSON lines, in memory that does not grow."""

import csv
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

BLOCK_BYTES = 2**22
BATCH_ROWS = 2**16


def column_names(path: str) -> list[str] | None:
    """Returns the names of the columns of a table, None where it has no row to say them.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such table; `pyarrow.ArrowException` where pyarrow says so.
    """
    if path.lower().endswith(".parquet"):
        import pyarrow.parquet as pq

        return [str(name) for name in pq.read_schema(path).names]
    with open(path, encoding="utf-8-sig", newline="") as file:
        first = file.readline()
    if path.lower().endswith(".jsonl"):
        return list(json.loads(first)) if first else None
    if os.path.getsize(path) == 0:
        raise ValueError("it is empty, and a CSV of score begins with the names of its columns")
    return next(csv.reader([first]))


def batches(path: str, types: Mapping[str, pa.DataType]) -> Iterator[Any]:
    """Yields rows of some columns, a part of the file at a time, as record batches.

    Args:
        path: of the file, whose ending says its form.
        types: of the columns that are wanted, by their names.

    Raises:
        OSError: it cannot be read.
        pyarrow.ArrowException: it is damaged, or a value is not of its column's type.
    """
    if path.lower().endswith(".parquet"):
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(BATCH_ROWS, columns=list(types))
    elif path.lower().endswith(".jsonl"):
        import pyarrow.json as pj

        parse = pj.ParseOptions(explicit_schema=pa.schema(types), unexpected_field_behavior="ignore")
        with pj.open_json(path, pj.ReadOptions(block_size=BLOCK_BYTES), parse) as rows:
            yield from rows
    else:
        import pyarrow.csv as pcsv

        options = (
            pcsv.ReadOptions(block_size=BLOCK_BYTES),
            pcsv.ParseOptions(newlines_in_values=True),
            pcsv.ConvertOptions(column_types=types, include_columns=list(types), strings_can_be_null=False),
        )
        with pcsv.open_csv(path, *options) as rows:
            yield from rows
