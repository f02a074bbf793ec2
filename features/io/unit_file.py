"""Files of numbered units, each of some rows of a table: written in one go, read a unit at a time by its number.

Work lists are such files. One is an Arrow IPC file: a row a unit, with its name and the list of its rows. Whole units
share a record batch of some thousands of rows, so that writing takes as long as its bytes, however small units are;
opening reads the footer alone, whose size follows from the number of batches, and a unit is one batch: a range of the
file, that any reader of ranges can get.
"""

import itertools
import json
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import RunError
from features.io.entry import AnyPath
from features.io.filesystem import filesystem_of
from features.io.ranges import arrow_file

# A batch ends with the unit that has its last one of so many rows: about a millisecond to read, half a megabyte.
_BATCH_ROWS = 8_192
# Rows are taken from one column after the other, in an order of their own: so many at a time that little is fetched
# twice from memory, some megabytes.
_TAKEN_BATCHES = 4
_FIRSTS = b"soundmill.first_units"


def write_units(
    path: AnyPath,
    schema: pa.Schema,
    ends: NDArray[np.int64],
    rows: Callable[[int, int], pa.Table],
    names: Sequence[str] | None = None,
    durable: bool = True,
) -> None:
    """Writes a file of units, of which some batches are held in memory at a time.

    Args:
        path: of the file, which appears when it is whole.
        schema: of the rows.
        ends: for each unit the number of the row after its last one, counted through all units.
        rows: returns the rows from one number up to another; asked for all of them, in their order.
        names: of the units, None where they have none.
        durable: whether the file is fsynced.

    Raises:
        RunError: no space is left.
    """
    firsts = _first_units(ends)
    listed = pa.schema({"unit": pa.string(), "rows": pa.list_(pa.struct(list(schema)))})
    listed = listed.with_metadata({_FIRSTS: json.dumps(firsts)})
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with filesystem_of(path).begin(path, durable) as file, pa.ipc.new_file(file, listed, options=options) as writer:
        for first, last, of_units in _taken_ahead(firsts, ends, rows):
            offsets = np.concatenate([ends[first - 1 : first] if first else [0], ends[first:last]])
            lists = pa.ListArray.from_arrays(pa.array(offsets - offsets[0], pa.int32()), of_units)
            called = pa.nulls(last - first, pa.string()) if names is None else pa.array(names[first:last])
            writer.write_batch(pa.record_batch([called, lists], schema=listed))


def _taken_ahead(
    firsts: list[int], ends: NDArray[np.int64], rows: Callable[[int, int], pa.Table]
) -> Iterator[tuple[int, int, pa.StructArray]]:
    """Yields first unit, end and rows of each batch; a thread takes rows of the next while some are written."""
    starts = [0, *(int(ends[first - 1]) for first in firsts[1:])]  # of the batches: their first rows, and the end

    def take(place: int) -> list[tuple[int, int, pa.StructArray]]:
        bounds = starts[place : place + _TAKEN_BATCHES + 1]
        structs = rows(bounds[0], bounds[-1]).combine_chunks().to_struct_array()
        flat = structs.chunk(0) if structs.num_chunks else pa.array([], structs.type)  # nothing is copied
        parts = [flat.slice(first - bounds[0], last - first) for first, last in itertools.pairwise(bounds)]
        return list(zip(firsts[place:], firsts[place + 1 :], parts, strict=False))

    taken: deque[Future[list[tuple[int, int, pa.StructArray]]]] = deque()
    with ThreadPoolExecutor(1) as thread:
        for place in range(0, len(firsts) - 1, _TAKEN_BATCHES):
            taken.append(thread.submit(take, place))
            if len(taken) > 1:
                yield from taken.popleft().result()
        for future in taken:
            yield from future.result()


class UnitFile:
    """An open file of units; any number of threads may read from it."""

    def __init__(self, path: AnyPath) -> None:
        """Opens it by a read of its end.

        Args:
            path: of the file, or its place in an object store, of which each batch is a range.

        Raises:
            RunError: it is not a file of units, or was cut off.
        """
        self._named = path
        self._file = arrow_file(path)
        try:
            self._reader = pa.ipc.open_file(self._file)
            self._firsts: list[int] = json.loads(self._reader.schema.metadata[_FIRSTS])
        except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
            self._file.close()
            raise RunError(f"{self._named} is no file of units, or damaged: {error}; run it again") from error
        self._lock = threading.Lock()
        self._batch: tuple[int, pa.RecordBatch] | None = None  # the last one: units are often taken in their order

    def read(self, number: int) -> tuple[str | None, pa.Table]:
        """Returns the name and the rows of a unit.

        Raises:
            IndexError: there is no such unit.
            RunError: the file is damaged there.
        """
        if not 0 <= number < self._firsts[-1]:
            raise IndexError(f"{self._named} has {self._firsts[-1]:,} units, and none of number {number}")
        place = bisect_right(self._firsts, number) - 1
        batch, row = self._read_batch(place), number - self._firsts[place]
        lists = batch.column("rows")
        first, last = lists.offsets[row].as_py(), lists.offsets[row + 1].as_py()
        rows = pa.RecordBatch.from_struct_array(lists.values.slice(first, last - first))
        return batch.column("unit")[row].as_py(), pa.Table.from_batches([rows])

    def _read_batch(self, place: int) -> pa.RecordBatch:
        with self._lock:
            if self._batch is None or self._batch[0] != place:
                try:
                    self._batch = place, self._reader.get_batch(place)
                except pa.ArrowInvalid as error:
                    raise RunError(f"{self._named} is damaged: {error}; run it again") from error
            return self._batch[1]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> "UnitFile":
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        self.close()


def _first_units(ends: NDArray[np.int64]) -> list[int]:
    """Returns the number of the first unit of each batch, and last the number of units."""
    firsts, row = [0], 0
    while firsts[-1] < len(ends):
        last = int(np.searchsorted(ends, row + _BATCH_ROWS)) + 1
        firsts.append(min(last, len(ends)))
        row = int(ends[firsts[-1] - 1])
    return firsts
