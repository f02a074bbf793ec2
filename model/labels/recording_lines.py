"""Outputs whose lines follow from whole recordings: events, and files that other programs open beside a recording."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc

from model.labels.output import Output
from model.labels.selection_tables import SelectionTables
from model.labels.table_output import TableOutput
from model.labels.whole_recordings import WholeRecordings
from model.labels.window_rows import WindowRows

EVENTS = "events"


class RecordingLines(Output):
    """Lines of whole recordings: in a table, and in selection tables of any forms.

    Attributes:
        counts: how many lines each label has so far.
    """

    def __init__(
        self,
        lines: Callable[[WindowRows], pa.Table],
        table: TableOutput | None,
        folders: Sequence[SelectionTables],
    ) -> None:
        """Takes what it writes to.

        Args:
            lines: returns the lines of whole recordings, in their order, with the columns `path` and `label` among
                others.
            table: that takes the lines of all recordings.
            folders: that take them a file a recording.
        """
        self.counts: Counter[str] = Counter()
        self._lines, self._table, self._folders = lines, table, folders
        self._recordings = WholeRecordings()
        self._open = ExitStack()

    def write(self, rows: WindowRows) -> None:
        """See `Output`."""
        self._append(self._recordings.take(rows))

    def complete(self) -> None:
        """See `Output`."""
        rest = self._recordings.rest()
        if rest is not None:
            self._append(rest)
        if self._table is not None:
            self._table.complete()

    def finish(self) -> None:
        """See `Output`."""
        for folder in self._folders:
            folder.finish()
        if self._table is not None:
            self._table.finish()

    @property
    def tables(self) -> Mapping[str, TableOutput]:
        """See `Output`."""
        return {} if self._table is None else {EVENTS: self._table}

    @property
    def checksums(self) -> Mapping[str, Mapping[str, int]]:
        """See `Output`."""
        return {folder.form: folder.checksums for folder in self._folders}

    def keep(self, paths: Sequence[str]) -> None:
        """See `Output`."""
        for folder in self._folders:
            folder.keep(paths)

    def _append(self, rows: WindowRows) -> None:
        if not len(rows):
            return
        lines = self._lines(rows)
        for found in pc.value_counts(lines["label"]).to_pylist():
            self.counts[found["values"]] += found["counts"]
        if self._table is not None:
            self._table.append(lines)
        for folder in self._folders:
            folder.append(rows.paths, lines)

    def __enter__(self) -> "RecordingLines":
        """See `Output`."""
        with ExitStack() as begun:
            for folder in self._folders:
                begun.enter_context(folder)
            if self._table is not None:
                begun.enter_context(self._table)
            self._open = begun.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `Output`."""
        self._open.__exit__(kind, error, trace)
