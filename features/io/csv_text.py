"""Lines of CSV that every reader takes apart in the same way."""

from collections.abc import Iterable

_QUOTED = frozenset(',"\r\n')


def csv_lines(rows: Iterable[Iterable[object]]) -> str:
    """Returns rows as CSV (RFC 4180, lines ended by a line feed).

    Python's own writer leaves a carriage return unquoted before version 3.13, and its reader ends the line there.
    """
    return "".join(",".join(map(_field, row)) + "\n" for row in rows)


def _field(value: object) -> str:
    text = str(value)
    return text if _QUOTED.isdisjoint(text) else '"' + text.replace('"', '""') + '"'
