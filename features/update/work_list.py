"""Units of work: each is a shard to build, from clips to decode and from rows of other shards to copy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import RunError
from features.io.entry import AnyPath
from features.io.unit_file import UnitFile, write_units
from features.sources.clips import Clip


@dataclass(frozen=True)
class CachedRow:
    """A row of a finished shard that is what decoding its clip again would give.

    Attributes:
        shard: name of the shard that holds it.
        offset: of its tensor's first byte in the shard's file.
        crc32c: CRC-32C of the tensor's bytes.
        content_hash: of the file that it was computed from.
        seconds: duration of the clip before it was fitted.
        warning: of the clip, None if it has none.
        decoder: what read the file, None where that is not known.
        proven: whether the file is known to have that content; else it is hashed before the row is taken.
    """

    shard: str
    offset: int
    crc32c: int
    content_hash: str
    seconds: float
    warning: str | None
    decoder: str | None
    proven: bool


@dataclass(frozen=True)
class ShardUnit:
    """One element of the pipeline: a shard to build.

    Attributes:
        name: name of the shard and of its report, a hash of what it shall hold.
        clips: its members, in the order of their rows.
        cached: rows to copy, by the numbers of the members that have one.
    """

    name: str
    clips: tuple[Clip, ...]
    cached: Mapping[int, CachedRow] = field(default_factory=dict)


CLIP_COLUMNS = [part.name for part in fields(Clip)]
CACHED_COLUMNS = [part.name for part in fields(CachedRow)]
_NUMBERS = {name: pa.int64() for name in ("start", "duration", "size", "mtime_ns", "offset", "crc32c")}
_TYPES = {**_NUMBERS, "seconds": pa.float64(), "proven": pa.bool_()}
_PREFIX = "cached_"
# Columns of few values are written and taken as numbers of these.
_FEW = ("label", "partition")
_OF_FEW = pa.dictionary(pa.int32(), pa.string())
_CLIP_FIELDS = [pa.field(name, _OF_FEW if name in _FEW else _TYPES.get(name, pa.string())) for name in CLIP_COLUMNS]
CACHED_SCHEMA = pa.schema([pa.field(name, _TYPES.get(name, pa.string())) for name in CACHED_COLUMNS])
_CACHED_FIELDS = [pa.field(_PREFIX + name, _TYPES.get(name, pa.string())) for name in CACHED_COLUMNS]


def with_few_values(clips: pa.Table) -> pa.Table:
    """Returns clips of which many are taken in any order, with the columns of few values as numbers of these."""
    for name in _FEW:
        if not pa.types.is_dictionary(clips[name].type):
            column = clips[name].combine_chunks().dictionary_encode()
            clips = clips.set_column(clips.column_names.index(name), name, column)
    return clips


def members(clips: pa.Table, cached: pa.Table | None = None) -> pa.Table:
    """Puts clips and the rows that are copied for them side by side.

    Args:
        clips: table with the columns of `Clip`.
        cached: table of as many lines with the columns of `CachedRow`, null where nothing is copied; None where nothing
            is at all.
    """
    columns, fields = clips.select(CLIP_COLUMNS).columns, _CLIP_FIELDS
    if cached is not None:
        columns, fields = [*columns, *cached.select(CACHED_COLUMNS).columns], [*fields, *_CACHED_FIELDS]
    return pa.table(columns, names=[field.name for field in fields]).cast(pa.schema(fields))


def write_work_list(
    names: Sequence[str],
    ends: NDArray[np.int64],
    rows: Callable[[int, int], pa.Table],
    path: AnyPath,
    copies: bool = True,
) -> None:
    """Writes units as a file of `features.io.unit_file`; raises `RunError` where no space is left.

    Args:
        names: of the units.
        ends: for each unit the number of the member after its last one, counted through all units.
        rows: returns the members from one number up to another, as `members` gives them of one table of
            `with_few_values`: an Arrow file has one list of the values of a column.
        path: of the file.
        copies: whether the members say which rows are copied for them.
    """
    schema = pa.schema([*_CLIP_FIELDS, *_CACHED_FIELDS] if copies else _CLIP_FIELDS)
    write_units(path, schema, ends, rows, names)


def read_unit(work_list: UnitFile, number: int) -> ShardUnit:
    """Reads one unit of an open work list."""
    name, rows = work_list.read(number)
    if name is None:
        raise RunError(f"the work list names no shard for its unit {number}; run featurize again")
    for column in _FEW:  # of numbers of values pyarrow 25 makes a list fifty times as slowly as of text
        rows = rows.set_column(rows.column_names.index(column), column, rows[column].cast(pa.string()))
    clips = tuple(map(Clip, *(rows[column].to_pylist() for column in CLIP_COLUMNS)))  # its fields, in their order
    if f"{_PREFIX}shard" not in rows.column_names:
        return ShardUnit(name, clips)
    copied = np.flatnonzero(rows[f"{_PREFIX}shard"].is_valid())
    found = rows.select([_PREFIX + column for column in CACHED_COLUMNS]).rename_columns(CACHED_COLUMNS).take(copied)
    cached = {member: CachedRow(**row) for member, row in zip(copied.tolist(), found.to_pylist(), strict=True)}
    return ShardUnit(name, clips, cached)
