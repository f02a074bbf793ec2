"""Embeddings of windows, what the layer before the last gives, as a Parquet file to search in."""

import os
from collections.abc import Mapping
from types import TracebackType

import numpy as np
import pyarrow as pa

from features.errors import UsageError
from features.io.entry import AnyPath
from features.io.parquet import read_schema
from model.labels.earlier_table import Merge
from model.labels.output import Output
from model.labels.recording_columns import RecordingColumns
from model.labels.table_output import TableOutput
from model.labels.window_rows import WindowRows

EMBEDDINGS = "embeddings"
_ENDING = ".parquet"
EMBEDDING_TYPES = ("float32", "float16")
"""Types that embeddings are kept in, the default first."""


def check_embeddings_name(path: str) -> None:
    """Raises `UsageError` where a file of embeddings cannot have this name."""
    if not path.lower().endswith(_ENDING):
        raise UsageError(f"--embeddings is a Parquet file, whose name ends in {_ENDING}, not {path}")
    if os.path.isdir(path):
        raise UsageError(f"--embeddings is a file, but {path} is a folder")


def embeddings_schema(kind: str, size: int) -> pa.Schema:
    """Returns the columns of a table of embeddings.

    Args:
        kind: type of the numbers, one of `EMBEDDING_TYPES`.
        size: how many of them an embedding has.
    """
    return pa.schema({
        "path": pa.string(),
        "start_seconds": pa.float64(),
        "end_seconds": pa.float64(),
        "embedding": pa.list_(pa.from_numpy_dtype(kind), size),
    })  # fmt: skip


def stored_embedding(path: AnyPath) -> tuple[str, int]:
    """Returns type and size of the embeddings in a file, as the note of a part has them."""
    kind = read_schema(path).field("embedding").type
    return np.dtype(kind.value_type.to_pandas_dtype()).newbyteorder("<").str, kind.list_size


def embeddings_table(rows: WindowRows, schema: pa.Schema) -> pa.Table:
    """Returns a row a window, in their order.

    Args:
        rows: with embeddings, unless there is no window.
        schema: as `embeddings_schema` gives it.
    """
    if rows.embeddings is None:
        return schema.empty_table()
    numbers, size = schema.field("embedding").type.value_type, schema.field("embedding").type.list_size
    columns = [
        pa.array(list(rows.paths), pa.string()).take(pa.array(rows.recordings)),
        pa.array(rows.start_seconds),
        pa.array(rows.end_seconds),
        pa.FixedSizeListArray.from_arrays(pa.array(rows.embeddings.reshape(-1), numbers), size),
    ]
    return pa.table(columns, schema=schema)


class EmbeddingsOutput(Output):
    """The embedding of every window, as a table."""

    def __init__(
        self,
        path: AnyPath,
        embedding: tuple[str, int],
        columns: RecordingColumns | None = None,
        merge: Merge | None = None,
    ) -> None:
        """Opens the file.

        Args:
            path: of the file.
            embedding: type and size, as the note of a part has them.
            columns: that rows have of their recordings.
            merge: where it goes on from an earlier file.
        """
        kind, size = embedding
        self._schema, self._columns = embeddings_schema(np.dtype(kind).name, size), columns
        self._table = TableOutput(path, self._schema if columns is None else columns.extended(self._schema), merge)

    def write(self, rows: WindowRows) -> None:
        """See `Output`."""
        table = embeddings_table(rows, self._schema)
        self._table.append(table if self._columns is None else self._columns.append_to(table))

    def complete(self) -> None:
        """See `Output`."""
        self._table.complete()

    def finish(self) -> None:
        """See `Output`."""
        self._table.finish()

    @property
    def tables(self) -> Mapping[str, TableOutput]:
        """See `Output`."""
        return {EMBEDDINGS: self._table}

    def __enter__(self) -> "EmbeddingsOutput":
        """See `Output`."""
        self._table.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `Output`."""
        self._table.__exit__(kind, error, trace)
