"""Lines of CSV that every reader takes apart in the same way."""

from collections.abc import Iterable

MOST_FIELD_BYTES = 2**31 - 1
"""Of a field of a table that is read; the module `csv` refuses one of 131,073 of its own."""

FORMULA_STARTS = ("=", "+", "-", "@")
"""What a spreadsheet takes for a formula begins with one of these."""
_ESCAPE = "'"
_QUOTED = frozenset(',"\r\n')


def csv_lines(rows: Iterable[Iterable[object]]) -> str:
    """Returns rows as CSV (RFC 4180, lines ended by a line feed).

    Python's own writer leaves a carriage return unquoted before version 3.13, and its reader ends the line there.
    """
    return "".join(",".join(csv_field(str(value)) for value in row) + "\n" for row in rows)


def csv_label(label: str) -> str:
    """Returns a label as CSV files hold it: a `'` stands before what looks like a formula, and before a `'`."""
    return _ESCAPE + label if label.startswith((*FORMULA_STARTS, _ESCAPE)) else label


def read_csv_label(text: str) -> str:
    """Returns the label that `csv_label` wrote; a `'` before anything else is part of it, as others write it."""
    return text[1:] if text.startswith(_ESCAPE) and text[1:].startswith((*FORMULA_STARTS, _ESCAPE)) else text


def csv_field(text: str) -> str:
    """Returns a field of a line of CSV: within quotes where it has to be."""
    return text if _QUOTED.isdisjoint(text) else '"' + text.replace('"', '""') + '"'
