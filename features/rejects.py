"""The table of files that could not be used."""

from collections.abc import Iterable

from features.csv_lines import csv_lines
from features.errors import Reject
from features.sources import csv_path, unescape_path

COLUMNS = ("path", "stage", "reason", "message")


def in_order(rejects: Iterable[Reject]) -> list[Reject]:
    """Sorts rejects by the bytes of their paths."""
    return sorted(rejects, key=lambda reject: unescape_path(reject.path))


def to_csv(rejects: Iterable[Reject]) -> str:
    """Returns the table as CSV, one line a file."""
    rows = [(csv_path(reject.path), reject.stage, reject.reason, reject.message) for reject in rejects]
    return csv_lines([COLUMNS, *rows])
