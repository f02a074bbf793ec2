"""What a scoring writes beside the labels where it is asked for: events, and files that other programs open."""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from features.errors import UsageError
from features.io.filesystem import exists, filesystem_of, is_uri, place
from features.io.local_copy import check_file_place
from features.sources.paths import absolute_path
from model.labels.earlier_table import Merge
from model.labels.embeddings import EMBEDDINGS, EmbeddingsOutput, stored_embedding
from model.labels.events import EVENTS_SCHEMA, EventRules, find_events
from model.labels.labels import LabelRules, labels_table
from model.labels.output import Output
from model.labels.recording_columns import RecordingColumns
from model.labels.recording_lines import EVENTS, RecordingLines
from model.labels.selection_tables import SelectionForm, SelectionTables, check_selection_forms
from model.labels.table_output import TableOutput, check_table_name
from model.labels.window_rows import WindowRows
from model.scoring.options import EmbeddingOptions
from model.scoring.output_files import OutputFiles


@dataclass(frozen=True)
class FurtherOutputs:
    """What is written beside the labels.

    Attributes:
        files: of the scoring.
        rules: which lines of labels a window has.
        events: what makes an event; None where none are asked for.
        events_path: of their table.
        embeddings: where embeddings are written.
        forms: of files for each recording, `SELECTION_FORMS`.
        high_hz: the highest frequency that the network's features have.
    """

    files: OutputFiles
    rules: LabelRules
    events: EventRules | None
    events_path: str
    embeddings: EmbeddingOptions
    forms: Sequence[str]
    high_hz: float

    def check(self, may_replace: bool) -> None:
        """Raises `UsageError` where a file or folder cannot be written, or is there and may not be replaced."""
        check_selection_forms(self.forms)
        self.embeddings.check()
        folders = [self.files.selections(form) for form in self.forms]
        taken = set(self.files.tables)
        if self.events is not None:
            check_table_name("--events", self.events_path)
            _check_file("--events", self.events_path, taken, may_replace)
        if self.embeddings.path is not None:
            _check_file("--embeddings", self.embeddings.path, taken, may_replace)
        for folder in folders:
            if os.path.lexists(folder) and not os.path.isdir(folder):
                raise UsageError(f"{folder} is in the way: the files that --labels asks for are written there")
            if not may_replace and any(True for _ in filesystem_of(folder).list(folder)):
                raise UsageError(f"{folder} holds files already; move it, or give --overwrite to replace them")

    def check_inputs(self, inputs: Iterable[str]) -> None:
        """Raises `UsageError` where a table would be written in the place of a file that is read."""
        read = {_real_path(path): path for path in inputs}
        for path in (*self.files.tables, *self.tables.values()):
            if found := read.get(_real_path(path)):
                raise UsageError(f"{path} would be written, and {found} is read; give what is written another name")

    def check_apart(self, folder: str) -> None:
        """Raises `UsageError` where something lies in the folder of the cut-outs, which is replaced as a whole."""
        for path in (*self.files.tables, *self.tables.values(), *map(self.files.selections, self.forms)):
            if not is_uri(path) and os.path.commonpath([_real_path(path), _real_path(folder)]) == _real_path(folder):
                raise UsageError(
                    f"--clips {folder} takes cut-outs alone, and {path} would lie there; give another folder"
                )

    def check_kept(self, checksums: Callable[[str], Mapping[str, int]]) -> None:
        """Raises `UsageError` where a file of a recording whose labels stay is not there as it was written.

        Args:
            checksums: returns those of the files of a form, by the paths of the recordings.
        """
        for form in self.forms:
            folder = SelectionTables(self.files.selections(form), SelectionForm(form, "", self.high_hz))
            folder.check_unchanged(checksums(form))

    def settings(self) -> dict[str, object]:
        """Returns what is written, and by which rules."""
        labels = asdict(self.rules) | {"thresholds": _finite(self.rules.thresholds or ())}
        events = self.events and asdict(self.events) | {"thresholds": _finite(self.events.thresholds)}
        return {"labels": labels, "events": events, "files_of_recordings": list(self.forms)}

    @property
    def tables(self) -> dict[str, str]:
        """Where each table lies, by its name."""
        found = {EVENTS: self.events_path} if self.events is not None else {}
        if self.embeddings.path is not None:
            found[EMBEDDINGS] = self.embeddings.path
        return {name: absolute_path(path) for name, path in found.items()}

    def outputs(
        self,
        root: str,
        columns: RecordingColumns | None,
        embedding: tuple[str, int] | None,
        merge: Callable[[str, str], Merge | None],
    ) -> list[Output]:
        """Returns what writes it.

        Args:
            root: where the paths of recordings begin.
            columns: that lines have of their recordings.
            embedding: type and size of the embedding of a window, None where there is no part.
            merge: returns how a table goes on from an earlier one, by its name and place.
        """
        found: list[Output] = []
        merges = {name: merge(name, place) for name, place in self.tables.items()}
        if EMBEDDINGS in merges:
            path = self.tables[EMBEDDINGS]
            embedding = embedding or stored_embedding(path)
            found.append(EmbeddingsOutput(place(path), embedding, columns, merges[EMBEDDINGS]))
        if lines := self._recording_lines(root, columns, merges.get(EVENTS)):
            found.append(lines)
        return found

    def _recording_lines(
        self, root: str, columns: RecordingColumns | None, merge: Merge | None
    ) -> RecordingLines | None:

        def lines(rows: WindowRows) -> pa.Table:
            found = self._lines(rows)
            return found if columns is None else columns.append_to(found)

        if self.events is None and not self.forms:
            return None
        forms = [SelectionForm(name, root, self.high_hz) for name in self.forms]
        folders = [SelectionTables(self.files.selections(form.name), form) for form in forms]
        if self.events is None:
            return RecordingLines(lines, None, folders)
        schema = EVENTS_SCHEMA if columns is None else columns.extended(EVENTS_SCHEMA)
        return RecordingLines(lines, TableOutput(place(self.tables[EVENTS]), schema, merge), folders)

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


def _real_path(path: str) -> str:
    return absolute_path(path) if is_uri(path) else os.path.realpath(path)


def _finite(thresholds: Iterable[float]) -> list[float | None]:
    return [None if math.isinf(threshold) else threshold for threshold in thresholds]


def _check_file(option: str, path: str, taken: set[str], may_replace: bool) -> None:
    """Raises `UsageError` where a table cannot be written, or is there and may not be replaced.

    Args:
        option: that names it.
        path: of the file.
        taken: the files that are written beside it, to which it is added.
        may_replace: whether it may be replaced.
    """
    if absolute_path(path) in taken:
        raise UsageError(f"{option} {path} has the name of another output of this scoring; give it one of its own")
    taken.add(absolute_path(path))
    if not is_uri(path):
        check_file_place(option, path)
    if exists(path) and not may_replace:
        raise UsageError(f"{path} exists; give another {option}, or --overwrite to replace it")
