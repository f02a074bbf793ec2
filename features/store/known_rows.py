"""What a committed state knows of clips: which row of which shard holds the features of which file, and the rejects."""

import contextlib
from collections.abc import Iterator, Sequence, Set

import pyarrow as pa

from features.errors import UsageError
from features.runtime.log import LOG
from features.sources.rejects import read_csv
from features.store.clips_table import CLIPS_COLUMNS, clips_batches
from features.store.columns import null_column, with_dictionaries
from features.store.layout import Layout, earlier_states
from features.store.manifest import Manifest
from features.store.unit_report import ROW_SCHEMA, Report, is_whole, read_report

# One row per clip: the columns of a report, with the shard that holds it; for a reject that and the place are null.
CACHE_SCHEMA = ROW_SCHEMA.append(pa.field("shard", pa.string()))
FEW_VALUES = frozenset({"label", "group", "partition", "warning", "decoder", "shard", "stage", "reason", "message"})
"""Columns whose values are repeated in many rows, as a rule."""


def empty_cache() -> pa.Table:
    """Returns what a new set knows."""
    return CACHE_SCHEMA.empty_table()


def cache_parts(layout: Layout, manifest: Manifest, columns: Sequence[str] = CACHE_SCHEMA.names) -> Iterator[pa.Table]:
    """Yields what a state knows, some rows at a time: its clips in the order of its table, then its rejects.

    Memory does not grow with the state. Columns of few values are dictionaries (`FEW_VALUES`), of which each table has
    its own; columns of nulls take no memory.

    Args:
        layout: of the feature set.
        manifest: the state.
        columns: of `CACHE_SCHEMA`, that are read of clips; rejects, in the last table, have all.

    Raises:
        RunError: a table of the state cannot be read.
    """
    schema = with_dictionaries(pa.schema([CACHE_SCHEMA.field(name) for name in columns]), FEW_VALUES)
    read = [name for name in columns if name in CLIPS_COLUMNS]
    for clips in clips_batches(layout, manifest, read, dictionaries=FEW_VALUES.intersection(read)):
        yield _as_cache(clips, schema)
    yield _rejects(layout, manifest).cast(with_dictionaries(CACHE_SCHEMA, FEW_VALUES))


def _as_cache(clips: pa.Table, schema: pa.Schema) -> pa.Table:
    """Returns lines of the clips table as rows of a cache."""
    columns = [clips[field.name] if field.name in CLIPS_COLUMNS else null_column(len(clips), field.type)
               for field in schema]  # fmt: skip
    return pa.table(columns, schema=schema)


def read_spare(layout: Layout, manifest: Manifest | None, fingerprint: str, reported: Set[str]) -> pa.Table:
    """Reads the rows of shards that no state names, finished by runs that did not come to their end.

    Args:
        layout: of the feature set.
        manifest: its committed state, None where there is none.
        fingerprint: of the spec; shards of another are left out.
        reported: names of the units that have a report.

    Returns:
        Table with the columns of `CACHE_SCHEMA`. That its files have not changed since is not checked.
    """
    tables = [empty_cache()]
    names = sorted(_unnamed(layout, manifest, reported))
    for name, report in zip(names, layout.map(lambda name: _whole(layout, name), names), strict=True):
        if report is not None and report.fingerprint == fingerprint:
            rows = report.rows.filter(report.rows["row"].is_valid())
            tables.append(rows.append_column("shard", pa.array([name] * len(rows), pa.string())))
    return pa.concat_tables(tables).combine_chunks()


def _unnamed(layout: Layout, manifest: Manifest | None, reported: Set[str]) -> set[str]:
    """Returns the names of the reports that neither the committed state nor an earlier one names."""
    unnamed = set(reported) - (set() if manifest is None else _names(manifest))
    for path in reversed(earlier_states(layout.root) if unnamed else []):
        if not unnamed:
            break
        with contextlib.suppress(OSError, UsageError, ValueError):
            unnamed -= _names(Manifest.from_json(layout.files.read(path).decode(), str(path)))
    return unnamed


def _names(manifest: Manifest) -> set[str]:
    return {shard.name for shard in manifest.all_shards}


def _whole(layout: Layout, name: str) -> Report | None:
    """Returns the report of a unit whose shard is whole, None where it was removed, or is not a report."""
    try:
        report = read_report(layout, name)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return report if report.shard is not None and is_whole(layout, report.shard) else None


def _rejects(layout: Layout, manifest: Manifest) -> pa.Table:
    path = layout.path(manifest.rejects_file)
    try:
        rejects = read_csv(path)
    except (OSError, ValueError) as error:
        LOG.warning("warning: cannot read the table of rejects %s (%s); its files are tried again", path, error)
        rejects = []
    rows = [vars(reject) for reject in rejects if reject.size is not None and reject.stage != "scan"]
    return pa.Table.from_pylist(rows, schema=CACHE_SCHEMA)
