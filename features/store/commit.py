"""The one function that changes a feature set, by an atomic rename after all else is on disk."""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import Reject, RunError
from features.frontend.spec import FeatureSpec
from features.io.atomic import fsync_folder
from features.io.store_errors import ChangedError
from features.sources.partition import count
from features.sources.rejects import VERSION_COLUMN, in_order
from features.store.clips_table import CLIPS_COLUMNS, read_clips
from features.store.decoders import count_decoders
from features.store.layout import Layout, clips_name, rejects_name
from features.store.locks import committing
from features.store.manifest import (
    FILES_FORMAT_VERSION,
    FORMAT_VERSION,
    NETWORK_FORMAT_VERSION,
    OBJECTS_FORMAT_VERSION,
    Manifest,
    Provenance,
)
from features.store.rejects_table import REJECT_COLUMNS, any_version, has_rejects, rejects_table, write_rejects
from features.store.shards import Shard, read_shard
from features.store.statistics import Statistics
from features.store.unit_report import (
    Report,
    lost_shards,
    read_report,
    read_statistics,
    reported_shard,
    without_versions,
)
from features.store.versions import library_versions

# Versions say who computed the set, and the state is a number: neither is its content, nor is how it is written.
_NOT_CONTENT = ("state", "versions", "clips_file", "rejects_file", "format_version")


@dataclass(frozen=True)
class Contents:
    """What a state shall hold.

    Attributes:
        shards: by partition, in the manifest's order.
        statistics: sums by partition.
        clips: table of `features.store.clips_table.CLIPS_SCHEMA`, shard after shard, row after row.
        rejects: files that could not be used.
        reports: of a set in a store, versions of the reports that all this was read of, by the names of their units.
    """

    shards: dict[str, list[Shard]]
    statistics: dict[str, Statistics]
    clips: pa.Table
    rejects: list[Reject]
    reports: dict[str, str] = field(default_factory=dict)


def gather(
    layout: Layout,
    partitions: Mapping[str, Sequence[str]],
    staying: Mapping[str, tuple[Shard, pa.Table]],
    rejects: Sequence[Reject],
    spec: FeatureSpec,
    base: Manifest | None = None,
) -> Contents:
    """Puts together what a state shall hold.

    Args:
        layout: of the feature set.
        partitions: names of the shards of each partition: those that stay, and finished units.
        staying: shards that stay, and their lines of the clips table, by name.
        rejects: files that were refused before there were units.
        spec: the front end.
        base: the committed state, whose sums are taken where the shards are its own.
    """
    summed = base is not None and {name: list(held) for name, held in partitions.items()} == {
        name: [shard.name for shard in held] for name, held in base.partitions.items()
    }
    shards: dict[str, list[Shard]] = {}
    statistics: dict[str, Statistics] = {}
    tables: list[pa.Table] = []
    refused = list(rejects)
    versions: dict[str, str] = {}
    named = [name for names in partitions.values() for name in names]
    reports = layout.map(lambda name: _report(layout, name), (name for name in named if name not in staying))
    known = layout.map(lambda name: _statistics(layout, staying[name][0], spec),
                       (name for name in named if name in staying and not summed))  # fmt: skip
    for partition, names in partitions.items():
        shards[partition], sums = [], []
        for name in names:
            if name in staying:
                shard, lines = staying[name]
                if not summed:
                    sums.append(next(known))
            else:
                report = next(reports)
                if report.version:  # a store may give none
                    versions[name] = report.version
                sums.append(report.statistics)
                refused += _rejects(report.rows)
                lines = report.rows.filter(pc.is_valid(report.rows["row"]))
                lines = lines.append_column("shard", pa.array([name] * len(lines), pa.string()))
                if report.shard is None:
                    continue
                shard = report.shard
            shards[partition].append(shard)
            tables.append(lines.select(CLIPS_COLUMNS))
        statistics[partition] = base.statistics[partition] if base and summed else Statistics.merge(sums)
    clips = pa.concat_tables(tables).combine_chunks() if tables else pa.table({"label": pa.array([], pa.string())})
    return Contents(shards, statistics, clips, in_order(refused), versions)


def commit(
    layout: Layout, contents: Contents, base: Manifest | None, spec: FeatureSpec, provenance: Provenance
) -> tuple[Manifest, bool]:
    """Makes contents the committed state of a set, by one atomic replacement, last.

    Args:
        layout: of the set.
        contents: whose shards are all there.
        base: the state that the run began with.
        spec: the front end.
        provenance: where the clips come from, what chose and corrected them, and whose network is the front end.

    Returns:
        The committed state, and whether anything was committed: a state equal to `base` is `base`.

    Raises:
        RunError: another run has committed since this one began, a shard is no longer there, or no clip was usable.
    """
    clips, rejects = contents.clips, contents.rejects
    if not len(clips):
        first, table = rejects[0], write_rejects(layout, base, rejects)
        raise RunError(
            f"every clip was rejected, {len(rejects)} in all; the first: {first.path}: {first.reason}, {first.message}"
            f"; all are in {table}"
        )
    sink = pa.BufferOutputStream()
    pq.write_table(without_versions(clips), sink)
    clips_content, rejects_content = sink.getvalue().to_pybytes(), rejects_table(rejects).encode()
    with committing(layout):
        # What is asked at once is as it was under the lock.
        asked = layout.at_once(functools.partial(_committed, layout), layout.report_versions, layout.shard_sizes)
        (before, version), reports, sizes = asked
        now = None if before is None else Manifest.from_json(before.decode(), str(layout.manifest))
        overtaken = RunError(
            f"another featurize committed into {layout.root} while this one ran; run it again, finished shards are kept"
        )
        if (now.state if now else 0) != (base.state if base else 0):
            raise overtaken
        state = (base.state if base else 0) + 1
        manifest = Manifest(
            state=state,
            spec=spec,
            storage_format=layout.storage_format,
            policies=provenance.policies,
            source=provenance.source,
            options=provenance.options,
            classes=sorted(pc.unique(clips["label"]).to_pylist()),
            partitions=contents.shards,
            statistics=contents.statistics,
            counts=_counts(clips, rejects),
            clips_file=clips_name(state, clips_content),
            rejects_file=rejects_name(state, rejects_content),
            versions=library_versions(spec),
            format_version=_format_version(contents, provenance),
            network=provenance.network,
            corrections=provenance.corrections,
        )
        if base is not None and _content(manifest) == _content(base) and _equal_tables(layout, base, contents):
            return base, False
        staying = set() if base is None else set(base.all_shards)
        built = [shard for shard in manifest.all_shards if shard not in staying]
        read = contents.reports.items() & reports.items()
        doubtful = [shard for shard in built if (shard.name, reports.get(shard.name)) not in read]
        for shard, reported in zip(doubtful, _reported(layout, doubtful), strict=True):
            if reported != shard:
                raise RunError(f"another featurize has built the shard {shard.name} anew; run featurize again")
        for name in lost_shards(layout, manifest.all_shards, sizes):
            path = layout.shard(name)
            raise RunError(f"the shard {path} went away before it was committed; run featurize again")
        files = layout.files
        if base is not None and isinstance(layout.states_folder, Path):
            layout.states_folder.mkdir(exist_ok=True)
            fsync_folder(layout.root)
        tables = {manifest.clips_file: clips_content, manifest.rejects_file: rejects_content}
        writes = [functools.partial(files.write, layout.path(name), table) for name, table in tables.items()]
        if base is not None:  # as it stands there: one of an earlier format version keeps it
            writes.append(functools.partial(files.write, layout.state(base.state), before))
        layout.at_once(*writes)
        content = manifest.to_json().encode()
        try:
            if version is None:
                files.create(layout.manifest, content)
            else:
                files.replace(layout.manifest, content, version)
        except (FileExistsError, ChangedError) as error:
            raise overtaken from error
    return manifest, True


def _committed(layout: Layout) -> tuple[bytes | None, str | None]:
    """Returns the file of the committed state and its version, where there is one."""
    try:
        content, there = layout.files.fetch(layout.manifest)
    except FileNotFoundError:
        return None, None
    return content, there.version


def _format_version(contents: Contents, provenance: Provenance) -> int:
    """Returns the earliest version that holds contents and what is said of them."""
    if provenance.corrections is not None:
        return FORMAT_VERSION
    if provenance.network is not None:
        return NETWORK_FORMAT_VERSION
    any_object = "version" in without_versions(contents.clips).column_names
    return OBJECTS_FORMAT_VERSION if any_object or any_version(contents.rejects) else FILES_FORMAT_VERSION


def _statistics(layout: Layout, shard: Shard, spec: FeatureSpec) -> Statistics:
    try:
        return read_statistics(layout, shard.name)
    except (OSError, ValueError, KeyError, TypeError):  # the report is gone: its sums follow from the shard
        return Statistics.of(read_shard(layout, shard, spec).features)


def _report(layout: Layout, name: str) -> Report:
    try:
        return read_report(layout, name)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        path, why = layout.report(name), str(error).splitlines()[0]
        raise RunError(f"cannot read the report {path}: {why}; remove it and run featurize again") from error


def _reported(layout: Layout, shards: Sequence[Shard]) -> Iterator[Shard | None]:
    """Yields what the reports of shards name now."""

    def read(shard: Shard) -> Shard | None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return reported_shard(layout, shard.name)
        return None

    return layout.map(read, shards)


def _rejects(rows: pa.Table) -> list[Reject]:
    columns = [*REJECT_COLUMNS, VERSION_COLUMN]
    return [Reject(**row) for row in rows.filter(pc.is_null(rows["row"])).select(columns).to_pylist()]


def _counts(clips: pa.Table, rejects: list[Reject]) -> dict[str, Any]:
    reasons = [reject.reason for reject in rejects]
    codes = pc.list_flatten(pc.split_pattern(clips["warning"].drop_null(), ";"))  # a clip may have several
    warnings = pc.value_counts(codes).to_pylist()
    return {
        "clips": len(clips),
        "rejected": len(rejects),
        "seconds": pc.sum(clips["seconds"]).as_py(),
        "classes": count(clips),
        "rejects": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        "warnings": {
            row["values"]: row["counts"] for row in sorted(warnings, key=lambda row: row["values"]) if row["values"]
        },
        "decoders": count_decoders(clips["decoder"]),
    }


def _content(manifest: Manifest) -> str:
    blank: dict[str, Any] = dict.fromkeys(_NOT_CONTENT, "")
    # Versions before 3 counted no decoders; that they are the same is seen in the tables.
    counts = {name: count for name, count in manifest.counts.items() if name != "decoders"}
    return replace(manifest, **blank, counts=counts).to_json()


def _equal_tables(layout: Layout, base: Manifest, contents: Contents) -> bool:
    """Compares rows and not bytes, which depend on the version of pyarrow."""
    try:
        clips = read_clips(layout, base)
    except RunError:
        return False  # it is gone or damaged: it is written anew
    return has_rejects(layout, base, contents.rejects) and bool(clips.equals(contents.clips))
