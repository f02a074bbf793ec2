"""What a committed state knows of clips: which row of which shard holds the features of which file, and the rejects."""

import contextlib
from pathlib import Path

import pyarrow as pa

from features.errors import RunError, UsageError
from features.io.parquet import read_table
from features.runtime.log import LOG
from features.sources.content_hash import table_hash
from features.sources.rejects import read_csv
from features.store.manifest import Manifest
from features.store.unit_report import ROW_SCHEMA, Report, is_whole, read_report

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
    """Reads the table of a state's clips with the columns of `CACHE_SCHEMA`; raises `RunError` where it is damaged."""
    path = Path(folder) / manifest.clips_file
    try:
        whole = table_hash(path.read_bytes()) in path.name
        clips = read_table(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RunError(f"cannot read the clips table {path}: {str(error).splitlines()[0]}; featurize into a new folder"
                       ) from error  # fmt: skip
    if "crc32c" in clips.column_names and not whole:  # the names of version 1 came from the rows
        raise RunError(f"the clips table {path} is not the one that was committed, its bytes have another hash than "
                       f"its name says; python -m features.verify {folder} tells the ways back")  # fmt: skip
    if "crc32c" not in clips.column_names:
        # Format version 1 tells where records begin, not where tensors do: its rows are not copied but computed.
        clips = clips.set_column(clips.column_names.index("offset"), "offset", pa.nulls(len(clips), pa.int64()))
    missing = [name for name in CACHE_SCHEMA.names if name not in clips.column_names]
    for name in missing:
        clips = clips.append_column(name, pa.nulls(len(clips), CACHE_SCHEMA.field(name).type))
    return clips.select(CACHE_SCHEMA.names).cast(CACHE_SCHEMA)


def read_spare(folder: str | Path, manifest: Manifest | None, fingerprint: str, storage_format: str) -> pa.Table:
    """Reads the rows of shards that no state names, finished by runs that did not come to their end.

    Args:
        folder: the feature set.
        manifest: its committed state, None where there is none.
        fingerprint: of the spec; shards of another are left out.
        storage_format: `tfrecord` or `parquet`.

    Returns:
        Table with the columns of `CACHE_SCHEMA`. That its files have not changed since is not proven.
    """
    tables = [empty_cache()]
    for name in sorted(_unnamed(Path(folder), manifest)):
        report = _report(folder, name)
        if report is None or report.shard is None or not is_whole(folder, report.shard, storage_format):
            continue
        if report.fingerprint == fingerprint:
            rows = report.rows.filter(report.rows["row"].is_valid())
            tables.append(rows.append_column("shard", pa.array([name] * len(rows), pa.string())))
    return pa.concat_tables(tables).combine_chunks()


def _unnamed(folder: Path, manifest: Manifest | None) -> set[str]:
    """Returns the names of the reports that neither the committed state nor an earlier one names."""
    unnamed = {path.stem for path in (folder / "reports").glob("*.parquet")}
    if manifest is not None:
        unnamed -= _names(manifest)
    for path in sorted((folder / "states").glob("manifest-*.json"), reverse=True):
        if not unnamed:
            break
        with contextlib.suppress(OSError, UsageError, ValueError):
            unnamed -= _names(Manifest.from_json(path.read_text(encoding="utf-8"), str(path)))
    return unnamed


def _names(manifest: Manifest) -> set[str]:
    return {shard.name for shard in manifest.all_shards}


def _report(folder: str | Path, name: str) -> Report | None:
    try:
        return read_report(folder, name)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it went away, or is none


def _rejects(folder: str | Path, manifest: Manifest) -> pa.Table:
    path = Path(folder) / manifest.rejects_file
    try:
        rejects = read_csv(path)
    except (OSError, ValueError) as error:
        LOG.warning("warning: cannot read the table of rejects %s (%s); its files are tried again", path, error)
        rejects = []
    rows = [vars(reject) for reject in rejects if reject.size is not None and reject.stage != "scan"]
    return pa.Table.from_pylist(rows, schema=CACHE_SCHEMA)
