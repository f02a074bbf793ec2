"""Columns that outputs have of each recording: those that are kept of a table or a header, and the time of each row."""

from bisect import bisect_left

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import RunError
from features.sources.start_times import StartTimes

START_TIME = "start_time"


class RecordingColumns:
    """What rows of an output say of their recordings, by these rows' `path` and `start_seconds`."""

    def __init__(self, paths: pa.Array, kept: pa.Table, starts: StartTimes | None = None) -> None:
        """Takes what is known of recordings.

        Args:
            paths: of the recordings, escaped, each once.
            kept: columns to add, a row a recording.
            starts: when each began, where the time of each row is wanted.
        """
        self._order = pc.sort_indices(paths)
        self._paths = pc.take(paths, self._order)
        self._kept = kept
        self._starts = starts

    def extended(self, schema: pa.Schema) -> pa.Schema:
        """Returns a schema with the columns that are added: those that are kept, and last `start_time`."""
        for field in self._kept.schema:
            schema = schema.append(field)
        return schema if self._starts is None else schema.append(pa.field(START_TIME, pa.string()))

    def append_to(self, table: pa.Table) -> pa.Table:
        """Returns rows with their columns.

        Args:
            table: with the columns `path` and, where times are wanted, `start_seconds`.

        Returns:
            The table, with more columns as `extended` names them. A time is ISO 8601 to the millisecond, with its
            offset from UTC where the zone is known; it is null where no time is known.
        """
        paths = table["path"].combine_chunks().dictionary_encode()
        numbers = [self._number(path) for path in paths.dictionary.to_pylist()]
        recordings = np.array(numbers, np.int64)[paths.indices.to_numpy()]
        for field, column in zip(self._kept.schema, self._kept.columns, strict=True):
            table = table.append_column(field, column.take(pa.array(recordings)))
        if self._starts is not None:
            times = self._starts.at(recordings, table["start_seconds"].to_numpy())
            table = table.append_column(START_TIME, times)
        return table

    def _number(self, path: str) -> int:
        place = bisect_left(_Texts(self._paths), path)
        if place == len(self._paths) or self._paths[place].as_py() != path:
            raise RunError(f"{path} is not among the recordings whose columns are known")
        number: int = self._order[place].as_py()
        return number


class _Texts:
    """Strings of an array in the order of their bytes, which is that of their characters."""

    def __init__(self, array: pa.Array) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, number: int) -> str:
        text: str = self._array[number].as_py()
        return text
