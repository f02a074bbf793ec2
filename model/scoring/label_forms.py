"""The forms of a file of labels: a CSV, or Parquet with the same columns in their types."""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence, Set
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import UsageError
from features.io.csv_text import csv_lines
from features.io.filesystem import filesystem_of
from features.io.parquet import read_table
from features.sources.paths import csv_path
from model.scoring.labels_csv import Score, csv_header, score_lines

_ROW_GROUP_ROWS = 65_536


class LabelsForm(ABC):
    """How scores are written: in parts, a batch each, and these joined into the file.

    Attributes:
        ending: of the names of such files.
    """

    ending: ClassVar[str]

    @abstractmethod
    def part(self, scores: Sequence[Score], top: int) -> bytes:
        """Returns the content of a part; `top` is the number of labels a window."""

    @abstractmethod
    def join(self, path: str, parts: Iterable[bytes], top: int, without: Set[str]) -> bool:
        """Writes the file; returns whether any score is in it.

        Args:
            path: of the file.
            parts: in its order.
            top: labels a window.
            without: escaped paths whose scores are left out.
        """


class CsvForm(LabelsForm):
    """Lines with six digits; see `model.scoring.labels_csv`."""

    ending = ".csv"

    def part(self, scores: Sequence[Score], top: int) -> bytes:
        """Returns the lines of scores."""
        return score_lines(scores, top).encode()

    def join(self, path: str, parts: Iterable[bytes], top: int, without: Set[str]) -> bool:
        """Writes the header and all lines."""
        written = set(map(csv_path, without))
        with filesystem_of(path).begin(path) as file:
            header = file.write(csv_header(top).encode())
            for lines in parts:
                file.write(_lines_without(lines, written))
        return file.num_bytes > header


class ParquetForm(LabelsForm):
    """Rows of `labels_table`: labels as they are, numbers with all their digits, paths escaped as in all our tables."""

    ending = ".parquet"

    def part(self, scores: Sequence[Score], top: int) -> bytes:
        """Returns a Parquet file of scores."""
        sink = pa.BufferOutputStream()
        pq.write_table(labels_table(scores, [score.path for score in scores], top), sink)
        content: bytes = sink.getvalue().to_pybytes()
        return content

    def join(self, path: str, parts: Iterable[bytes], top: int, without: Set[str]) -> bool:
        """Writes all rows, in row groups that do not depend on the parts."""
        left_out = pa.array(sorted(without), pa.string())
        waiting = labels_table([], [], top)
        any_row = False
        with filesystem_of(path).begin(path) as file, pq.ParquetWriter(file, waiting.schema) as writer:
            for part in parts:
                table = read_table(pa.BufferReader(part))
                if without:
                    table = table.filter(pc.invert(pc.is_in(table["path"], value_set=left_out)))
                any_row = any_row or len(table) > 0
                waiting = pa.concat_tables([waiting, table])
                while len(waiting) >= _ROW_GROUP_ROWS:
                    writer.write_table(waiting.slice(0, _ROW_GROUP_ROWS))
                    waiting = waiting.slice(_ROW_GROUP_ROWS)
            if len(waiting):
                writer.write_table(waiting)
        return any_row


FORMS: tuple[LabelsForm, ...] = (CsvForm(), ParquetForm())


def labels_form(path: str) -> LabelsForm:
    """Returns the form that the name of a file asks for; raises `UsageError` where it asks for none."""
    for form in FORMS:
        if path.lower().endswith(form.ending):
            return form
    endings = " or ".join(form.ending for form in FORMS)
    raise UsageError(f"--output is a file of labels whose name ends in {endings}, not {path}")


def labels_table(scores: Sequence[Score], paths: Sequence[str | None], top: int) -> pa.Table:
    """Returns the table of some scores.

    Args:
        scores: a row each.
        paths: what to put for the path of each.
        top: labels a window; with more than one the table has their rank.

    Returns:
        Table of path, start_seconds, end_seconds, label, probability, and rank where there is more than one a window.
        Numbers are not rounded: with six digits they are those of the CSV.
    """
    columns = {
        "path": pa.array(paths, pa.string()),
        "start_seconds": pa.array([score.start_seconds for score in scores], pa.float64()),
        "end_seconds": pa.array([score.end_seconds for score in scores], pa.float64()),
        "label": pa.array([score.label for score in scores], pa.string()),
        "probability": pa.array([score.probability for score in scores], pa.float64()),
    }
    if top > 1:
        columns["rank"] = pa.array([score.rank for score in scores], pa.int32())
    return pa.table(columns)


def _lines_without(lines: bytes, paths: Set[str]) -> bytes:
    if not paths:
        return lines
    rows = csv.reader(io.StringIO(lines.decode(), newline=""))
    return csv_lines(row for row in rows if row[0] not in paths).encode()
