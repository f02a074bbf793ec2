"""Makes damaged shards of a feature set again: their whole rows are copied, the others are computed from the source.

A shard is built beside the set and takes its place when it is whole: whenever a repair is killed, what is damaged is
still known, and all else is as it was.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from features.audio.remote import version_of
from features.errors import RunError, UsageError
from features.frontend.spec import FeatureSpec
from features.io.atomic import fsync_folder
from features.io.file_time import mtime_ns
from features.io.filesystem import Location, filesystem_of, is_uri
from features.maintenance.shard_check import Damage, Part, lines_of_shards
from features.runtime.processes import choose_workers, run_jobs
from features.runtime.progress import Progress
from features.sources.clips import Clip
from features.sources.paths import clip_file
from features.sources.policies import Policies
from features.sources.rejects import read_csv
from features.store.clip_lines import Staying
from features.store.clips_table import CLIPS_SCHEMA
from features.store.commit import commit
from features.store.contents import gather
from features.store.layout import Layout
from features.store.locks import committing
from features.store.manifest import Manifest, load_manifest
from features.store.network_copy import read_fitting, write_copy
from features.store.run_log import append_run, last_scan_ns
from features.store.shards import Shard, read_shard
from features.store.statistics import Statistics
from features.store.unit_report import ROW_SCHEMA, read_report, write_report
from features.update.shard_builder import build_shard
from features.update.work_list import CACHED_COLUMNS, CLIP_COLUMNS, CachedRow, ShardUnit

# From so many clips on, two processes are sooner done than one, their start included.
_CLIPS_THAT_PAY = 8_000


@dataclass(frozen=True)
class RepairJob:
    """A shard that is to be made again.

    Attributes:
        layout: of the feature set, by its absolute path.
        root: where the clips' paths begin.
        spec: the front end.
        policies: whether clips that have a warning are used.
        shard: what the manifest says of it.
        lines: of the clips table that name it, in the order of their rows.
        file: whether its file is damaged, and not only its report.
    """

    layout: Layout
    root: str
    spec: FeatureSpec
    policies: Policies
    shard: Shard
    lines: pa.Table
    file: bool


def repair(
    layout: Layout,
    manifest: Manifest,
    damages: list[Damage],
    workers: int | None = None,
    network_file: str | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Makes the damaged shards and reports of a set again, and puts the file of its network back.

    One that comes out as the state says takes its place. Where other versions of libraries give other bytes, a new
    state is committed with them, if the set is whole otherwise. One that needs a file that has changed or is gone stays
    as it is.

    Args:
        layout: of the feature set.
        manifest: its committed state.
        damages: what is wrong with it.
        workers: number of processes, None to choose.
        network_file: where the network is taken from, if the set's copy is damaged.

    Returns:
        Names of the shards that were made again, and why others could not be, by their names.

    Raises:
        UsageError: `network_file` is not the network of the set.
        RunError: another state was committed meanwhile, or a worker died.
    """
    if isinstance(layout.root, Path):
        layout = replace(layout, root=Path(os.path.abspath(layout.root)))
    doubtful = {damage.name for damage in damages if damage.part is Part.STATE}
    shards = {shard.name: shard for shard in manifest.all_shards}
    parts: dict[str, set[Part]] = {}
    for damage in damages:
        if damage.name in shards and damage.name not in doubtful:
            parts.setdefault(damage.name, set()).add(damage.part)
    repaired: list[str] = []
    others: dict[str, Shard] = {}  # that came out with other bytes
    failed = dict.fromkeys(doubtful & shards.keys(), "what the clips table says of it is not to be relied on")
    networks = [damage.name for damage in damages if damage.part is Part.NETWORK]
    network = read_fitting(network_file, manifest.spec) if networks and network_file else None
    if network is None:
        failed |= dict.fromkeys(networks, "its file is not in the set; give it with --network-file")
    with committing(layout):
        if load_manifest(layout.root) != manifest:
            raise RunError(f"another state was committed into {layout.root} while this one was verified; run it again")
        if network is not None:  # before the shards, which may have to be computed with it
            write_copy(layout, manifest.spec, network)
        with _scratch(layout):
            files = {name: Part.FILE in damaged for name, damaged in parts.items()}
            for name, made in _make(layout, manifest, files, workers):
                if isinstance(made, str):
                    failed[name] = made
                    continue
                if made != shards[name]:
                    others[name] = made
                    continue
                _place(layout, name, parts[name])
                repaired.append(name)
            if doubtful or failed:
                failed |= dict.fromkeys(others, "these versions of libraries give it other bytes, and a new state can "
                                                "take them only where the set is whole otherwise")  # fmt: skip
                others = {}
            for name in others:
                _place(layout, name, {Part.FILE, Part.REPORT})
    if others:  # killed before it, the set names them as damaged
        _commit(layout, manifest, others)
    return [*repaired, *others], failed


def remake(job: RepairJob) -> tuple[str, Shard | str]:
    """Builds a shard and its report in the scratch folder, or the report alone of one that is whole.

    Returns:
        Name of the shard, and what came out, or why one of its clips cannot be computed.
    """
    name, rows = job.shard.name, job.lines.to_pylist()
    scratch = job.layout.scratch
    if not job.file:
        features = read_shard(job.layout, job.shard, job.spec).features
        members = pa.Table.from_pylist(rows, schema=ROW_SCHEMA)
        write_report(scratch, name, job.spec, job.shard, Statistics.of(features), members)
        return name, job.shard
    clips, cached = [], {}
    for number, row in enumerate(rows):
        clips.append(_present(Clip(**{column: row[column] for column in CLIP_COLUMNS}), job.root))
        if row["crc32c"] is not None:
            # What is whole of the damaged shard is copied out of it.
            cached[number] = CachedRow(**{column: {**row, "proven": True}[column] for column in CACHED_COLUMNS})
    unit = ShardUnit(name, tuple(clips), cached)
    try:
        build_shard(unit, scratch, job.root, job.spec, job.policies, cached_in=job.layout)
    except UsageError as error:  # the network of the front end is not there, or its runtime
        return name, str(error)
    report = read_report(scratch, name)
    for row in report.rows.filter(pc.is_null(report.rows["row"])).to_pylist():
        return name, f"{row['path']}: {row['reason']}, {row['message']}"
    return name, report.shard or "it has no rows"


def _present(clip: Clip, root: str) -> Clip:
    """Returns a clip with the time or version that its file has now: where its content is known, that is confirmed."""
    with contextlib.suppress(OSError):
        place = clip_file(root, clip.path)
        if clip.content_hash is not None and is_uri(place):
            return replace(clip, version=version_of(filesystem_of(place).status(place)))
        if clip.content_hash is not None:
            return replace(clip, mtime_ns=mtime_ns(os.stat(place)))
    return clip


def _make(
    layout: Layout, manifest: Manifest, files: dict[str, bool], workers: int | None
) -> Iterator[tuple[str, Shard | str]]:
    """Makes shards and reports, with a progress line; `files` says by name whether it is more than the report."""
    lines = lines_of_shards(layout, manifest)
    shards = {shard.name: shard for shard in manifest.all_shards}
    total, done = sum(shards[name].rows for name in files), 0
    jobs = (
        RepairJob(
            layout=layout,
            root=manifest.source["root"],
            spec=manifest.spec,
            policies=manifest.policies,
            shard=shards[name],
            lines=lines(name),
            file=file,
        )
        for name, file in files.items()
    )
    progress = Progress("repair", total, "clips")
    for name, made in run_jobs(remake, jobs, choose_workers(workers, len(files), pays=total >= _CLIPS_THAT_PAY)):
        yield name, made
        done += shards[name].rows
        progress.update(done)
    progress.close()


@contextlib.contextmanager
def _scratch(layout: Layout) -> Iterator[None]:
    """Makes empty scratch folders for the block; what a repair left that was killed goes with them."""
    _remove_scratch(layout)
    try:
        for place in (layout, layout.scratch):
            place.make_folders()
        yield
    finally:
        _remove_scratch(layout)
        layout.remove_work_folder()


def _remove_scratch(layout: Layout) -> None:
    scratch = layout.scratch.root
    if isinstance(scratch, Path):
        shutil.rmtree(scratch, ignore_errors=True)
        return
    for entry in list(layout.files.list(scratch)):
        layout.files.delete(entry.path)


def _place(layout: Layout, name: str, parts: set[Part]) -> None:
    """Puts what was damaged of a shard in its place; no report is ever beside a shard that it does not describe."""
    if Part.REPORT in parts:
        layout.files.delete(layout.report(name))
        if isinstance(layout.reports_folder, Path):
            fsync_folder(layout.reports_folder)
    if Part.FILE in parts:
        _move(layout.scratch.shard(name), layout.shard(name))
    if Part.REPORT in parts:
        _move(layout.scratch.report(name), layout.report(name))


def _move(made: Location, to: Location) -> None:
    if isinstance(made, Path) and isinstance(to, Path):
        os.replace(made, to)
        fsync_folder(to.parent)
    else:  # an object takes another name by being written under it; what it was goes with the scratch folder
        filesystem_of(to).write(to, filesystem_of(made).read(made))


def _commit(layout: Layout, base: Manifest, others: dict[str, Shard]) -> None:
    """Commits the state that has other bytes of some shards."""
    names = {partition: [shard.name for shard in held] for partition, held in base.partitions.items()}
    of_shard = lines_of_shards(layout, base)

    def lines(wanted: Sequence[str]) -> pa.Table:
        held = ((name, of_shard(name)) for name in wanted)
        return pa.concat_tables([_of_report(layout, *one) if one[0] in others else one[1] for one in held])

    staying = Staying({shard.name: others.get(shard.name, shard) for shard in base.all_shards}, lines)
    rejects = read_csv(layout.path(base.rejects_file))
    contents = gather(layout, names, staying, rejects, base.spec)
    manifest, _ = commit(layout, contents, base, base.spec, base.provenance)
    # The files are those that the last scan found, so its time still says which of them it confirms.
    scan = last_scan_ns(layout, base.state)
    append_run(layout, {"state": manifest.state, "clips": contents.tally.clips, "repaired": len(others),
                        "scan_started_ns": scan})  # fmt: skip


def _of_report(layout: Layout, name: str, lines: pa.Table) -> pa.Table:
    """Returns the lines of a shard with what its report says of its rows."""
    report = read_report(layout, name)
    for column in ("offset", "crc32c", "decoder"):
        lines = lines.set_column(lines.column_names.index(column), CLIPS_SCHEMA.field(column), report.rows[column])
    return lines
