"""Reads a table of labels as score writes it, whole recordings at a time, in memory that does not grow with its lines.

CSV, Parquet and JSON lines of one scoring are read alike, to the digits that a CSV has.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from features.errors import RunError, UsageError, one_line
from features.io.csv_text import FORMULA_STARTS, read_csv_label
from features.io.local_copy import local_copy
from model.labels.recording_columns import START_TIME
from model.labels.table_output import check_table_name
from model.pages.table_batches import batches, column_names

_NEEDED = {
    "path": pa.string(),
    "start_seconds": pa.float64(),
    "end_seconds": pa.float64(),
    "label": pa.string(),
    "probability": pa.float64(),
}
_RANK = "rank"
_PROBABILITY = "probability_"
_DIGITS = 1e6  # of a second and of a probability, as a CSV has them
NO_TIME = -1
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines of whole recordings, those of each one after the other.

    Attributes:
        paths: of the recordings, escaped.
        counts: how many lines each has, int64 of shape (recordings,).
        start_seconds: where the window of each line begins, float64 of shape (lines,).
        end_seconds: where it ends.
        labels: number of the label of each line, int64, as `ScoredTable.labels` counts them.
        probabilities: of the label, float64.
        hours: whole hours of the clock since 1970 at which each window begins, int64; `NO_TIME` where that is unknown.
    """

    paths: list[str]
    counts: NDArray[np.int64]
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    hours: NDArray[np.int64]

    def __len__(self) -> int:
        """Returns the number of lines."""
        return len(self.labels)

    @property
    def recordings(self) -> NDArray[np.int64]:
        """The number of the recording of each line, int64 of shape (lines,)."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def of_recording(self, number: int) -> "Lines":
        """Returns the lines of one recording, as copies that keep nothing else in memory."""
        first = int(self.counts[:number].sum())
        span = slice(first, first + int(self.counts[number]))
        return Lines(
            paths=[self.paths[number]],
            counts=self.counts[number : number + 1].copy(),
            start_seconds=self.start_seconds[span].copy(),
            end_seconds=self.end_seconds[span].copy(),
            labels=self.labels[span].copy(),
            probabilities=self.probabilities[span].copy(),
            hours=self.hours[span].copy(),
        )


class ScoredTable:
    """A table of labels that is open; it is used in a `with` block.

    Attributes:
        labels: those that were met so far, in the order in which they were.
        has_times: whether its lines say when they begin.
        has_others: whether it says of windows how probable other labels are.
    """

    def __init__(self, place: str) -> None:
        """Keeps where it lies; see `TABLE_FORMS` for what its name ends in.

        Raises:
            UsageError: its name ends otherwise.
        """
        check_table_name("the table of labels", place)
        self.place = place
        self.labels: list[str] = []
        self._numbers: dict[str, int] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "ScoredTable":
        """Opens it; raises `UsageError` where it is not there, or no table of labels."""
        try:
            self._path = self._open.enter_context(local_copy(self.place))
            names = column_names(self._path)
        except (OSError, pa.ArrowException, ValueError) as error:
            self._open.close()
            raise UsageError(f"cannot read {self.place}: {one_line(error)}") from error
        if missing := [name for name in _NEEDED if name not in names] if names is not None else []:
            self._open.close()
            raise UsageError(f"{self.place} has no column {missing[0]}; a table of labels as score writes it has "
                             f"{', '.join(_NEEDED)}")  # fmt: skip
        self._is_empty = names is None
        self.has_times = START_TIME in (names or ())
        self._others = [name for name in names or () if name.startswith(_PROBABILITY)]
        self.has_others = bool(self._others) or _RANK in (names or ())
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self._open.close()

    def recordings(self) -> Iterator[Lines]:
        """Yields all lines, whole recordings at a time, as many as were read at once.

        Raises:
            UsageError: a value is missing or is not what it may be, or lines of a recording lie apart.
        """
        seen: set[int] = set()
        first = 0
        for table in _whole_recordings(self._tables([START_TIME] if self.has_times else [])):
            yield self._lines(table, first, seen)
            first += len(table)

    def other_labels(
        self, windows: Sequence[tuple[str, float]], most: int
    ) -> dict[tuple[str, float], list[tuple[str, float]]]:
        """Returns what the table says of other labels of some windows, the most probable first.

        Args:
            windows: path and start of each.
            most: labels of a window.
        """
        found: dict[tuple[str, float], dict[str, float]] = {window: {} for window in windows}
        paths = pa.array(sorted({path for path, _ in windows}), pa.string())
        for table in self._tables(self._others):
            of_paths = table.filter(pc.is_in(table["path"], value_set=paths))
            for row in of_paths.to_pylist() if len(of_paths) else []:
                of_window = found.get((row["path"], float(_rounded(np.array([row["start_seconds"]]))[0])))
                if of_window is not None:
                    of_window[row["label"]] = row["probability"]
                    of_window |= {name.removeprefix(_PROBABILITY): row[name] for name in self._others}
        return {
            window: sorted(labels.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
            for window, labels in found.items()
        }

    def _tables(self, more: Sequence[str]) -> Iterator[pa.Table]:
        """Yields rows as they are read, with paths and labels as they are outside of a CSV."""
        if self._is_empty:
            return
        types = _NEEDED | {name: pa.string() if name == START_TIME else pa.float64() for name in more}
        try:
            for batch in batches(self._path, types):
                table = pa.table([_as(batch[name], kind) for name, kind in types.items()], names=list(types))
                if self._path.lower().endswith(".csv"):
                    table = _changed(table, "path", _without_dot)
                    table = _changed(table, "label", read_csv_label)
                yield table
        except (pa.ArrowException, UnicodeError) as error:
            raise UsageError(f"{self.place} is not a table of labels as score writes it: {one_line(error)}") from error
        except OSError as error:
            raise RunError(f"cannot read {self.place}: {one_line(error)}") from error

    def _lines(self, table: pa.Table, first: int, seen: set[int]) -> Lines:
        """Returns rows as lines; `first` is the number of the first row, `seen` has hashes of the paths before."""
        paths = table["path"].combine_chunks().dictionary_encode()
        codes = paths.indices.to_numpy()
        begins = np.flatnonzero(np.diff(codes, prepend=-1))
        names = paths.dictionary.to_pylist()
        in_order = [names[code] for code in codes[begins].tolist()]
        for row, name in zip(begins.tolist(), in_order, strict=True):
            key = xxhash.xxh3_64_intdigest(name.encode())
            if key in seen:
                raise UsageError(f"{self.place}, row {first + row + 1:,}: lines of {name} lie apart, and in a table of "
                                 "score those of a recording follow one another; sort it by path")  # fmt: skip
            seen.add(key)
        labels = table["label"].combine_chunks().dictionary_encode()
        numbers = np.array([self._number(label) for label in labels.dictionary.to_pylist()], np.int64)
        start, end, probabilities = (
            _rounded(table[name].to_numpy()) for name in ("start_seconds", "end_seconds", "probability")
        )
        wrong = ~((probabilities >= 0) & (probabilities <= 1) & (start >= 0) & (end >= start) & np.isfinite(end))
        if wrong.any():
            row = int(wrong.argmax())
            raise UsageError(f"{self.place}, row {first + row + 1:,}: a window from {start[row]:g} to {end[row]:g} s "
                             f"with probability {probabilities[row]:g}; a table of score has times from 0 on and "
                             "probabilities from 0 to 1")  # fmt: skip
        return Lines(
            paths=in_order,
            counts=np.diff(begins, append=len(table)),
            start_seconds=start,
            end_seconds=end,
            labels=numbers[labels.indices.to_numpy()],
            probabilities=probabilities,
            hours=_hours(table[START_TIME]) if self.has_times else np.full(len(table), NO_TIME, np.int64),
        )

    def _number(self, label: str) -> int:
        if label not in self._numbers:
            self._numbers[label] = len(self.labels)
            self.labels.append(label)
        return self._numbers[label]


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns numbers with the digits that a CSV has, to the bit as they are read there."""
    return np.rint(values * _DIGITS) / _DIGITS


def _hours(times: pa.ChunkedArray) -> NDArray[np.int64]:
    """Returns the hour of the clock at which each of some times by ISO 8601 lies, since 1970."""
    encoded = pc.utf8_slice_codeunits(times.fill_null(""), 0, 13).combine_chunks().dictionary_encode()
    hours = np.array([_hour(text) for text in encoded.dictionary.to_pylist()], np.int64)
    of_rows: NDArray[np.int64] = hours[encoded.indices.to_numpy()]
    return of_rows


def _hour(text: str) -> int:
    try:
        since = datetime.strptime(text, "%Y-%m-%dT%H") - _EPOCH
    except ValueError:
        return NO_TIME
    hour = since.days * 24 + since.seconds // 3600
    return hour if hour >= 0 else NO_TIME


def _as(column: Any, kind: pa.DataType) -> Any:
    if column.type != kind:
        column = column.cast(kind)
    if column.null_count and pa.types.is_floating(kind):
        raise pa.ArrowInvalid("a number is missing")
    return column.fill_null("") if column.null_count else column


def _changed(table: pa.Table, name: str, change: Any) -> pa.Table:
    """Returns a table with a column of strings changed, each text once."""
    encoded = table[name].combine_chunks().dictionary_encode()
    words = encoded.dictionary.to_pylist()
    changed = [change(word) for word in words]
    if changed == words:
        return table
    place = table.column_names.index(name)
    return table.set_column(place, name, pa.array(changed, pa.string()).take(encoded.indices))


def _without_dot(path: str) -> str:
    """Returns the escaped path that a CSV has behind a `./`, where that stands before what looks like a formula."""
    return path[2:] if path.startswith("./") and path[2:].startswith(FORMULA_STARTS) else path


def _whole_recordings(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yields the rows of tables again so that no recording is in two of them."""
    waiting: list[pa.Table] = []
    for table in tables:
        if not len(table):
            continue
        paths = table["path"]
        others = pc.not_equal(paths, paths[len(paths) - 1]).to_numpy()
        before = int(np.flatnonzero(others)[-1]) + 1 if others.any() else 0
        if waiting and not before and waiting[-1]["path"][0] != paths[0]:
            yield pa.concat_tables(waiting)
            waiting = []
        if before:
            yield pa.concat_tables([*waiting, table.slice(0, before)])
            waiting = []
        waiting.append(table.slice(before))
    if waiting:
        yield pa.concat_tables(waiting)
