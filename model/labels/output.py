"""What a scoring writes: any number of outputs take the same windows, in the same order."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType

from features.io.entry import AnyPath
from model.labels.earlier_table import Merge
from model.labels.labels import LabelRules, labels_table
from model.labels.recording_columns import RecordingColumns
from model.labels.table_output import TableOutput
from model.labels.window_rows import WindowRows

LABELS = "labels"


class Output(ABC):
    """One of the outputs of a scoring, used in a `with` block; nothing is left of one that is not finished there."""

    @abstractmethod
    def write(self, rows: WindowRows) -> None:
        """Takes windows, in the order of the output."""

    def complete(self) -> None:  # noqa: B027 - it is of no use to all
        """Writes all of its tables, so that nothing but their names is missing."""

    @abstractmethod
    def finish(self) -> None:
        """Has the output appear under its name, after `complete`."""

    @property
    def tables(self) -> Mapping[str, TableOutput]:
        """The tables among what it writes, by what they hold: those that a later run goes on from."""
        return {}

    @property
    def checksums(self) -> Mapping[str, Mapping[str, int]]:
        """CRC-32C of the files that it writes for recordings, by their form and the path of the recording."""
        return {}

    def keep(self, paths: Sequence[str]) -> None:  # noqa: B027 - tables know by themselves
        """Leaves what is there of recordings as it is, where it is not in a table."""

    @abstractmethod
    def __enter__(self) -> "Output":
        """Begins to write."""

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves nothing of an output that was not finished."""


class LabelsOutput(Output):
    """The labels of every window, as a table.

    Attributes:
        table: that is written.
    """

    def __init__(
        self, path: AnyPath, rules: LabelRules, columns: RecordingColumns | None = None, merge: Merge | None = None
    ) -> None:
        """Nothing is written before the block begins.

        Args:
            path: of the file, whose ending says its form.
            rules: which lines a window has.
            columns: that lines have of their recordings.
            merge: where it goes on from an earlier file.
        """
        self._rules = rules
        self._columns = columns
        schema = rules.schema if columns is None else columns.extended(rules.schema)
        self.table = TableOutput(path, schema, merge)

    def write(self, rows: WindowRows) -> None:
        """See `Output`."""
        lines = labels_table(rows, self._rules)
        self.table.append(lines if self._columns is None else self._columns.append_to(lines))

    def complete(self) -> None:
        """See `Output`."""
        self.table.complete()

    def finish(self) -> None:
        """See `Output`."""
        self.table.finish()

    @property
    def tables(self) -> Mapping[str, TableOutput]:
        """See `Output`."""
        return {LABELS: self.table}

    def __enter__(self) -> "LabelsOutput":
        """See `Output`."""
        self.table.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `Output`."""
        self.table.__exit__(kind, error, trace)
