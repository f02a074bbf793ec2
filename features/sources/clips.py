"""Clips of a source: what a scan lists, one by one and as a table."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from features.errors import Reject

_PART_CLIPS = 65_536
_TYPES = {"path": pa.string()} | dict.fromkeys(("start", "duration", "size", "mtime_ns"), pa.int64())
_TYPES |= dict.fromkeys(("version", "label"), pa.string())

FileState = tuple[str, int, int | str | None]
"""Path, size, and modification time or version."""


@dataclass(frozen=True)
class Clip:
    """One clip of a source.

    Attributes:
        path: relative to the root, as `escape_path` writes it.
        start: first frame within the file, at the file's own rate.
        duration: frames, None for all that follow.
        size: bytes of the file when it was listed.
        mtime_ns: its modification time then, in nanoseconds; None for an object of a store, which has a version.
        content_hash: hash of its content where the planner took it, else None.
        label: name of its class, None when scoring.
        group: clips of one group (a speaker, a recording) share a partition; None when scoring.
        partition: `training`, `validation`, `testing` or a fold such as `fold-1`; None when scoring.
        version: what an object store calls its content: an ETag, which an object has as long as its bytes are the same;
            None for a file of the file system.
    """

    path: str
    start: int = 0
    duration: int | None = None
    size: int = 0
    mtime_ns: int | None = 0
    content_hash: str | None = None
    label: str | None = None
    group: str | None = None
    partition: str | None = None
    version: str | None = None

    @property
    def state(self) -> FileState:
        """Path, size, and modification time or version: as long as they are the same, so is the file's content."""
        return self.path, self.size, self.mtime_ns if self.version is None else self.version

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its file."""
        return self.start == 0 and self.duration is None


@dataclass
class Source:
    """What a scan found.

    Attributes:
        kind: `folder`, `file`, `table`, or another format of `features.sources.listing`.
        root: absolute path that clip paths are relative to.
        clips: what `clip_table` makes, in the order of the paths' bytes, then of the starts.
        left_out: how many files were passed over, by why.
        rejects: files that were seen and cannot be used.
        table: absolute path of the table, the manifest or the annotations.
        pattern: what found the labels in the paths.
        columns: the table's columns that were used, by what was read from them.
        notes: what there is to say about the source.
        kept: further columns of the table, as text, null where that is empty, a row for each of the clips; None where
            none were requested.
        lists: see `features.sources.partition.lists_of`; None until it was asked for.
        corrections: what a manifest says of the reviews that corrected the clips, None where none did; see
            `features.sources.corrections.correct`.
        rule: which windows of recordings are clips, in words; None where clips are not windows.
    """

    kind: str
    root: str
    clips: pa.Table
    left_out: dict[str, int]
    rejects: list[Reject]
    table: str | None = None
    pattern: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    kept: pa.Table | None = None
    lists: dict[str, str] | None = None
    corrections: dict[str, Any] | None = None
    rule: str | None = None

    @property
    def described(self) -> dict[str, str]:
        """What the manifest says of the source."""
        parts = {"kind": self.kind, "root": self.root, "table": self.table, "pattern": self.pattern, "rule": self.rule}
        return {name: value for name, value in parts.items() if value is not None}


def clip_table(paths: Any, sizes: Any, mtimes_ns: Any = None, **columns: Any) -> pa.Table:
    """Returns the table of clips, of columns of Arrow or of sequences of what is in them.

    Args:
        paths: as `escape_path` writes them.
        sizes: bytes of each file.
        mtimes_ns: modification time of each file, None for an object of a store; None where all are objects.
        columns: start and duration (whole files without them), label and version (none without them), group and
            partition (no such columns without them).

    Returns:
        Table of path, start, duration, size, mtime_ns, version, label, and group and partition where they were given.
        Labels and partitions are held as `numbered`.
    """
    given = {**dict.fromkeys(_TYPES), "path": paths, "size": sizes, "mtime_ns": mtimes_ns, **columns}
    # What all clips are the same in takes the memory of one column.
    zeros = pa.py_buffer(np.zeros(len(paths) + 1, np.int64))
    table = {}
    for name, values in given.items():
        kind = _TYPES.get(name, pa.string())
        if name == "start" and values is None:
            values = pa.Array.from_buffers(kind, len(paths), [None, zeros])
        elif values is None:
            buffers = [zeros, zeros] if kind == pa.int64() else [zeros, zeros, zeros.slice(0, 0)]
            values = pa.Array.from_buffers(kind, len(paths), buffers, null_count=len(paths))
        elif not isinstance(values, pa.Array | pa.ChunkedArray):
            values = pa.array(values, kind)
        table[name] = numbered(values) if name in ("label", "partition") else values
    return pa.table(table)


def numbered(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Returns a column of strings as a dictionary of Arrow: 32 bits for each, and the values that there are."""
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def in_parts(column: pa.Array | pa.ChunkedArray, function: Callable[[pa.Array], pa.Array]) -> pa.ChunkedArray:
    """Returns what a function makes of a column, part by part, so that what it takes on its way is little memory."""
    parts = [
        function(chunk.slice(first, _PART_CLIPS))
        for chunk in (column.chunks if isinstance(column, pa.ChunkedArray) else [column])
        for first in range(0, max(1, len(chunk)), _PART_CLIPS)
    ]
    return pa.chunked_array([pa.concat_arrays(parts)])


def file_states(clips: pa.Table) -> list[pa.ChunkedArray]:
    """Returns the columns by which the files of clips are known from one run to the next, none of them with nulls."""
    states = [clips["path"], clips["size"], clips["mtime_ns"].fill_null(0)]
    is_any_object = clips["version"].null_count < len(clips)
    return [*states, clips["version"].fill_null("")] if is_any_object else states
