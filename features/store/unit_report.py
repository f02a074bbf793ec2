"""The report of a unit: all that a commit must know of it, written when its shard is whole."""

import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import DECODER_DEPENDENT, RETRYABLE
from features.frontend.spec import FeatureSpec
from features.io.parquet import read_schema, read_table
from features.store.decoders import outdated
from features.store.layout import Layout
from features.store.shards import Shard
from features.store.statistics import Statistics
from features.store.versions import library_versions

_METADATA_KEY = b"soundmill"
_DECODERS = ("soundfile", "libsndfile", "ffmpeg", "decoding")
_NO_REPORT = (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError)
ROW_SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "start": pa.int64(),
        "duration": pa.int64(),
        "size": pa.int64(),
        "mtime_ns": pa.int64(),
        "version": pa.string(),
        "content_hash": pa.string(),
        "label": pa.string(),
        "group": pa.string(),
        "partition": pa.string(),
        "seconds": pa.float64(),
        "warning": pa.string(),
        "decoder": pa.string(),
        "row": pa.int32(),
        "offset": pa.int64(),
        "crc32c": pa.int64(),
        "stage": pa.string(),
        "reason": pa.string(),
        "message": pa.string(),
    }
)

# Columns of which many rows have one value; no reader looks for rows by their values.
_REPEATED = ["label", "group", "partition", "seconds", "warning", "decoder", "stage", "reason", "message"]

# Those that reports of earlier versions have not; and, of `version`, those of files of the file system.
_LATER_COLUMNS = ("version", "decoder")


def without_versions(rows: pa.Table) -> pa.Table:
    """Returns rows as they are written: without the column of versions where none has one.

    So what no object of a store is in has the bytes that it has had before there were versions, and is read by earlier
    soundmills.
    """
    there = "version" in rows.column_names
    return rows.drop_columns(["version"]) if there and rows["version"].null_count == len(rows) else rows


@dataclass(frozen=True)
class Report:
    """What the commit must know of a unit.

    Attributes:
        name: of the unit.
        fingerprint: of the spec; None in a report of format version 1.
        shard: the shard, None where no clip was usable.
        statistics: sums over the shard's rows.
        versions: of the libraries that computed it.
        rows: table with a row per member: the clip, where its tensor lies (row, offset and CRC-32C of its bytes), or
            stage, reason and message.
        version: of its file, see `features.io.entry.Entry`.
    """

    name: str
    fingerprint: str | None
    shard: Shard | None
    statistics: Statistics
    versions: dict[str, str]
    rows: pa.Table
    version: str | None = None


def is_whole(layout: Layout, shard: Shard) -> bool:
    """Returns whether a shard's file is there and has its size."""
    return _size(layout, shard.name) == shard.bytes


def lost_shards(layout: Layout, shards: Sequence[Shard], sizes: Mapping[str, int] | None = None) -> list[str]:
    """Returns the names of shards whose files are gone or have another size.

    Args:
        layout: of the feature set.
        shards: what should be there.
        sizes: `Layout.shard_sizes`, where it is known.
    """
    if not shards:
        return []
    if sizes is None:
        sizes = layout.shard_sizes()
    if sizes is not None:
        return [shard.name for shard in shards if sizes.get(shard.name) != shard.bytes]
    return [shard.name for shard in shards if _size(layout, shard.name) != shard.bytes]


def _size(layout: Layout, name: str) -> int | None:
    path = layout.shard(name)
    try:
        return os.path.getsize(path) if isinstance(path, Path) else layout.files.status(path).size
    except OSError:
        return None


def finished_units(layout: Layout, candidates: Collection[str], changed_decoder: str | None = None) -> set[str]:
    """Returns which of some units that have a report are finished, see `is_finished`."""
    if layout.files.is_local:
        return {name for name in candidates if is_finished(layout, name, changed_decoder)}
    sizes = (layout.shard_sizes() or {}) if candidates else {}

    def check(name: str) -> bool:
        try:
            shard, final = _shard_of_final(layout, name, changed_decoder)
        except _NO_REPORT:
            return False
        return final and (shard is None or sizes.get(shard.name) == shard.bytes)

    return {name for name, done in zip(candidates, layout.map(check, candidates), strict=True) if done}


def is_finished(layout: Layout, name: str, changed_decoder: str | None = None, began_ns: float = math.inf) -> bool:
    """Returns whether a unit's report exists and the shard that it names, if any, has its size.

    A unit with rejects that may be usable later or by another decoder is not finished: its other rows are copied. Nor
    is one with rows of a decoder whose rows are to be computed anew, see `features.store.decoders.outdated`. But the
    run that has built it need not try it again.

    Args:
        layout: of the feature set.
        name: of the unit.
        changed_decoder: whose rows are to be computed anew.
        began_ns: when the run that asks began, by the clock of the file system.
    """
    try:
        shard, final = _shard_of_final(layout, name, changed_decoder)
        final = final or layout.files.status(layout.report(name)).mtime_ns >= began_ns
    except _NO_REPORT:
        return False
    return final and (shard is None or is_whole(layout, shard))


def _shard_of_final(layout: Layout, name: str, changed_decoder: str | None) -> tuple[Shard | None, bool]:
    """Returns the shard that a report names, and whether nothing of the unit is to be tried again."""
    metadata = _metadata(read_schema(layout.report(name)))
    final = metadata.get("final", True) and not (metadata.get("codec") and other_decoder(metadata["versions"]))
    return _shard(metadata), final and not outdated(metadata.get("decoders", [None]), changed_decoder)


def other_decoder(versions: dict[str, str]) -> bool:
    """Returns whether the libraries that decode are others here than these."""
    here = library_versions()
    return any(versions.get(name) != here.get(name) for name in _DECODERS)


def reported_shard(layout: Layout, name: str) -> Shard | None:
    """Returns the shard that a unit's report names; raises `OSError` or `ValueError` where there is no report."""
    return _shard(_metadata(read_schema(layout.report(name))))


def read_report(layout: Layout, name: str) -> Report:
    """Reads the report of a finished unit; null is what an earlier format version does not say of its rows."""
    content, there = layout.files.fetch(layout.report(name))
    with pq.ParquetFile(pa.BufferReader(content), pre_buffer=False) as file:
        rows = file.read(use_threads=False)  # a report is small, and threads take longer than what they are for
    metadata = _metadata(rows.schema)
    for name in _LATER_COLUMNS:
        if name not in rows.column_names:
            rows = rows.add_column(ROW_SCHEMA.get_field_index(name), name, pa.nulls(len(rows), pa.string()))
    statistics = Statistics.from_dict(metadata["statistics"])
    return Report(name, metadata.get("fingerprint"), _shard(metadata), statistics, metadata["versions"],
                  rows.replace_schema_metadata(), there.version)  # fmt: skip


def reject_reasons(layout: Layout, name: str) -> list[str]:
    """Returns the reason of each reject of a finished unit."""
    reasons: list[str] = read_table(layout.report(name), ["reason"])["reason"].drop_null().to_pylist()
    return reasons


def read_statistics(layout: Layout, name: str) -> Statistics:
    """Reads the sums of a report without its rows; raises `OSError` or `ValueError` where there is none."""
    return Statistics.from_dict(_metadata(read_schema(layout.report(name)))["statistics"])


def write_report(
    layout: Layout,
    name: str,
    spec: FeatureSpec,
    shard: Shard | None,
    statistics: Statistics,
    rows: pa.Table,
) -> None:
    """Writes the report of a unit, which says that it is finished.

    Args:
        layout: of the feature set.
        name: of the unit.
        spec: the front end.
        shard: the shard, already written.
        statistics: sums over its rows.
        rows: a row per member, of `ROW_SCHEMA`.
    """
    reasons = set(rows.filter(pc.is_null(rows["row"]))["reason"].to_pylist())
    metadata = {
        "fingerprint": spec.fingerprint,
        "final": RETRYABLE.isdisjoint(reasons),
        "codec": not DECODER_DEPENDENT.isdisjoint(reasons),
        "decoders": sorted(rows.filter(rows["row"].is_valid())["decoder"].unique().to_pylist(), key=str),
        "shard": asdict(shard) if shard else None,
        "statistics": statistics.to_dict(),
        "versions": library_versions(spec),
    }
    described = without_versions(rows).replace_schema_metadata({_METADATA_KEY: json.dumps(metadata, sort_keys=True)})
    with layout.files.begin(layout.report(name)) as file:
        pq.write_table(described, pa.PythonFile(file, mode="w"), use_dictionary=_REPEATED, write_statistics=False)


def _metadata(schema: pa.Schema) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(schema.metadata[_METADATA_KEY])
    return content


def _shard(metadata: dict[str, Any]) -> Shard | None:
    return Shard(**metadata["shard"]) if metadata["shard"] else None
