"""The table of files that could not be used."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from features.errors import Reject
from features.io.csv_text import MOST_FIELD_BYTES, csv_label, csv_lines, read_csv_label
from features.io.filesystem import Location, filesystem_of
from features.runtime.quantities import counted
from features.sources.audio_names import NOT_AUDIO
from features.sources.paths import csv_path, unescape_path

COLUMNS = ("path", "stage", "reason", "message")
# By these a feature set knows a file again, and does not try it anew until it changes.
STATE_COLUMNS = ("start", "duration", "size", "mtime_ns", "content_hash")
VERSION_COLUMN = "version"
"""That of objects of a store, which stands last in a table that has any."""
_UNLABELLED = ("windows ", "recordings ", "files ")


def in_order(rejects: Iterable[Reject]) -> list[Reject]:
    """Sorts rejects by the bytes of their paths, then by start."""
    return sorted(rejects, key=lambda reject: (unescape_path(reject.path), reject.start))


def to_csv(rejects: Iterable[Reject], columns: Sequence[str] = COLUMNS) -> str:
    """Returns the table as CSV, one line per file; what is not known is empty."""
    return csv_lines([columns, *([_text(reject, name) for name in columns] for reject in rejects)])


def _text(reject: Reject, column: str) -> str:
    value = getattr(reject, column)
    if value is None:
        return ""
    return csv_path(value) if column == "path" else csv_label(value) if column == "label" else str(value)


def read_csv(path: Location) -> list[Reject]:
    """Reads a feature set's table; one of format version 1 has no state of the files, an early one no labels.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not such a table.
    """
    try:
        with _opened(path) as file:
            csv.field_size_limit(MOST_FIELD_BYTES)
            return [_reject(row) for row in csv.DictReader(file, strict=True)]
    except (KeyError, TypeError, csv.Error) as error:
        raise ValueError(f"{path} is not a table of rejects: {error!r}") from error


def _opened(path: Location) -> TextIO:
    if isinstance(path, Path):
        return open(path, encoding="utf-8", newline="")
    return io.TextIOWrapper(io.BytesIO(filesystem_of(path).read(path)), encoding="utf-8", newline="")


def _reject(row: dict[str, str]) -> Reject:
    path = row["path"].removeprefix("./")
    size, mtime_ns, duration = (int(row[name]) if row.get(name) else None for name in ("size", "mtime_ns", "duration"))
    start, content_hash = int(row.get("start") or 0), row.get("content_hash") or None
    return Reject(path, row["stage"], row["reason"], row["message"], start, duration, size, mtime_ns, content_hash,
                  read_csv_label(row.get("label") or "") or None, row.get(VERSION_COLUMN) or None)  # fmt: skip


def rejects_sentence(rejects: dict[str, int], table: Location) -> str:
    """Returns what the last paragraph says of files that could not be used.

    Args:
        rejects: files by reason code.
        table: where each stands with its reason.
    """
    if not rejects:
        return " No file was rejected."
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(rejects.items()))
    total = sum(rejects.values())
    return f" {counted(total, 'file was', 'files were')} rejected ({reasons}), each with its reason in {table}."


def left_out_sentence(left_out: dict[str, int]) -> str:
    """Returns what the last paragraph says of what was left out: by its name, or as it has no label or partition.

    Args:
        left_out: as `features.sources.clips.Source` has it.
    """
    count = left_out.get(NOT_AUDIO, 0)
    unlabelled = ", ".join(_counted(why, number) for why, number in left_out.items() if why.startswith(_UNLABELLED))
    names = f" {counted(count, 'file was', 'files were')} left out by name, as no audio ends so." if count else ""
    return names + (f" Not used: {unlabelled}." if unlabelled else "")


def _counted(why: str, number: int) -> str:
    things, _, how = why.partition(" ")
    return f"{counted(number, things.removesuffix('s'))} {how}"


def warnings_sentence(warnings: dict[str, int], table: Location) -> str:
    """Returns what the last paragraph says of files that are used although they have a warning.

    Args:
        warnings: number of files by warning.
        table: where it stands of each.
    """
    if not any(warnings.values()):
        return ""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(warnings.items()) if count)
    return f" Used all the same, see {table}: {kinds}."
