"""What a committed state knows of clips: which row of which shard holds the features of which file, and the rejects."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import RunError
from features.manifest import Manifest
from features.rejects import read_csv
from features.report import ROW_SCHEMA

# A row a clip: the columns of a report, with the shard that holds it; of a reject that and the place in it are null.
CACHE_SCHEMA = ROW_SCHEMA.append(pa.field("shard", pa.string()))
CLIPS_COLUMNS = [name for name in CACHE_SCHEMA.names if name not in ("stage", "reason", "message")]


def empty_cache() -> pa.Table:
    """Returns what a new set knows."""
    return CACHE_SCHEMA.empty_table()


def read_cache(folder: str | Path, manifest: Manifest) -> pa.Table:
    """Reads what a state knows: its clips in the order of its table, then its rejects.

    Raises:
        RunError: a table of the state cannot be read.
    """
    return pa.concat_tables([read_clips(folder, manifest), _rejects(folder, manifest)]).combine_chunks()


def read_clips(folder: str | Path, manifest: Manifest) -> pa.Table:
    """Reads the table of a state's clips with the columns of `CACHE_SCHEMA`; raises `RunError` where it cannot."""
    path = Path(folder) / manifest.clips_file
    try:
        clips = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise RunError(f"cannot read the clips table {path}: {str(error).splitlines()[0]}; featurize into a new folder"
                       ) from error  # fmt: skip
    if "crc32c" not in clips.column_names:
        # Format version 1 tells where records begin, not where tensors do: its rows are not copied but computed.
        clips = clips.set_column(clips.column_names.index("offset"), "offset", pa.nulls(len(clips), pa.int64()))
    missing = [name for name in CACHE_SCHEMA.names if name not in clips.column_names]
    for name in missing:
        clips = clips.append_column(name, pa.nulls(len(clips), CACHE_SCHEMA.field(name).type))
    return clips.select(CACHE_SCHEMA.names).cast(CACHE_SCHEMA)


def _rejects(folder: str | Path, manifest: Manifest) -> pa.Table:
    path = Path(folder) / manifest.rejects_file
    try:
        rejects = read_csv(path)
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read the table of rejects {path}: {error}; featurize into a new folder") from error
    rows = [vars(reject) for reject in rejects if reject.size is not None]  # else it was met by the scan
    return pa.Table.from_pylist(rows, schema=CACHE_SCHEMA)
