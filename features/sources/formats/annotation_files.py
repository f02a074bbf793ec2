"""Reads what was annotated in recordings: Raven's selection tables and Audacity's label tracks.

Raven writes a table with tabs and the names of its columns, with `Begin Time (s)` among them. Audacity writes a label a
line, start, end and text with tabs between; a line that begins with a backslash has the frequencies of the one before.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from features.errors import Reject, UsageError, one_line
from features.io.text_encoding import text_encoding
from features.sources.labels import clean_label
from features.sources.row_clips import bad_row, torn_rejects
from features.sources.selections import once_a_selection
from features.sources.table_rows import Rows, is_text, read_rows
from features.sources.table_times import read_times

_BEGIN, _END, _OFFSET = "Begin Time (s)", "End Time (s)", "File Offset (s)"
_PATH, _FILE = "Begin Path", "Begin File"
# Raven's own column of labels, and those of people and of BirdNET-Analyzer; one of them is read where none is named.
LABEL_COLUMNS = ("Annotation", "Species", "Label", "Common Name")
_TRACK = ("start", "end", "label")
_BACKSLASH = "\\"
_HEAD_CHARACTERS = 4096
ENDINGS = (".txt", ".tsv")


@dataclass(frozen=True)
class Annotation:
    """A stretch of a recording that has a label.

    Attributes:
        start_seconds: where it begins.
        end_seconds: where it ends; the same for a point.
        label: None where the row has none.
        named: the recording as the row names it, its path and its name, each empty where there is none.
        where: its file and line.
    """

    start_seconds: float
    end_seconds: float
    label: str | None
    named: tuple[str, str]
    where: str


@dataclass
class AnnotationFile:
    """The annotations of a file.

    Attributes:
        name: of the file, relative to the folder of annotations.
        annotations: in the order of the file.
        rejects: of rows that cannot be read.
        notes: what there is to say about it.
    """

    name: str
    annotations: list[Annotation] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_annotations(path: str, name: str, label_column: str | None) -> AnnotationFile | None:
    """Reads a file of annotations.

    Args:
        path: of the file.
        name: relative to the folder of annotations, for messages.
        label_column: of the labels of selection tables; None for the one of `LABEL_COLUMNS` that is there.

    Returns:
        Its annotations; None where it is neither a selection table nor a label track.

    Raises:
        UsageError: it cannot be read, has no column of labels, or its times count from the beginning of another file.
    """
    try:
        with open(path, encoding=text_encoding(path), errors="surrogateescape") as file:
            lines = [line.removesuffix("\n") for line in file]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"cannot read {path}: {one_line(error)}") from error
    first = next((line for line in lines if line.strip()), "")
    if _BEGIN in first:
        return _read_table(path, name, label_column)
    return None if first and not _is_label(first) else _read_track(lines, name)


def kind_of_annotations(path: str) -> str | None:
    """Returns what a local file with annotations is, by its first line; None of another file."""
    try:
        with open(path, encoding=text_encoding(path), errors="replace") as file:
            first = next((line for line in file.read(_HEAD_CHARACTERS).splitlines() if line.strip()), "")
    except (OSError, UnicodeError):
        return None
    if _BEGIN in first:
        return "a selection table of Raven"
    return "a label track of Audacity" if _is_label(first) else None


def _read_table(path: str, name: str, label_column: str | None) -> AnnotationFile:
    """Reads a selection table of Raven's."""
    wanted = [_BEGIN, _END, _OFFSET, _PATH, _FILE, *([label_column] if label_column else LABEL_COLUMNS)]
    rows = read_rows(path, wanted, ("Selection", "View"))
    found = AnnotationFile(name, rejects=torn_rejects(rows))
    if not rows.numbers:
        return found
    for column in (_BEGIN, _END):
        rows.require(column, "Raven's measurement of that name")
    label = _label_column(rows, label_column)
    rows, found.notes = once_a_selection(rows, [column for column in wanted if column in rows.columns])
    nothing = [""] * len(rows.numbers)
    named = list(zip(rows.values.get(_PATH, nothing), rows.values.get(_FILE, nothing), strict=True))
    offsets = _OFFSET in rows.values
    if not offsets and len({path or file for path, file in named} - {""}) > 1:
        raise UsageError(
            f"{name} names several recordings in {_PATH if _PATH in rows.values else _FILE!r} and has no {_OFFSET!r}, "
            "and to Raven "
            f"they are one sound: {_BEGIN!r} counts from the beginning of the first; add that measurement to the table"
        )
    times = _Times.of(rows, {"start": _BEGIN, "end": _END}, _OFFSET if offsets else None)
    _take(found, rows, times, rows.values[label], named)
    return found


def _label_column(rows: Rows, given: str | None) -> str:
    """Returns the column of the labels."""
    if given is not None:
        rows.require(given, "--label-column")
        return given
    there = [name for name in LABEL_COLUMNS if name in rows.columns]
    if len(there) != 1:
        has = (
            f"the columns {' and '.join(map(repr, there))}"
            if there
            else f"none of {', '.join(map(repr, LABEL_COLUMNS))}"
        )
        columns = ", ".join(map(repr, rows.columns))
        raise UsageError(f"{rows.name} has {has}, of which one has the labels; --label-column names one of {columns}")
    rows.require(there[0], "--label-column")
    return there[0]


def _read_track(lines: Sequence[str], name: str) -> AnnotationFile:
    """Reads a label track of Audacity's."""
    found = AnnotationFile(name)
    values: dict[str, list[str]] = {column: [] for column in _TRACK}
    numbers = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith(_BACKSLASH):
            continue
        if not _is_label(line):
            found.rejects.append(bad_row(f"{name}, line {number}", "a line of a label track has the seconds of its "
                                                                   "start and its end, "
                                         f"and then the label, with tabs between, not {line[:60]!r}"))  # fmt: skip
            continue
        numbers.append(number)
        # As Audacity has it, a tab ends the label; BirdNET-Analyzer writes its confidence behind one.
        for column, text in zip(_TRACK, [*line.split("\t"), ""], strict=False):
            values[column].append(text)
    rows = Rows(name, "line", list(_TRACK), values, numbers)
    _take(
        found, rows, _Times.of(rows, {"start": "start", "end": "end"}, None), values["label"], [("", "")] * len(numbers)
    )
    return found


def _is_label(line: str) -> bool:
    """Returns whether a line begins with two numbers and tabs behind them."""
    fields = line.split("\t")
    try:
        return len(fields) > 1 and all(float(text.replace(",", ".")) is not None for text in fields[:2])
    except ValueError:
        return False


@dataclass(frozen=True)
class _Times:
    """Seconds within the recording of each row, and what is wrong with some."""

    starts: Sequence[float]
    ends: Sequence[float]
    wrong: Mapping[int, str]

    @classmethod
    def of(cls, rows: Rows, used: Mapping[str, str], offset: str | None) -> "_Times":
        """Reads start and end; with a column of offsets, that is the start and the others say how long it lasts."""
        times = read_times(rows, used, points=True)
        starts, ends, wrong = times.seconds["start"], times.seconds["end"], dict(times.wrong)
        if offset is not None:
            own = read_times(rows, {"start": offset})
            ends = [begin + (end - start) for begin, start, end in zip(own.seconds["start"], starts, ends, strict=True)]
            starts, wrong = own.seconds["start"], {**own.wrong, **wrong}
        return cls(starts, ends, wrong)


def _take(
    found: AnnotationFile, rows: Rows, times: _Times, labels: Sequence[str], named: Sequence[tuple[str, str]]
) -> None:
    """Adds the rows of a file to its annotations, or to its rejects."""
    for row, text in enumerate(labels):
        where = f"{found.name}, {rows.unit} {rows.numbers[row]}"
        if row in times.wrong:
            found.rejects.append(bad_row(where, times.wrong[row]))
            continue
        if not is_text(text):
            raise UsageError(f"{where}: a label is UTF-8, but it is {text!r}; save the file as UTF-8")
        found.annotations.append(
            Annotation(times.starts[row], times.ends[row], clean_label(text), named[row], where)
        )  # fmt: skip


def annotation_files(place: str) -> Iterator[tuple[str, str]]:
    """Yields path and name of the files of annotations in a folder and below, in their order, or of the one file.

    Raises:
        UsageError: there is no such file or folder.
    """
    if os.path.isfile(place):
        yield place, os.path.basename(place)
        return
    if not os.path.isdir(place):
        raise UsageError(
            f"--annotations is a folder of selection tables or label tracks, or one, and there is no {place}"
        )
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                path = os.path.join(folder, name)
                yield path, os.path.relpath(path, place)
