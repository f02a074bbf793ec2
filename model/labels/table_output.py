"""Tables of the output in the form that a file's name asks for: CSV, Parquet, or JSON lines.

The same columns stand in all of them. Parquet and JSON lines have numbers with all their digits, and texts as they are,
paths escaped as in all our tables; a CSV has six digits, and no path or label that a spreadsheet takes for a formula.
"""

import contextlib
import functools
import re
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring
from types import TracebackType
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import UsageError
from features.io.atomic import AtomicFile
from features.io.csv_text import csv_field, csv_label, csv_lines
from features.io.entry import AnyPath
from features.io.filesystem import filesystem_of
from features.sources.paths import csv_path

_ROW_GROUP_ROWS = 65_536
# What makes a path, a label or another text be written otherwise in a CSV, in texts with \0 between them.
_SPECIAL = re.compile(r"""[,"\r\n]|(?:^|\0)[-=+@']""")
# What some readers take for the end of a line; JSON allows it within one.
_LINE_ENDS = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}


def csv_header(schema: pa.Schema) -> str:
    """Returns the first line of a CSV with these columns."""
    return csv_lines([schema.names])


def csv_rows(table: pa.Table) -> str:
    """Returns rows as lines of CSV: seconds and probabilities with six digits, nothing where a value is missing."""
    cells = [_cells(column, "%.6f", _CSV_CELLS.get(name, _csv_cells), "")
             for name, column in zip(table.column_names, table.columns, strict=True)]  # fmt: skip
    return _lines(",".join(kind for kind, _ in cells) + "\n", [values for _, values in cells])


def _json_rows(table: pa.Table) -> str:
    """Returns rows as JSON objects, a line each."""
    cells = [_cells(column, "%r", _json_cells, "null") for column in table.columns]
    names = (name.replace("%", "%%") for name in _json_cells(table.column_names))
    pairs = ", ".join(f"{name}: {kind}" for name, (kind, _) in zip(names, cells, strict=True))
    return _lines(f"{{{pairs}}}\n", [values for _, values in cells])


def _json_cells(texts: Sequence[str]) -> list[str]:
    quoted = map(encode_basestring, texts)
    return [text if text.isascii() else text.translate(_LINE_ENDS) for text in quoted]


def _csv_cells(texts: Sequence[str], escape: Callable[[str], str] = str) -> Sequence[str]:
    # Of a million paths, most often none needs anything: one look at all of them takes a fifth of one at each.
    return [csv_field(escape(text)) for text in texts] if _SPECIAL.search("\0".join(texts)) else texts


_CSV_CELLS: dict[str, Callable[[Sequence[str]], Sequence[str]]] = {
    "path": functools.partial(_csv_cells, escape=csv_path),
    "label": functools.partial(_csv_cells, escape=csv_label),
}


def _cells(
    column: pa.ChunkedArray, number: str, texts: Callable[[Sequence[str]], Sequence[str]], missing: str
) -> tuple[str, list[object]]:
    """Returns how the cells of a column are formatted, and what is: a text is written once, however many rows it has.

    Args:
        column: strings or numbers.
        number: the format of a number that is not whole.
        texts: returns the cells of strings.
        missing: the cell of a null.
    """
    if pa.types.is_string(column.type):
        encoded = column.combine_chunks().dictionary_encode()
        words = np.array([*texts(encoded.dictionary.to_pylist()), missing], object)
        return "%s", words[encoded.indices.fill_null(len(words) - 1).to_numpy()].tolist()
    kind = number if pa.types.is_floating(column.type) else "%d"
    if column.null_count:
        return "%s", [missing if value is None else kind % value for value in column.to_pylist()]
    return kind, column.to_numpy().tolist()


def _lines(line: str, columns: list[list[object]]) -> str:
    return "".join(map(line.__mod__, zip(*columns, strict=True)))


class _Writer(Protocol):
    """Writes rows of one form into a file."""

    def append(self, table: pa.Table) -> None:
        """Writes rows."""

    def end(self) -> None:
        """Writes what is left."""

    def abandon(self) -> None:
        """Lets go of a file that nobody will have."""


class _TextWriter:
    """Writes rows as lines."""

    def __init__(self, file: AtomicFile, header: str, rows: Callable[[pa.Table], str]) -> None:
        self._file, self._rows = file, rows
        self._file.write(header.encode())

    def append(self, table: pa.Table) -> None:
        self._file.write(self._rows(table).encode())

    def end(self) -> None:
        """Each line is written at once."""

    def abandon(self) -> None:
        """As `end`."""


class _ParquetWriter:
    """Row groups do not depend on the pieces in which the rows come."""

    def __init__(self, file: AtomicFile, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(file, schema)
        self._waiting = [schema.empty_table()]
        self._rows = 0

    def append(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._rows += len(table)
        while self._rows >= _ROW_GROUP_ROWS:
            self._write(_ROW_GROUP_ROWS)

    def end(self) -> None:
        if self._rows:
            self._write(self._rows)
        self._writer.close()

    def abandon(self) -> None:
        with contextlib.suppress(Exception):  # it writes an end, for which there may be no room
            self._writer.close()

    def _write(self, rows: int) -> None:
        table = pa.concat_tables(self._waiting)
        self._writer.write_table(table.slice(0, rows).combine_chunks())
        self._waiting = [table.slice(rows)]
        self._rows -= rows


_WRITERS: dict[str, Callable[[AtomicFile, pa.Schema], _Writer]] = {
    ".csv": lambda file, schema: _TextWriter(file, csv_header(schema), csv_rows),
    ".parquet": _ParquetWriter,
    ".jsonl": lambda file, schema: _TextWriter(file, "", _json_rows),
}
TABLE_FORMS = tuple(_WRITERS)
"""Endings of the names of tables, each of a form."""


def check_table_name(option: str, path: str) -> None:
    """Raises `UsageError` where the name of a file that an option takes asks for no form of a table."""
    if not path.lower().endswith(TABLE_FORMS):
        endings = f"{', '.join(TABLE_FORMS[:-1])} or {TABLE_FORMS[-1]}"
        raise UsageError(f"{option} is a table whose name ends in {endings}, not {path}")


class TableOutput:
    """A table that is written a piece at a time, and appears under its name when it is finished and not before.

    It is used in a `with` block; nothing is left of one that is not finished there.

    Attributes:
        rows: how many were written so far.
    """

    rows: int

    def __init__(self, path: AnyPath, schema: pa.Schema) -> None:
        """Opens a file whose name ends in one of `TABLE_FORMS`."""
        self.rows = 0
        self._schema = schema
        self._file = filesystem_of(path).begin(path)
        form = next(form for form in TABLE_FORMS if str(path).lower().endswith(form))
        self._make_writer = _WRITERS[form]

    def __enter__(self) -> "TableOutput":
        """Begins to write."""
        self._file.__enter__()
        try:
            self._writer = self._make_writer(self._file, self._schema)
        except BaseException as error:
            self._file.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def append(self, table: pa.Table) -> None:
        """Writes rows of the schema."""
        self._writer.append(table)
        self.rows += len(table)

    def finish(self) -> None:
        """Has the table appear."""
        self._writer.end()
        self._file.__exit__(None, None, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves nothing of a table that was not finished."""
        if not self._file.closed:
            self._file.discard()
            self._writer.abandon()
            self._file.__exit__(kind, error, trace)
