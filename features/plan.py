"""What is to be computed: clips dealt into the shards that shall hold them.

The plan is columnar, one Arrow table with a row a clip, and travels as a Parquet file with one row group a shard, so
that a pipeline carries only the numbers of row groups.
"""

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.decode import AudioInfo, probe
from features.errors import ClipError
from features.partition import partition_order
from features.shards import rows_per_shard
from features.sources import Clip, clip_file
from features.spec import FeatureSpec

# A modification time this close to the scan proves nothing: the file may change again without a new time.
RACY_NANOSECONDS = 2_000_000_000
_NAME_DIGITS = 24
_HASH_BYTES = 16


@dataclass(frozen=True)
class ShardUnit:
    """One element of the pipeline: a shard to build.

    Attributes:
        name: name of the shard and of its report, a hash of what it shall hold.
        clips: its members, in the order of their rows.
    """

    name: str
    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class Plan:
    """All shards of a set, in the order of the manifest.

    Attributes:
        names: of the shards.
        clips: table of the members, shard after shard.
        first_rows: where each shard begins in the table, and the end.
    """

    names: list[str]
    clips: pa.Table
    first_rows: list[int]


def content_hash(content: bytes) -> str:
    """Returns the hash by which contents are compared: BLAKE2b (RFC 7693) of 128 bits, in hexadecimal."""
    return hashlib.blake2b(content, digest_size=_HASH_BYTES).hexdigest()


def file_hash(path: str) -> str:
    """Returns `content_hash` of a file without holding it in memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_HASH_BYTES)).hexdigest()


def key_hashes(clips: pa.Table) -> list[bytes]:
    """Returns the sha256 of each clip's key (path, start), by which clips are ordered and dealt."""
    pairs = zip(clips["path"].to_pylist(), clips["start"].to_pylist(), strict=True)
    return [hashlib.sha256(f"{path}\0{start}".encode()).digest() for path, start in pairs]


def limit(clips: pa.Table, number: int | None) -> pa.Table:
    """Takes the first `number` clips in the order of their keys' hashes, all where it is None; keeps table order."""
    if number is None or number >= len(clips):
        return clips
    hashes = key_hashes(clips)
    chosen = sorted(sorted(range(len(clips)), key=hashes.__getitem__)[:number])
    return clips.take(pa.array(chosen, pa.int64()))


def seconds_of(clips: pa.Table, root: str) -> tuple[float, int]:
    """Returns how long clips are together by the headers of their files, and for how many no header can be read.

    Args:
        clips: table of path, start, duration.
        root: where paths begin.
    """
    infos: dict[str, AudioInfo | None] = {}
    seconds = 0.0
    for path, start, duration in zip(*(clips[name].to_pylist() for name in ("path", "start", "duration")), strict=True):
        if path not in infos:
            infos[path] = None
            with contextlib.suppress(ClipError):
                infos[path] = probe(clip_file(root, path))
        info = infos[path]
        if info is not None:
            frames = max(0, info.frames - start)
            seconds += (frames if duration is None else min(frames, duration)) / info.rate_hz
    return seconds, sum(infos[path] is None for path in clips["path"].to_pylist())


def make_plan(
    clips: pa.Table, spec: FeatureSpec, storage_format: str, root: str | None = None, scan_started_ns: int = 0
) -> Plan:
    """Deals clips into shards.

    Args:
        clips: table of path, start, duration, size, mtime_ns, label, group, partition.
        spec: the front end.
        storage_format: `tfrecord` or `parquet`.
        root: where paths begin; files whose time is too close to the scan are hashed there. None hashes nothing.
        scan_started_ns: when the scan began, in nanoseconds since the epoch.

    Returns:
        The plan; it depends on the set of clips and not on their order.
    """
    hashes = key_hashes(clips)
    partitions = clips["partition"].to_pylist()
    present = partition_order(partitions)
    order = sorted(range(len(clips)), key=lambda row: (present.index(partitions[row]), hashes[row]))
    clips = clips.take(pa.array(order, pa.int64())).combine_chunks()
    clips = clips.append_column("content_hash", _racy_hashes(clips, root, scan_started_ns))
    names, first_rows, row = [], [0], 0
    for partition in present:
        end = row + pc.sum(pc.equal(clips["partition"], partition)).as_py() if len(clips) else 0
        while row < end:
            members = clips.slice(row, min(rows_per_shard(spec), end - row))
            names.append(f"{partition}-{_digest(members, spec, storage_format)}")
            row += len(members)
            first_rows.append(row)
    return Plan(names, clips, first_rows)


def write_work_list(plan: Plan, units: list[int], path: str | Path) -> None:
    """Writes the units with these numbers as a Parquet file, one row group each."""
    clips = plan.clips.append_column("unit", pa.array(np.repeat(plan.names, np.diff(plan.first_rows)), pa.string()))
    with pq.ParquetWriter(path, clips.schema) as writer:
        for unit in units:
            members = clips.slice(plan.first_rows[unit], plan.first_rows[unit + 1] - plan.first_rows[unit])
            writer.write_table(members, row_group_size=len(members))


def read_unit(path: str | Path, row_group: int) -> ShardUnit:
    """Reads one unit of a work list."""
    with pq.ParquetFile(path) as file:
        rows = file.read_row_group(row_group).to_pylist()
    names = {row.pop("unit") for row in rows}
    return ShardUnit(names.pop(), tuple(Clip(**row) for row in rows))


def _racy_hashes(clips: pa.Table, root: str | None, scan_started_ns: int) -> pa.Array:
    if root is None:
        return pa.nulls(len(clips), pa.string())
    hashes: dict[str, str | None] = {}  # by path: a long recording may have many clips
    for path, mtime_ns in zip(clips["path"].to_pylist(), clips["mtime_ns"].to_pylist(), strict=True):
        if path in hashes:
            continue
        hashes[path] = None
        if mtime_ns > scan_started_ns - RACY_NANOSECONDS:
            with contextlib.suppress(OSError):  # it cannot be read: its reject follows when it is decoded
                hashes[path] = file_hash(clip_file(root, path))
    return pa.array([hashes[path] for path in clips["path"].to_pylist()], pa.string())


def _digest(members: pa.Table, spec: FeatureSpec, storage_format: str) -> str:
    digest = hashlib.sha256(f"{spec.fingerprint}\n{storage_format}\n".encode())
    names = ("path", "start", "duration", "size", "mtime_ns", "label", "group", "partition", "content_hash")
    for row in zip(*(members[name].to_pylist() for name in names), strict=True):
        digest.update(json.dumps(row, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()[:_NAME_DIGITS]
