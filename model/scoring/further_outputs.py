"""What a scoring writes beside the labels where it is asked for: events, and files that other programs open."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from features.errors import UsageError
from features.io.filesystem import exists, filesystem_of, is_uri, place
from features.sources.paths import absolute_path
from model.labels.events import EVENTS_SCHEMA, EventRules, find_events
from model.labels.labels import LabelRules, labels_table
from model.labels.output import Output
from model.labels.recording_columns import RecordingColumns
from model.labels.recording_lines import RecordingLines
from model.labels.selection_tables import SelectionForm, SelectionTables, check_selection_forms
from model.labels.table_output import TableOutput, check_table_name
from model.labels.window_rows import WindowRows
from model.scoring.output_files import OutputFiles


@dataclass(frozen=True)
class FurtherOutputs:
    """What is written beside the labels.

    Attributes:
        files: of the scoring.
        rules: which lines of labels a window has.
        events: what makes an event; None where none are asked for.
        events_path: of their table.
        forms: of files for each recording, `SELECTION_FORMS`.
        high_hz: the highest frequency that the network's features have.
    """

    files: OutputFiles
    rules: LabelRules
    events: EventRules | None
    events_path: str
    forms: Sequence[str]
    high_hz: float

    def check(self, may_replace: bool) -> None:
        """Raises `UsageError` where a file or folder cannot be written, or is there and may not be replaced."""
        check_selection_forms(self.forms)
        folders = [self.files.selections(form) for form in self.forms]
        if self.events is not None:
            check_table_name("--events", self.events_path)
            if absolute_path(self.events_path) in self.files.tables:
                raise UsageError(f"--events {self.events_path} has the name of another output of this scoring; give it "
                                 "one of its own")  # fmt: skip
            if os.path.isdir(self.events_path):
                raise UsageError(f"--events is a file, but {self.events_path} is a folder")
            if not is_uri(self.events_path) and not os.path.isdir(os.path.dirname(absolute_path(self.events_path))):
                raise UsageError(f"no folder for --events {self.events_path}; make it first")
            if exists(self.events_path) and not may_replace:
                raise UsageError(f"{self.events_path} exists; give other --events, or --overwrite to replace it")
        for folder in folders:
            if os.path.lexists(folder) and not os.path.isdir(folder):
                raise UsageError(f"{folder} is in the way: the files that --labels asks for are written there")
            if not may_replace and any(True for _ in filesystem_of(folder).list(folder)):
                raise UsageError(f"{folder} holds files already; move it, or give --overwrite to replace them")

    def outputs(self, root: str, columns: RecordingColumns | None) -> list[RecordingLines]:
        """Returns what writes it.

        Args:
            root: where the paths of recordings begin.
            columns: that lines have of their recordings.
        """

        def lines(rows: WindowRows) -> pa.Table:
            found = self._lines(rows)
            return found if columns is None else columns.append_to(found)

        if self.events is None and not self.forms:
            return []
        forms = [SelectionForm(name, root, self.high_hz) for name in self.forms]
        folders = [SelectionTables(self.files.selections(form.name), form) for form in forms]
        if self.events is None:
            return [RecordingLines(lines, None, folders)]
        schema = EVENTS_SCHEMA if columns is None else columns.extended(EVENTS_SCHEMA)
        return [RecordingLines(lines, TableOutput(place(absolute_path(self.events_path)), schema), folders)]

    def counts(self, outputs: Iterable[Output]) -> dict[str, int] | None:
        """Returns how many events of each label were written, the most frequent first; None where none are asked for.

        Args:
            outputs: all that were written, those of this among them.
        """
        if self.events is None:
            return None
        found = sum((output.counts for output in outputs if isinstance(output, RecordingLines)), Counter[str]())
        return dict(found.most_common())

    def _lines(self, rows: WindowRows) -> pa.Table:
        if self.events is None:
            return labels_table(rows, self.rules)
        found = find_events(rows.counts, rows.start_seconds, rows.end_seconds, rows.probabilities, self.events)
        return found.to_table(rows.paths, self.events.classes)
