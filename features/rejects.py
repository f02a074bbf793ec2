"""The table of files that could not be used."""

import csv
import io
from collections.abc import Iterable

from features.errors import Reject
from features.sources import csv_path, unescape_path

COLUMNS = ("path", "stage", "reason", "message")


def in_order(rejects: Iterable[Reject]) -> list[Reject]:
    """Sorts rejects by the bytes of their paths."""
    return sorted(rejects, key=lambda reject: unescape_path(reject.path))


def to_csv(rejects: Iterable[Reject]) -> str:
    """Returns the table as CSV, one line a file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((csv_path(reject.path), reject.stage, reject.reason, reject.message) for reject in rejects)
    return text.getvalue()
