"""The check of a whole feature set: its tables, and every shard."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import RunError, UsageError
from features.maintenance.shard_check import (
    LINE_COLUMNS,
    Damage,
    Part,
    ShardJob,
    are_equal,
    lines_by_shard,
    prove,
    prove_sums,
)
from features.runtime.processes import choose_workers, run_jobs
from features.runtime.progress import Progress
from features.sources.content_hash import table_hash
from features.sources.partition import count
from features.sources.rejects import read_csv
from features.store.known_rows import read_clips
from features.store.manifest import MANIFEST, Manifest, load_manifest
from features.store.statistics import Statistics

# From so many bytes on, two processes are sooner done than one, their start included.
_BYTES_THAT_PAY = 4 * 10**9

_MEGABYTE = 10**6


def verify(folder: Path, manifest: Manifest, workers: int | None = None) -> list[Damage]:
    """Proves every checksum, row, spec and place of a committed state.

    Args:
        folder: the feature set.
        manifest: its committed state.
        workers: number of processes, None to choose.

    Returns:
        What is not as the state says: of the state itself first, then shard after shard.

    Raises:
        RunError: the clips table cannot be relied on, so that nothing can be proved by it.
    """
    clips = _proved_clips(folder, manifest)
    damages = [*_wrong_counts(manifest, clips), *_wrong_rejects(folder, manifest)]
    shards = [(partition, shard) for partition, held in manifest.partitions.items() for shard in held]
    lines = lines_by_shard(clips.select(LINE_COLUMNS), [shard.name for _, shard in shards])
    total, done = sum(shard.bytes for _, shard in shards), 0
    workers = choose_workers(workers, len(shards), pays=total >= _BYTES_THAT_PAY)

    def jobs(*partitions: str) -> Iterator[ShardJob]:
        for partition, shard in shards:
            if partition in partitions:
                name = shard.name
                yield ShardJob(str(folder), partition, shard, manifest.spec, manifest.storage_format, lines(name))

    sums: dict[str, Statistics | None] = dict.fromkeys(manifest.partitions, Statistics(0, (), ()))
    progress = Progress("verify", total // _MEGABYTE, "MB")
    for (partition, shard), proof in zip(shards, run_jobs(prove, jobs(*sums), workers), strict=True):
        damages += proof.damages
        known, own = sums[partition], proof.statistics
        sums[partition] = None if known is None or own is None else Statistics.merge([known, own])
        done += shard.bytes
        progress.update(done // _MEGABYTE)
    progress.close()
    for partition, known in sums.items():
        if known is not None and not are_equal(known, manifest.statistics[partition]):
            # Rare enough that all shards are read once more, to know whose sums are wrong.
            wrong = [damage for damage in run_jobs(prove_sums, jobs(partition), workers) if damage]
            damages += wrong or [Damage(MANIFEST, "", Part.STATE, f"its sums of {partition} are not those of its rows")]
    return damages


def _proved_clips(folder: Path, manifest: Manifest) -> pa.Table:
    """Returns the clips table; raises `RunError` where it is not the one that was committed."""
    path = folder / manifest.clips_file
    try:
        digest = table_hash(path.read_bytes())
    except OSError as error:
        raise RunError(f"cannot read the clips table {path}: {error.strerror}; {ways_back(folder)}") from error
    if digest not in manifest.clips_file and _format_version(folder) != 1:  # whose names came from the rows
        raise RunError(
            f"the clips table {path} is not the one that was committed: the hash of its bytes is {digest}; "
            f"{ways_back(folder)}"
        )
    return read_clips(folder, manifest)


def _wrong_counts(manifest: Manifest, clips: pa.Table) -> Iterator[Damage]:
    """Yields where the manifest and the clips table do not agree."""
    names = [shard.name for shard in manifest.all_shards]
    if len(set(names)) < len(names):
        yield Damage(MANIFEST, "", Part.STATE, "it names a shard twice")
    foreign = clips["shard"].filter(pc.invert(pc.is_in(clips["shard"], value_set=pa.array(names, pa.string()))))
    if len(foreign):
        yield Damage(manifest.clips_file, "", Part.STATE, f"{len(foreign):,} of {len(clips):,} lines name shards "
                     f"that the manifest has not, the first {foreign[0]}")  # fmt: skip
    classes = count(clips)
    for what, stated, found in (
        ("number of clips", manifest.counts["clips"], len(clips)),
        ("number of clips a class", manifest.counts["classes"], classes),
        ("list of classes", manifest.classes, sorted(classes)),
    ):
        if stated != found:
            yield Damage(MANIFEST, "", Part.STATE, f"its {what} is {stated}, and the clips table's {found}")


def _wrong_rejects(folder: Path, manifest: Manifest) -> Iterator[Damage]:
    """Yields what is wrong with the table of rejects."""
    path, stated = folder / manifest.rejects_file, manifest.counts["rejects"]
    try:
        if table_hash(path.read_bytes()) not in path.name:
            message = "it is not the table that was committed: its bytes have another hash than its name says"
        elif (found := Counter(reject.reason for reject in read_csv(path))) != stated:
            message = f"its numbers of rejects by reason are {dict(found)}, and the manifest's {stated}"
        else:
            return
    except (OSError, ValueError) as error:
        message = f"it cannot be read: {error}"
    yield Damage(path.name, "", Part.STATE, message)


def _format_version(folder: Path) -> object:
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("format_version")


def ways_back(folder: Path) -> str:
    """Returns what can be done where the state of a set is damaged."""
    earlier = sorted((folder / "states").glob("manifest-*.json"))
    back = f"go back to an earlier state (copy {earlier[-1]} over {folder / MANIFEST}), or " if earlier else ""
    return f"--repair cannot make it again; {back}featurize into a new folder"


def load_committed(folder: Path) -> Manifest:
    """Reads the committed state; raises `RunError` with the ways back where its manifest is damaged."""
    try:
        return load_manifest(folder)
    except UsageError as error:
        if not (folder / MANIFEST).exists():
            raise
        raise RunError(f"{error}; {ways_back(folder)}") from error
