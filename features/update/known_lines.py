"""What a committed state knows of clips, held as a few numbers a line; the rest is on disk, where lines are wanted."""

import functools
import mmap
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import RunError
from features.io.take import take_rows
from features.sources.policies import Policies, decided_anew
from features.store.known_rows import CACHE_SCHEMA, cache_parts
from features.store.layout import Layout
from features.store.manifest import Manifest

NOTHING = -1
_PART_LINES = 65_536
# What all lines are asked for, and what they are asked for one by one; the clips of the scan have the rest.
_NOT_COMPARED = ("content_hash", "seconds", "warning", "offset", "crc32c", "stage", "reason", "message")
_COMPARED = [name for name in CACHE_SCHEMA.names if name not in _NOT_COMPARED]
_KEPT = pa.schema([field for field in CACHE_SCHEMA if field.name not in ("mtime_ns", "label", "group", "partition")])


class KnownLines:
    """The lines of a state: its clips in the order of shards and rows, then its rejects.

    They are read from the first to the last by `parts`, once; from then on there are the attributes. What else a line
    says is written to a file without a name when it is first asked for, and mapped: it takes no memory that could not
    be used otherwise.

    Attributes:
        shards: names of shards.
        shard: for each line the number of its shard in `shards`, `NOTHING` for a reject.
        row: for each line its row there, `NOTHING` for a reject.
        decoder: for each line the number of its decoder in `decoders`, `NOTHING` where it is not known.
        decoders: names of decoders.
        rejects: those lines that are rejects, with all columns.
    """

    shards: list[str]
    shard: NDArray[np.int32]
    row: NDArray[np.int32]
    decoder: NDArray[np.int16]
    decoders: list[str]
    rejects: pa.Table

    def __init__(self, read: Callable[[list[str]], Iterable[pa.Table]], folder: Path | None = None) -> None:
        """Takes what reads the lines.

        Args:
            read: yields tables, each time the same lines, with at least these columns of
                `features.store.known_rows.CACHE_SCHEMA`, and of rejects with all of them.
            folder: where room is for a file of them, None for where temporary files go.
        """
        self._read, self._folder = read, folder
        self._reject_lines = np.empty(0, np.int64)

    def parts(self) -> Iterator[pa.Table]:
        """Yields all lines, some at a time."""
        shards, decoders = dict[str, int](), dict[str, int]()
        notes, rejects = list[tuple[NDArray[Any], ...]](), [CACHE_SCHEMA.empty_table()]
        for part in self._lines(_COMPARED):
            row = np.asarray(part["row"].fill_null(NOTHING), np.int32)
            decoder = _numbered(part["decoder"], decoders).astype(np.int16)
            notes.append((_numbered(part["shard"], shards), row, decoder))
            if (row == NOTHING).any():
                rejects.append(part.filter(pa.array(row == NOTHING)).cast(CACHE_SCHEMA))
            yield part
        columns = zip(*notes, strict=True) if notes else ([], [], [])
        self.shard, self.row, self.decoder = (np.concatenate([np.empty(0, np.int16), *column]) for column in columns)
        self.shards, self.decoders = list(shards), list(decoders)
        self.rejects, self._reject_lines = pa.concat_tables(rejects), np.flatnonzero(self.row == NOTHING)

    def __len__(self) -> int:
        """Returns the number of lines."""
        return len(self.row)

    def rejects_of(self, lines: NDArray[np.int64]) -> pa.Table:
        """Returns those of `rejects` that lines are, all of which are rejects."""
        return self.rejects.take(pa.array(np.searchsorted(self._reject_lines, lines)))

    def take(self, lines: NDArray[np.int64], columns: list[str]) -> pa.Table:
        """Returns columns of lines, null for `NOTHING`.

        Raises:
            RunError: there is no room for them on disk, or the state's tables can no longer be read.
        """
        schema = pa.schema([_KEPT.field(name) for name in columns])
        there = lines != NOTHING
        if not there.any():
            return pa.table([pa.nulls(len(lines), field.type) for field in schema], schema=schema)
        taken = take_rows(self._stored.select(columns), lines[there])
        if there.all():
            return taken
        return taken.take(pa.array(np.cumsum(there) - 1, mask=~there))

    def filtered(self, column: str, values: pa.Array, columns: list[str]) -> Iterator[pa.Table]:
        """Yields columns of those lines that have some value in a column."""
        for batch in self._stored.to_batches():
            found = batch.filter(pc.is_in(batch[column], value_set=values))
            yield pa.Table.from_batches([found]).select(columns)

    def _lines(self, columns: list[str]) -> Iterator[pa.Table]:
        for table in self._read(columns):
            for first in range(0, len(table), _PART_LINES):
                yield table.slice(first, _PART_LINES)

    def _lines_again(self) -> Iterator[pa.Table]:
        """Yields the lines another time, the rejects at their end as they were read the first time."""
        left = clips = int(np.flatnonzero(np.append(NOTHING, self.row) != NOTHING)[-1:].sum())  # up to the last clip
        for part in self._lines(_KEPT.names) if left else ():
            yield part.slice(0, left)
            left -= min(left, len(part))
            if not left:
                break
        yield self.rejects.slice(int(np.searchsorted(self._reject_lines, clips)))

    @functools.cached_property
    def _stored(self) -> pa.Table:
        try:
            with _temporary_file(self._folder) as file:
                with pa.ipc.new_stream(file, _KEPT) as writer:
                    for part in self._lines_again():
                        writer.write_table(part.select(_KEPT.names).cast(_KEPT).combine_chunks())
                file.flush()
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            where = self._folder or tempfile.gettempdir()
            raise RunError(f"cannot write what is known of the clips, some 200 bytes each, to a file in {where}: "
                           f"{os.strerror(error.errno or 0)}; make room and run it again, "
                           "what was finished is kept") from error  # fmt: skip
        return pa.ipc.open_stream(pa.py_buffer(mapped)).read_all()


def read_lines(layout: Layout, base: Manifest | None, lost: Collection[str], policies: Policies) -> KnownLines:
    """Returns what a committed state knows.

    Args:
        layout: of the feature set.
        base: the state, None for a new set.
        lost: shards whose file is gone or cut off: their rows are computed again.
        policies: of the run, which decide anew what the state knows.
    """
    if base is None:
        return KnownLines(lambda _: [])
    gone = pa.array(sorted(lost), pa.string())

    def read(columns: list[str]) -> Iterator[pa.Table]:
        same = policies == base.policies
        for table in cache_parts(layout, base, columns if same else CACHE_SCHEMA.names):
            there = table.filter(pc.invert(pc.is_in(table["shard"], value_set=gone))) if lost else table
            yield there if same else decided_anew(there.cast(CACHE_SCHEMA), policies)

    return KnownLines(read, layout.root if isinstance(layout.root, Path) else None)


def _temporary_file(folder: Path | None) -> IO[bytes]:
    """Opens a file that goes with the process, however it ends; a folder that cannot be written to is left alone."""
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError:
        return tempfile.TemporaryFile()


def _numbered(column: pa.ChunkedArray, numbers: dict[str, int]) -> NDArray[np.int32]:
    """Returns the number of each value, `NOTHING` for null; what `numbers` does not have yet gets the next one."""
    values = column.combine_chunks()
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    of_values = [numbers.setdefault(value, len(numbers)) for value in values.dictionary.to_pylist()]
    of_values.append(NOTHING)
    return np.array(of_values, np.int32)[np.asarray(values.indices.fill_null(NOTHING), np.int64)]
