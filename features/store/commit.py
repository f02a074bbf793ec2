"""The one function that changes a feature set, by an atomic rename after all else is on disk."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import RunError
from features.frontend.spec import FeatureSpec
from features.io.atomic import fsync_folder
from features.io.store_errors import ChangedError
from features.sources.content_hash import table_hash
from features.store.clips_table import read_clips
from features.store.contents import NO_REPORT, Contents
from features.store.layout import Layout, clips_name, rejects_name
from features.store.locks import committing
from features.store.manifest import (
    CORRECTIONS_FORMAT_VERSION,
    FILES_FORMAT_VERSION,
    FORMAT_VERSION,
    NETWORK_FORMAT_VERSION,
    OBJECTS_FORMAT_VERSION,
    Manifest,
    Provenance,
)
from features.store.rejects_table import any_version, has_rejects, rejects_table, write_rejects
from features.store.shards import Shard
from features.store.unit_report import lost_shards, reported_shard, without_versions
from features.store.versions import library_versions

# Versions say who computed the set, and the state is a number: neither is its content, nor is how it is written.
_NOT_CONTENT = ("state", "versions", "clips_file", "clips_parts", "rejects_file", "format_version")


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
    rejects = contents.rejects
    if not contents.has_rows:
        first, table = rejects[0], write_rejects(layout, base, rejects)
        raise RunError(
            f"every clip was rejected, {len(rejects)} in all; the first: {first.path}: {first.reason}, {first.message}"
            f"; all are in {table}"
        )
    clips_content = None if contents.table is None else _written(contents.table)
    rejects_content = rejects_table(rejects).encode()
    tally = contents.tally
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
            classes=list(tally.classes),
            partitions=contents.shards,
            statistics=contents.statistics,
            counts=tally.counts([reject.reason for reject in rejects]),
            clips_file=None if clips_content is None else clips_name(state, table_hash(clips_content)),
            clips_parts=contents.parts,
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
        if layout.files.is_local:
            reports = {shard.name: _version(layout, shard.name) for shard in built}
        read = contents.versions.items() & reports.items()
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
        tables = [(manifest.clips_file, clips_content), (manifest.rejects_file, rejects_content)]
        writes = [functools.partial(files.write, layout.path(name), table)
                  for name, table in tables if name is not None and table is not None]  # fmt: skip
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


def _written(clips: pa.Table) -> bytes:
    """Returns a clips table as a file."""
    sink = pa.BufferOutputStream()
    pq.write_table(without_versions(clips), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _format_version(contents: Contents, provenance: Provenance) -> int:
    """Returns the earliest version that holds contents and what is said of them."""
    if contents.parts is not None:
        return FORMAT_VERSION
    if provenance.corrections is not None:
        return CORRECTIONS_FORMAT_VERSION
    if provenance.network is not None:
        return NETWORK_FORMAT_VERSION
    any_object = contents.tally.any_version or any_version(contents.rejects)
    return OBJECTS_FORMAT_VERSION if any_object else FILES_FORMAT_VERSION


def _version(layout: Layout, name: str) -> str:
    """Returns the version of a unit's report, one that no report has where it is gone."""
    with contextlib.suppress(OSError):
        return layout.files.status(layout.report(name)).version
    return ""


def _reported(layout: Layout, shards: Sequence[Shard]) -> Iterator[Shard | None]:
    """Yields what the reports of shards name now."""

    def read(shard: Shard) -> Shard | None:
        with contextlib.suppress(*NO_REPORT):
            return reported_shard(layout, shard.name)
        return None

    return layout.map(read, shards)


def _content(manifest: Manifest) -> str:
    blank: dict[str, Any] = dict.fromkeys(_NOT_CONTENT, "")
    # Versions before 3 counted no decoders; that they are the same is seen in the tables.
    counts = {name: count for name, count in manifest.counts.items() if name != "decoders"}
    return replace(manifest, **blank, counts=counts).to_json()


def _equal_tables(layout: Layout, base: Manifest, contents: Contents) -> bool:
    """Compares rows and not bytes, which depend on the version of pyarrow."""
    if contents.table is None or base.clips_file is None:  # files of equal rows are the same
        return contents.parts == base.clips_parts and has_rejects(layout, base, contents.rejects)
    try:
        clips = read_clips(layout, base)
    except RunError:
        return False  # it is gone or damaged: it is written anew
    return has_rejects(layout, base, contents.rejects) and bool(clips.equals(contents.table))
