"""The clips table of a state: one row per clip, with the row of the shard that holds its features."""

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import RunError
from features.sources.content_hash import table_file_hash, table_hash
from features.store.columns import null_column, with_dictionaries
from features.store.layout import Layout
from features.store.manifest import ClipsPart, Manifest, ways_back
from features.store.unit_report import ROW_SCHEMA

# The columns of a report but those of rejects, and the shard that holds the row.
_OF_REJECTS = ("stage", "reason", "message")
CLIPS_SCHEMA = pa.schema(
    [*(field for field in ROW_SCHEMA if field.name not in _OF_REJECTS), pa.field("shard", pa.string())]
)
CLIPS_COLUMNS: list[str] = CLIPS_SCHEMA.names
BATCH_ROWS = 131_072
"""Rows that are read or written at a time."""
_BUFFER_BYTES = 2**20


def read_clips(
    layout: Layout, manifest: Manifest, columns: Sequence[str] = CLIPS_COLUMNS, shards: Collection[str] | None = None
) -> pa.Table:
    """Reads the clips table of a state and checks that it is the one that was committed.

    Args:
        layout: of the feature set.
        manifest: the state.
        columns: of `CLIPS_SCHEMA`; null where an earlier format version has none.
        shards: names of those of which rows are needed: files of the table that have none of them are not read.

    Returns:
        Table of the columns, a row per clip, in the order of the shards and of their rows.

    Raises:
        RunError: it cannot be read, or its bytes are not those that were committed.
    """
    return pa.concat_tables(list(clips_parts(layout, manifest, columns, shards)) or [_schema_of(columns).empty_table()])


def clips_parts(
    layout: Layout, manifest: Manifest, columns: Sequence[str] = CLIPS_COLUMNS, shards: Collection[str] | None = None
) -> Iterator[pa.Table]:
    """Yields what `read_clips` returns file by file: a file has the rows of whole shards, a million or so."""
    for part in _wanted(manifest, shards):
        with _opened(layout, manifest, part) as file:
            yield _as_stated(file.read(columns=_there(file, columns)), manifest, columns)


def clips_batches(
    layout: Layout,
    manifest: Manifest,
    columns: Sequence[str] = CLIPS_COLUMNS,
    shards: Collection[str] | None = None,
    dictionaries: Collection[str] = (),
    rows: int = BATCH_ROWS,
) -> Iterator[pa.Table]:
    """Yields what `read_clips` returns, some rows at a time: memory does not grow with the table.

    Args:
        layout: of the feature set.
        manifest: the state.
        columns: of `CLIPS_SCHEMA`.
        shards: as `read_clips` takes it.
        dictionaries: columns that are dictionaries of strings; each batch has its own.
        rows: at a time, at most.
    """
    for part in _wanted(manifest, shards):
        yield from part_batches(layout, manifest, part, columns, dictionaries, rows)


def part_batches(
    layout: Layout,
    manifest: Manifest,
    part: ClipsPart,
    columns: Sequence[str] = CLIPS_COLUMNS,
    dictionaries: Collection[str] = (),
    rows: int = BATCH_ROWS,
) -> Iterator[pa.Table]:
    """Yields the rows of one file of a clips table; see `clips_batches`."""
    with _opened(layout, manifest, part, dictionaries) as file:
        for batch in file.iter_batches(rows, columns=_there(file, columns), use_threads=False):
            yield _as_stated(pa.Table.from_batches([batch]), manifest, columns, dictionaries)


def _wanted(manifest: Manifest, shards: Collection[str] | None) -> Iterator[ClipsPart]:
    for part, held in zip(manifest.clips_tables, manifest.shards_by_table, strict=True):
        if shards is None or manifest.clips_file is not None or any(shard.name in shards for shard in held):
            yield part


@contextlib.contextmanager
def _opened(
    layout: Layout, manifest: Manifest, part: ClipsPart, dictionaries: Collection[str] = ()
) -> Iterator[pq.ParquetFile]:
    """Opens a file of the table whose bytes are those that were committed; raises `RunError` for all that is wrong."""
    path = layout.path(part.file)
    try:
        content = None if layout.files.is_local else layout.files.read(path)
        digest = table_file_hash(path) if content is None else table_hash(content)
        # The names of version 1 came from the rows.
        if manifest.format_version > 1 and digest not in path.name:
            raise RunError(f"the clips table {path} is not the one that was committed: the hash of its bytes is "
                           f"{digest}; {ways_back(layout.root)}")  # fmt: skip
        source = path if content is None else pa.BufferReader(content)
        # Versions before 3 have no column of decoders, and no name may be asked for that is not there.
        few = dictionaries and set(dictionaries).intersection(pq.read_schema(source).names)
        # Else whole columns are held in the file's form besides.
        with pq.ParquetFile(source, buffer_size=_BUFFER_BYTES, pre_buffer=False, read_dictionary=list(few)) as file:
            yield file
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error).splitlines()[0]
        raise RunError(f"cannot read the clips table {path}: {reason}; {ways_back(layout.root)}") from error


def _there(file: pq.ParquetFile, columns: Iterable[str]) -> list[str]:
    names = set(file.schema_arrow.names)
    return [name for name in columns if name in names]


def _as_stated(
    clips: pa.Table, manifest: Manifest, columns: Sequence[str], dictionaries: Collection[str] = ()
) -> pa.Table:
    """Returns rows as `CLIPS_SCHEMA` has them, whatever the format version that they were written by."""
    schema = _schema_of(columns, dictionaries)
    held = {name: clips[name] for name in clips.column_names}
    if manifest.format_version == 1 and "offset" in held:
        # Version 1 says where records begin, not where tensors do: its rows are not copied but computed.
        del held["offset"]
    stated = [held[field.name] if field.name in held else null_column(len(clips), field.type) for field in schema]
    return pa.table(stated, names=schema.names).cast(schema)


def _schema_of(columns: Sequence[str], dictionaries: Collection[str] = ()) -> pa.Schema:
    return with_dictionaries(pa.schema([CLIPS_SCHEMA.field(name) for name in columns]), dictionaries)
