"""The check of a whole feature set: its tables, and every shard."""

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import RunError, UsageError
from features.io.filesystem import Location, exists
from features.maintenance.shard_check import (
    LINE_COLUMNS,
    Damage,
    Part,
    ShardJob,
    are_equal,
    check_shard,
    check_sums,
    lines_of_shards,
)
from features.runtime.processes import choose_workers, run_jobs
from features.runtime.progress import Progress
from features.sources.content_hash import table_file_hash
from features.sources.rejects import read_csv
from features.store.clips_table import part_batches
from features.store.layout import MANIFEST, Layout, manifest_path
from features.store.manifest import Manifest, load_manifest, ways_back
from features.store.network_copy import what_is_wrong
from features.store.statistics import Statistics
from features.store.tally import COUNTED, Tally

# From so many bytes on, two processes are sooner done than one, their start included.
_BYTES_THAT_PAY = 4 * 10**9

_MEGABYTE = 10**6


def verify(layout: Layout, manifest: Manifest, workers: int | None = None) -> list[Damage]:
    """Checks every checksum, row, spec and place of a committed state.

    Args:
        layout: of the feature set.
        manifest: its committed state.
        workers: number of processes, None to choose.

    Returns:
        What is not as the state says: of the state itself and the network first, then shard after shard.

    Raises:
        RunError: the clips table cannot be relied on, so that nothing can be checked against it.
    """
    damages = [*_wrong_counts(layout, manifest), *_wrong_rejects(layout, manifest), *_wrong_network(layout, manifest)]
    shards = [(partition, shard) for partition, held in manifest.partitions.items() for shard in held]
    lines = lines_of_shards(layout, manifest, LINE_COLUMNS)
    total, done = sum(shard.bytes for _, shard in shards), 0
    workers = choose_workers(workers, len(shards), pays=total >= _BYTES_THAT_PAY)

    def jobs(*partitions: str) -> Iterator[ShardJob]:
        for partition, shard in shards:
            if partition in partitions:
                yield ShardJob(
                    layout=layout, partition=partition, shard=shard, spec=manifest.spec, lines=lines(shard.name)
                )

    sums: dict[str, Statistics | None] = dict.fromkeys(manifest.partitions, Statistics(0, (), ()))
    progress = Progress("verify", total // _MEGABYTE, "MB")
    for (partition, shard), check in zip(shards, run_jobs(check_shard, jobs(*sums), workers), strict=True):
        damages += check.damages
        known, own = sums[partition], check.statistics
        sums[partition] = None if known is None or own is None else Statistics.merge([known, own])
        done += shard.bytes
        progress.update(done // _MEGABYTE)
    progress.close()
    for partition, known in sums.items():
        if known is not None and not are_equal(known, manifest.statistics[partition]):
            # Rare enough that all shards are read once more, to know whose sums are wrong.
            wrong = [damage for damage in run_jobs(check_sums, jobs(partition), workers) if damage]
            damages += wrong or [Damage(MANIFEST, "", Part.STATE, f"its sums of {partition} are not those of its rows")]
    return damages


def _wrong_counts(layout: Layout, manifest: Manifest) -> Iterator[Damage]:
    """Yields where the manifest and the clips table do not agree."""
    names = [shard.name for shard in manifest.all_shards]
    if len(set(names)) < len(names):
        yield Damage(MANIFEST, "", Part.STATE, "it names a shard twice")
    tally = Tally()
    for part, shards in zip(manifest.clips_tables, manifest.shards_by_table, strict=True):
        held, foreign, lines = pa.array([shard.name for shard in shards], pa.string()), [], 0
        for clips in part_batches(layout, manifest, part, COUNTED):
            tally.add(clips)
            foreign += clips["shard"].filter(pc.invert(pc.is_in(clips["shard"], value_set=held))).to_pylist()
            lines += len(clips)
        if foreign:
            of_it = "the manifest has not" if manifest.clips_file else "it should have no line of"
            yield Damage(part.file, "", Part.STATE, f"{len(foreign):,} of {lines:,} lines name shards that {of_it}, "
                         f"the first {foreign[0]}")  # fmt: skip
    for what, stated, found in (
        ("number of clips", manifest.counts["clips"], tally.clips),
        ("number of clips per class", manifest.counts["classes"], tally.classes),
        ("list of classes", manifest.classes, list(tally.classes)),
        ("number of clips per decoder", manifest.decoders, tally.decoders),
    ):
        if stated != found:
            yield Damage(MANIFEST, "", Part.STATE, f"its {what} is {stated}, and the clips table's {found}")


def _wrong_rejects(layout: Layout, manifest: Manifest) -> Iterator[Damage]:
    """Yields what is wrong with the table of rejects."""
    path, stated = layout.path(manifest.rejects_file), manifest.counts["rejects"]
    try:
        if table_file_hash(path) not in path.name:
            message = "it is not the table that was committed: its bytes have another hash than its name says"
        elif (found := Counter(reject.reason for reject in read_csv(path))) != stated:
            message = f"its numbers of rejects by reason are {dict(found)}, and the manifest's {stated}"
        else:
            return
    except (OSError, ValueError) as error:
        message = f"it cannot be read: {error}"
    yield Damage(path.name, "", Part.STATE, message)


def _wrong_network(layout: Layout, manifest: Manifest) -> Iterator[Damage]:
    """Yields what is wrong with the network of the front end, where it has one."""
    if manifest.network is not None and (why := what_is_wrong(layout, manifest.spec)):
        yield Damage(manifest.network["file"], "", Part.NETWORK, why)


def load_committed(folder: Location) -> Manifest:
    """Reads the committed state; raises `RunError` with the ways back where its manifest is damaged."""
    try:
        return load_manifest(folder)
    except UsageError as error:
        if not exists(manifest_path(folder)):
            raise
        raise RunError(f"{error}; {ways_back(folder)}") from error
