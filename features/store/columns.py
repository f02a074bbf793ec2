"""Columns that take little memory: texts of which there are few as dictionaries, nulls that all share one array."""

import functools
from collections.abc import Collection

import pyarrow as pa

DICTIONARY = pa.dictionary(pa.int32(), pa.string())
_SHARED_ROWS = 65_536


def with_dictionaries(schema: pa.Schema, names: Collection[str]) -> pa.Schema:
    """Returns a schema of which these columns of strings are dictionaries."""
    return pa.schema([field.with_type(DICTIONARY) if field.name in names else field for field in schema])


def null_column(rows: int, column_type: pa.DataType) -> pa.ChunkedArray:
    """Returns a column of nulls, of whose chunks each is a view of one array."""
    shared = _nulls(column_type)
    whole, rest = divmod(rows, len(shared))
    return pa.chunked_array([shared] * whole + [shared.slice(0, rest)] * (rest > 0), column_type)


@functools.cache
def _nulls(column_type: pa.DataType) -> pa.Array:
    return pa.nulls(_SHARED_ROWS, column_type)
