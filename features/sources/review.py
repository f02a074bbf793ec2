"""Reads review.csv: what a person said of the label of clips and windows, seen and heard on a page."""

import hashlib
import os
from dataclasses import dataclass, replace
from typing import NoReturn

from features.errors import UsageError
from features.io.csv_text import read_csv_label
from features.io.local_copy import local_copy
from features.sources.labels import clean_label
from features.sources.paths import absolute_path, escape_path
from features.sources.table_rows import TABLE_ENDINGS, Rows, is_text, read_rows
from features.sources.table_times import Times, read_times

COLUMNS = ("path", "start_seconds", "end_seconds", "label", "verdict", "correct_label")
RIGHT, WRONG = "right", "wrong"


@dataclass(frozen=True)
class Judgement:
    """What was said of the label of one clip or window.

    Attributes:
        where: file and line, for messages.
        path: of the recording, as `features.sources.paths.escape_path` writes it.
        start_seconds: where it begins within the recording.
        end_seconds: where it ends within it.
        label: that was judged.
        is_right: whether it is the right one.
        correct_label: the right one where it is not, None where none was named.
    """

    where: str
    path: str
    start_seconds: float
    end_seconds: float
    label: str
    is_right: bool
    correct_label: str | None

    @property
    def outcome(self) -> str | None:
        """The label that is right by it, None where no one is known."""
        return self.label if self.is_right else self.correct_label

    @property
    def part(self) -> str:
        """Which part of which recording it is of, for messages."""
        return f"{self.path} from {self.start_seconds:.6f} to {self.end_seconds:.6f} s"

    @property
    def said(self) -> str:
        """What was said, for messages."""
        if self.is_right:
            return f"{self.label!r} is right"
        correct = f", and {self.correct_label!r} correct" if self.correct_label else ""
        return f"{self.label!r} is wrong{correct}"

    def refuse(self, other: "Judgement") -> NoReturn:
        """Raises `UsageError` as another judgement of the same part, a later one, disagrees."""
        of_its_outcome = not self.is_right and other.label == self.outcome
        way_out = "leave one of the lines out"
        if of_its_outcome:  # which the clip has by the first line alone
            way_out = "have the first line say what is correct, and leave the second out"
        raise UsageError(f"two judgements of {self.part} disagree: {self.said} by {self.where}, and {other.said} by "
                         f"{other.where}; {way_out}")  # fmt: skip


@dataclass(frozen=True)
class Review:
    """A file of judgements.

    Attributes:
        place: its absolute path, or its URI.
        sha256: of its content.
        judgements: in its order.
    """

    place: str
    sha256: str
    judgements: list[Judgement]

    @property
    def record(self) -> dict[str, str]:
        """What a manifest says of it."""
        return {"path": escape_path(os.fsencode(self.place)), "sha256": self.sha256}


def read_review(path: str) -> Review:
    """Reads a review.

    Args:
        path: of a table with the columns `COLUMNS`, others beside them; see `features.sources.table_rows.read_rows`.

    Raises:
        UsageError: it cannot be read, or a row is not a judgement; the message names file and line.
    """
    if not path.lower().endswith(TABLE_ENDINGS):
        raise UsageError(f"a review is a table that ends in {' '.join(TABLE_ENDINGS)}, such as the review.csv of a "
                         f"page of model.report; not {path}")  # fmt: skip
    rows = replace(read_rows(path, COLUMNS), name=path)
    for column in COLUMNS:
        if rows.columns.count(column) != 1:
            raise UsageError(f"a review has one column {column!r}, and {path} has {rows.columns.count(column)} of the "
                             f"name; its columns are {','.join(COLUMNS)}")  # fmt: skip
    for number, fault in rows.torn:
        raise UsageError(f"{path}, {rows.unit} {number}: {fault}")
    times = read_times(rows, {"start": "start_seconds", "end": "end_seconds"})
    for row, fault in sorted(times.wrong.items()):
        raise UsageError(f"{rows.where(row)}: {fault}")
    judgements = [_judgement(rows, times, row) for row in range(len(rows.numbers))]
    return Review(absolute_path(path), _sha256(path), judgements)


def _judgement(rows: Rows, times: Times, row: int) -> Judgement:
    path, text, label, correct = (rows.values[name][row] for name in ("path", "verdict", "label", "correct_label"))
    for name, value in (("path", path), ("label", label), ("correct_label", correct)):
        if not is_text(value):
            raise rows.refusal(row, name, f"a {name} is UTF-8", "save the table as UTF-8")
    label, correct = (_label(rows, value) for value in (label, correct))
    verdict = text.strip().lower()
    way_out = "judge it anew, or leave the line out"
    if not path.strip():
        raise rows.refusal(row, "path", "a judgement names a recording", way_out)
    if not label:
        raise rows.refusal(row, "label", "a judgement names the label that was judged", way_out)
    if verdict not in (RIGHT, WRONG):
        raise rows.refusal(row, "verdict", f"a verdict is {RIGHT} or {WRONG}", way_out)
    if correct and verdict == RIGHT:
        raise rows.refusal(row, "correct_label", f"a label that is {RIGHT} has no other that is correct", way_out)
    if correct == label:
        raise rows.refusal(row, "correct_label", f"a label that is {WRONG} is not the correct one as well", way_out)
    start_seconds, end_seconds = (times.seconds[role][row] for role in ("start", "end"))
    return Judgement(rows.where(row), path.removeprefix("./"), start_seconds, end_seconds, label, verdict == RIGHT,
                     correct or None)  # fmt: skip


def _label(rows: Rows, text: str) -> str:
    label = clean_label(text) or ""
    return read_csv_label(label) if rows.of_csv else label


def _sha256(path: str) -> str:
    try:
        with local_copy(path) as copied, open(copied, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:  # it was there a moment ago
        raise UsageError(f"cannot read {escape_path(os.fsencode(path))}: {error}") from error
