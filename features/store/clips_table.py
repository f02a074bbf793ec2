"""The clips table of a state: one row per clip, with the row of the shard that holds its features."""

import itertools
import os
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import RunError
from features.sources.content_hash import table_file_hash, table_hash
from features.store.layout import Layout
from features.store.manifest import Manifest, ways_back
from features.store.unit_report import ROW_SCHEMA

# The columns of a report but those of rejects, and the shard that holds the row.
_OF_REJECTS = ("stage", "reason", "message")
CLIPS_SCHEMA = pa.schema(
    [*(field for field in ROW_SCHEMA if field.name not in _OF_REJECTS), pa.field("shard", pa.string())]
)
CLIPS_COLUMNS: list[str] = CLIPS_SCHEMA.names


def read_clips(
    layout: Layout, manifest: Manifest, columns: Sequence[str] = CLIPS_COLUMNS, first_rows: int | None = None
) -> pa.Table:
    """Reads the clips table of a state and checks that it is the one that was committed.

    Args:
        layout: of the feature set.
        manifest: the state.
        columns: of `CLIPS_SCHEMA`; null where an earlier format version has none.
        first_rows: reads only the first rows, so many at most; None for all.

    Returns:
        Table of the columns, a row per clip, in the order of the shards and of their rows.

    Raises:
        RunError: it cannot be read, or its bytes are not those that were committed.
    """
    path = layout.path(manifest.clips_file)
    try:
        content = None if layout.files.is_local else layout.files.read(path)
        digest = table_file_hash(path) if content is None else table_hash(content)
        # The names of version 1 came from the rows.
        if manifest.format_version > 1 and digest not in path.name:
            raise RunError(f"the clips table {path} is not the one that was committed: the hash of its bytes is "
                           f"{digest}; {ways_back(layout.root)}")  # fmt: skip
        with pq.ParquetFile(path if content is None else pa.BufferReader(content)) as file:
            there = [name for name in columns if name in file.schema_arrow.names]
            if first_rows is None:
                clips = file.read(columns=there)
            else:
                clips = pa.Table.from_batches(itertools.islice(file.iter_batches(first_rows, columns=there), 1))
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error).splitlines()[0]
        raise RunError(f"cannot read the clips table {path}: {reason}; {ways_back(layout.root)}") from error
    if manifest.format_version == 1 and "offset" in there:
        # Version 1 says where records begin, not where tensors do: its rows are not copied but computed.
        clips = clips.set_column(clips.column_names.index("offset"), "offset", pa.nulls(len(clips), pa.int64()))
    for name in columns:
        if name not in there:
            clips = clips.append_column(name, pa.nulls(len(clips), CLIPS_SCHEMA.field(name).type))
    return clips.select(list(columns)).cast(pa.schema([CLIPS_SCHEMA.field(name) for name in columns]))
