"""Tables of the output in the form that a file's name asks for: CSV, Parquet, or JSON lines.

The same columns stand in all of them. Parquet and JSON lines have numbers with all their digits, and texts as they are,
paths escaped as in all our tables; a CSV has six digits, and no path or label that a spreadsheet takes for a formula.
"""

import contextlib
import functools
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring
from types import TracebackType
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.errors import UsageError
from features.io.atomic import AtomicFile
from features.io.csv_text import csv_field, csv_label, csv_lines
from features.io.entry import AnyPath
from features.io.filesystem import filesystem_of
from features.io.local_copy import local_copy
from features.io.temporary import temporary_folder
from features.sources.paths import csv_path
from model.labels.earlier_table import Merge, Pieces, Written, parquet_pieces, text_pieces

_ROW_GROUP_ROWS = 65_536
# Of a column of vectors, a row group of so many rows would be more than a writer should hold.
_ROW_GROUP_BYTES = 2**25
# What makes a path, a label or another text be written otherwise in a CSV, in texts with \0 between them.
_SPECIAL = re.compile(r"""[,"\r\n]|(?:^|\0)[-=+@']""")
# What some readers take for the end of a line; JSON allows it within one.
_LINE_ENDS = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}


def csv_header(schema: pa.Schema) -> str:
    """Returns the first line of a CSV with these columns."""
    return csv_lines([schema.names])


def csv_rows(table: pa.Table) -> str:
    """Returns rows as lines of CSV: seconds and probabilities with six digits, nothing where a value is missing."""
    return "".join(_csv_lines(table))


def _csv_lines(table: pa.Table) -> list[str]:
    cells = [_cells(column, "%.6f", _CSV_CELLS.get(name, _csv_cells), "")
             for name, column in zip(table.column_names, table.columns, strict=True)]  # fmt: skip
    return _lines(",".join(kind for kind, _ in cells) + "\n", [values for _, values in cells])


def _json_lines(table: pa.Table) -> list[str]:
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


def _lines(line: str, columns: list[list[object]]) -> list[str]:
    return list(map(line.__mod__, zip(*columns, strict=True)))


class _Writer(Protocol):
    """Writes rows of one form into a file."""

    def append(self, table: pa.Table) -> NDArray[np.int64]:
        """Writes rows, and returns how much each takes: bytes of a text, 1 where rows are counted."""

    def end(self) -> None:
        """Writes what is left."""

    def abandon(self) -> None:
        """Lets go of a file that nobody will have."""


class _TextWriter:
    """Writes rows as lines."""

    def __init__(self, file: AtomicFile, header: str, lines: Callable[[pa.Table], list[str]]) -> None:
        self._file, self._lines = file, lines
        self._file.write(header.encode())

    def append(self, table: pa.Table) -> NDArray[np.int64]:
        lines = self._lines(table)
        text = "".join(lines)
        self._file.write(text.encode())
        sizes = map(len, lines) if text.isascii() else (len(line.encode()) for line in lines)
        return np.fromiter(sizes, np.int64, len(lines))

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
        vectors = (kind for kind in schema.types if pa.types.is_fixed_size_list(kind))
        wide = sum(kind.list_size * kind.value_type.bit_width // 8 for kind in vectors)
        self._most = min(_ROW_GROUP_ROWS, _ROW_GROUP_BYTES // wide or 1) if wide else _ROW_GROUP_ROWS

    def append(self, table: pa.Table) -> NDArray[np.int64]:
        self._waiting.append(table)
        self._rows += len(table)
        while self._rows >= self._most:
            self._write(self._most)
        return np.ones(len(table), np.int64)

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


_CSV, _PARQUET, _JSON_LINES = ".csv", ".parquet", ".jsonl"
_WRITERS: dict[str, Callable[[AtomicFile, pa.Schema], _Writer]] = {
    _CSV: lambda file, schema: _TextWriter(file, csv_header(schema), _csv_lines),
    _PARQUET: _ParquetWriter,
    _JSON_LINES: lambda file, schema: _TextWriter(file, "", _json_lines),
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

    It is used in a `with` block; nothing is left of one that is not finished there. With `merge` what is written are
    the rows of new recordings alone, and the table has those of an earlier one besides.

    Attributes:
        path: of the file.
        rows: how many were written so far.
        written: what the file is, once it is complete.
    """

    written: Written

    def __init__(self, path: AnyPath, schema: pa.Schema, merge: Merge | None = None) -> None:
        """Nothing is written before the block begins.

        Args:
            path: of the file, whose name ends in one of `TABLE_FORMS`.
            schema: of its rows, with a column `path`; the rows of a recording follow one another.
            merge: where the table goes on from an earlier one of the same columns.
        """
        self.path, self.rows = path, 0
        self._schema, self._merge = schema, merge
        self._form = next(form for form in TABLE_FORMS if str(path).lower().endswith(form))
        self._extents: list[tuple[pa.Array, NDArray[np.number]]] = []
        self._open = contextlib.ExitStack()
        self._finished = False

    def __enter__(self) -> "TableOutput":
        """Begins to write."""
        with contextlib.ExitStack() as begun:
            if self._merge is None:
                file = filesystem_of(self.path).begin(self.path)
            else:
                folder = begun.enter_context(tempfile.TemporaryDirectory(dir=temporary_folder()))
                file = AtomicFile(os.path.join(folder, "new"), durable=False)
            self._file = begun.enter_context(file)
            begun.callback(self._drop, file)
            self._writer = _WRITERS[self._form](self._file, self._schema)
            begun.callback(self._writer.abandon)
            self._open = begun.pop_all()
        return self

    def append(self, table: pa.Table) -> None:
        """Writes rows of the schema."""
        sizes = self._writer.append(table)
        paths = table["path"].combine_chunks().dictionary_encode()
        if len(table):
            self._extents.append((paths.dictionary, np.bincount(paths.indices.to_numpy(), sizes)))
        self.rows += len(table)

    def extents(self, paths: pa.ChunkedArray) -> NDArray[np.int64]:
        """Returns how much of what was written is of each recording: bytes, or rows of Parquet."""
        found = np.zeros(len(paths), np.int64)
        if self._extents:
            # All at once: each call puts all paths into a table of their hashes.
            written = pa.chunked_array([of_piece for of_piece, _ in self._extents])
            sizes = np.concatenate([of_piece for _, of_piece in self._extents]).astype(np.int64)
            np.add.at(found, pc.index_in(written, value_set=paths).to_numpy(), sizes)
        return found

    def complete(self) -> Written:
        """Writes all of the table, so that nothing but the name is missing, and returns what it is."""
        self._writer.end()
        if self._merge is not None:
            new, self._file = self._file, self._open.enter_context(filesystem_of(self.path).begin(self.path))
            self._open.callback(self._drop, self._file)
            with local_copy(os.fspath(self._merge.place)) as earlier:
                self._write_merged(earlier, new.partial_path, self._merge.pieces(self.extents))
        self.written = Written(self._file.num_bytes, self._file.crc32c)
        return self.written

    def _write_merged(self, earlier: str, new: str, pieces: Pieces) -> None:
        if self._form == _PARQUET:
            writer = _ParquetWriter(self._file, self._schema)
            self._open.callback(writer.abandon)
            for rows in parquet_pieces(earlier, new, pieces):
                writer.append(rows)
            writer.end()
            return
        header = csv_header(self._schema).encode() if self._form == _CSV else b""
        self._file.write(header)
        for views in text_pieces(earlier, new, len(header), pieces):
            self._file.write(*views)

    def finish(self) -> None:
        """Has the table appear."""
        self._finished = True
        self._open.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves nothing of a table that was not finished."""
        self._open.__exit__(kind, error, trace)

    def _drop(self, file: AtomicFile) -> None:
        if not self._finished:
            file.discard()
