"""Reads columns of a metadata table as text, with the place of each row: CSV, TSV, .txt, Parquet or JSON lines."""

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import UsageError
from features.io.csv_text import MOST_FIELD_BYTES
from features.io.local_copy import local_copy
from features.io.text_encoding import text_encoding
from features.sources.separators import OWN_SEPARATORS, SEPARATOR_LINE, SEPARATOR_NAMES, find_separator

TABLE_ENDINGS = (*OWN_SEPARATORS, ".parquet", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class Rows:
    """The rows of a table in its order, column by column.

    Attributes:
        name: of the table's file.
        unit: what `numbers` count: `line` of a text file, `row` of a Parquet file.
        columns: names of all columns of the table.
        values: text by row, by column; of those requested columns only that are there.
        numbers: where each row stands, from 1; a row of several lines stands where it begins.
        torn: number and fault of each row that has not a field for each column.
        separator: between the columns; empty where the format needs none.
        files: name of the file of each row, where they stand in several; else `name` is that of all.
    """

    name: str
    unit: str
    columns: list[str]
    values: dict[str, list[str]]
    numbers: Sequence[int]
    torn: Sequence[tuple[int, str]] = ()
    separator: str = ""
    files: Sequence[str] = ()

    def select(self, chosen: Sequence[int]) -> "Rows":
        """Returns some of the rows."""
        values = {column: [found[row] for row in chosen] for column, found in self.values.items()}
        files = [self.files[row] for row in chosen] if self.files else ()
        return replace(self, values=values, numbers=[self.numbers[row] for row in chosen], files=files)

    @property
    def of_csv(self) -> bool:
        """Whether labels are as `features.io.csv_text.csv_label` writes them; Parquet and JSON hold the label."""
        return bool(self.separator)

    def where(self, row: int) -> str:
        """Names the place of a row in a message."""
        return f"{self.files[row] if self.files else self.name}, {self.unit} {self.numbers[row]}"

    def both(self, row: int, other: int) -> str:
        """Names the places of two rows in a message that has the name of the file already."""
        if not self.files:
            return f"{self.unit}s {self.numbers[row]} and {self.numbers[other]}"
        return f"{self.where(row)} and {self.where(other)}"

    def require(self, column: str, option: str) -> None:
        """Raises `UsageError`, which names the option that names columns, where there is not one such column."""
        number = self.columns.count(column)
        if number > 1:
            raise UsageError(f"{self.name} has {number} columns named {column!r}; rename all but one")
        if number == 0:
            there = ", ".join(map(repr, self.columns))
            message = f"{self.name} has no column {column!r}; {option} names one of {there}"
            if self.separator and all(map(_is_number, self.columns[:2])):
                message += (
                    "; these are rather values, as in label tracks of Audacity: put a line with the names of the "
                    "columns first, and a column with the path of the recording"
                )
            elif self.separator and any(other in name for name in self.columns for other in SEPARATOR_NAMES):
                read_by = SEPARATOR_NAMES.get(self.separator, repr(self.separator))
                message += f"; it was read with a {read_by} between columns, and {SEPARATOR_LINE}"
            raise UsageError(message)

    def refusal(self, row: int, column: str, rule: str, way_out: str) -> UsageError:
        """Returns the error that a value breaks a rule."""
        return UsageError(f"{self.where(row)}: {rule}, but {column!r} is {self.values[column][row]!r}; {way_out}")


def is_text(value: str) -> bool:
    """Returns whether a value can be written as UTF-8: bytes that were not stand in it as lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def read_rows(table: str, wanted: Iterable[str], besides: Iterable[str] = ()) -> Rows:
    """Reads columns of a table.

    Every value becomes text as one would write it: the number 1.0 is `1`, what is true is `true`, what is missing is
    empty. Blank lines are skipped, as are rows of a text table whose fields are all empty. Text is UTF-8, or UTF-16 as
    `features.io.text_encoding` finds it; bytes that are not UTF-8 become lone surrogates, as in the names of files.

    Args:
        table: text with one separator (RFC 4180, see `features.sources.separators`), Parquet, or one JSON object per
            line, by its name's ending.
        wanted: columns to read where they are there.
        besides: columns to read where they are there and the table is text.

    Returns:
        The rows.

    Raises:
        UsageError: the file cannot be read, its separator is not clear, or a row is not what a table of its kind holds.
    """
    name, columns = os.path.basename(table), list(dict.fromkeys(wanted))
    ending = os.path.splitext(table)[1].lower()
    try:
        with local_copy(table) as path:
            if ending == ".parquet":
                return _read_parquet(path, name, columns)
            with open(path, encoding=text_encoding(path), errors="surrogateescape", newline="") as file:
                if ending in OWN_SEPARATORS:
                    separator, before = find_separator(file, name, ending)
                    return _read_csv(file, name, list(dict.fromkeys((*columns, *besides))), separator, before)
                return _read_json_lines(file, name, columns)
    except FileNotFoundError as error:
        raise UsageError(f"no such file or folder: {table}") from error
    except (OSError, UnicodeError, pa.ArrowException) as error:
        raise UsageError(f"cannot read {table}: {' '.join(str(error).split())}") from error


def _read_csv(file: TextIO, name: str, wanted: list[str], separator: str, lines_before: int) -> Rows:
    torn: list[tuple[int, str]] = []
    lines = _csv_lines(file, name, separator, lines_before, torn)
    first, names = next(lines, (1, []))
    if not names:
        raise UsageError(f"{name} is empty; a table has a line with the names of its columns")
    if not is_text("".join(names)):
        raise UsageError(f"{name}, line {first}: the names of the columns are not UTF-8; save the table as UTF-8")
    header = [column if column in wanted else column.strip() for column in names]
    values: dict[str, list[str]] = {column: [] for column in wanted if column in header}
    places = [(header.index(column), found) for column, found in values.items()]
    numbers = []
    least = max((place for place, column in enumerate(header, start=1) if column or column in values), default=1)
    for line, fields in lines:
        if not any(map(str.strip, fields)):
            continue
        if len(fields) < least or any(fields[len(header) :]):
            torn.append((line, f"a row has a field for each of the {least} columns, not {len(fields)}; put "
                               "fields that hold the separator into double quotes"))  # fmt: skip
            continue
        numbers.append(line)
        for place, found in places:
            found.append(fields[place])
    return Rows(name, "line", header, values, numbers, torn, separator)


def _csv_lines(
    file: TextIO, name: str, separator: str, lines_before: int, torn: list[tuple[int, str]]
) -> Iterator[tuple[int, list[str]]]:
    """Yields number and fields of each row that has any; adds those that cannot be read to `torn`."""
    csv.field_size_limit(MOST_FIELD_BYTES)
    reader = csv.reader(file, delimiter=separator, strict=True)
    if separator == "\t":
        content = file.readlines()
        quoting: Literal[0, 3] = csv.QUOTE_NONE if _has_bare_quotes(content) else csv.QUOTE_MINIMAL
        reader = csv.reader(content, delimiter=separator, strict=True, quoting=quoting)
    while True:
        line = lines_before + reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = f"the row that begins here cannot be read: {error}; put a double quote within a field twice"
            if line == lines_before + 1 or "unexpected end" in str(error):  # all that follows may be lost
                raise UsageError(f"{name}, line {line}: {fault}") from error
            torn.append((line, fault))
            continue
        if len(fields) > 1 or (fields and fields[0].strip()):
            yield line, fields


def _has_bare_quotes(lines: Sequence[str]) -> bool:
    """Tells whether double quotes in a table with tabs are signs like others, as in what field tools write.

    They are where each line by itself has as many fields as the first one, and to take them for quotes would join
    lines, or can make no sense of one.
    """
    whole = [line for line in lines if line.strip()]
    if not any('"' in line for line in whole) or len({line.count("\t") for line in whole}) > 1:
        return False
    try:
        return len([row for row in csv.reader(whole, delimiter="\t", strict=True) if row]) != len(whole)
    except csv.Error:
        return True


def _read_json_lines(file: TextIO, name: str, wanted: list[str]) -> Rows:
    columns: dict[str, None] = {}
    values: dict[str, list[str]] = {column: [] for column in wanted}
    numbers = []
    torn: list[tuple[int, str]] = []
    for line, content in enumerate(file, start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except (ValueError, RecursionError) as error:
            torn.append((line, f"a line is one JSON object, and this is not one: {error}"))
            continue
        if not isinstance(row, dict):
            torn.append((line, f"a line is one JSON object, not {content.strip()[:40]!r}"))
            continue
        columns.update(dict.fromkeys(row))
        numbers.append(line)
        for column, found in values.items():
            found.append(_text(row.get(column), name, "line", line))
    there = {column: found for column, found in values.items() if column in columns}
    return Rows(name, "line", list(columns), there, numbers, torn)


def _read_parquet(table: str, name: str, wanted: list[str]) -> Rows:
    with pq.ParquetFile(table) as file:
        columns = file.schema_arrow.names
        once = [column for column in wanted if columns.count(column) == 1]
        content = file.read(columns=once)
        numbers = range(1, file.metadata.num_rows + 1)
    values = {
        column: [_text(value, name, "row", row) for row, value in enumerate(_values(content[column]), start=1)]
        for column in once
    }
    return Rows(name, "row", columns, values, numbers)


def _values(column: pa.ChunkedArray) -> list[object]:
    """Returns the values of a column, texts as their bytes: those of a file may not be UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    return list(column.to_pylist())


def _text(value: object, name: str, unit: str, number: int) -> str:
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, bytes):
        return os.fsdecode(value)
    raise UsageError(f"{name}, {unit} {number}: a value is text or a number, not {value!r}")
