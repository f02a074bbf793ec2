"""Writes review.csv as the pages do."""

from collections.abc import Iterable
from pathlib import Path

from features.io.csv_text import csv_label, csv_lines
from features.sources.paths import csv_path
from features.sources.review import COLUMNS

# Path, where the clip begins and ends in seconds, label, verdict, and the label that is correct where there is one.
Row = tuple[str, float, float, str, str] | tuple[str, float, float, str, str, str]


def write_review(path: Path, rows: Iterable[Row]) -> Path:
    lines = [(csv_path(name), f"{start:.6f}", f"{end:.6f}", csv_label(label), verdict, *map(csv_label, correct or [""]))
             for name, start, end, label, verdict, *correct in rows]  # fmt: skip
    path.write_text(csv_lines([COLUMNS, *lines]), encoding="utf-8", newline="")
    return path
