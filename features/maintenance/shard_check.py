"""The check of one shard: its file, its rows, their places and its report are what the committed state says."""

import enum
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.io.tfrecord import records
from features.store.clips_table import CLIPS_COLUMNS, read_clips
from features.store.layout import Layout
from features.store.manifest import Manifest
from features.store.shards import Shard, read_shard
from features.store.statistics import Statistics
from features.store.unit_report import read_report

# What a row of a shard says beside its tensor, and the clips table says too.
_COLUMNS = ("path", "start", "label", "group")
# Of a line of the clips table, what the check needs.
LINE_COLUMNS = (*_COLUMNS, "partition", "shard", "row", "offset", "crc32c", "decoder")
# What is raised where bytes are not what they are read as; pyarrow's errors are among these.
_UNREADABLE = (ValueError, KeyError, IndexError, TypeError, OSError)
# Sums of a report may have been added up in another way, by another version of numpy or of soundmill. Twice what those
# of `Sums` are off by for clips that are one number from end to end.
_SUMS_TOLERANCE = 8e-7

Rows = tuple[list[NDArray[np.uint8]], dict[str, list[Any]]]


class Part(enum.StrEnum):
    """What is damaged; file and report of a shard can be made again, a network can be given again, the state cannot."""

    FILE = "file"
    REPORT = "report"
    NETWORK = "network"
    STATE = "state"


@dataclass(frozen=True)
class Damage:
    """Something that is not what the committed state says.

    Attributes:
        name: of the shard, or of the file of the state or of the network.
        partition: of the shard, empty for another file.
        part: what of it is damaged.
        message: what is wrong, for people.
    """

    name: str
    partition: str
    part: Part
    message: str


@dataclass(frozen=True)
class ShardJob:
    """A shard that is to be checked.

    Attributes:
        layout: of the feature set.
        partition: of the shard.
        shard: what the manifest says of it.
        spec: the front end.
        lines: of the clips table that name it, in the order of their rows.
    """

    layout: Layout
    partition: str
    shard: Shard
    spec: FeatureSpec
    lines: pa.Table


@dataclass(frozen=True)
class ShardCheck:
    """The result of a check.

    Attributes:
        damages: what is wrong, nothing where the shard is whole.
        statistics: sums of its report, None where anything is damaged.
    """

    damages: list[Damage]
    statistics: Statistics | None


def check_shard(job: ShardJob) -> ShardCheck:
    """Checks a shard: its file, each of its rows, their lines in the clips table, and its report."""
    wrong = list(_wrong_lines(job))
    wrong += _wrong_file(job, with_rows=not wrong)
    statistics = None
    try:
        statistics = _statistics(job)
    except FileNotFoundError:
        wrong.append((Part.REPORT, "its report is missing"))
    except _UNREADABLE as error:
        wrong.append((Part.REPORT, f"its report is not the one that was written: {str(error) or repr(error)}"))
    damages = [Damage(job.shard.name, job.partition, part, message) for part, message in wrong]
    return ShardCheck(damages, None if damages else statistics)


def check_sums(job: ShardJob) -> Damage | None:
    """Adds up the rows of a shard that is whole; returns what is damaged where its report has other sums."""
    sums = Statistics.of(read_shard(job.layout, job.shard, job.spec).features)
    if are_equal(sums, _statistics(job)):
        return None
    return Damage(job.shard.name, job.partition, Part.REPORT, "the sums of its report are not those of its rows")


def lines_by_shard(clips: pa.Table, names: Sequence[str]) -> Callable[[str], pa.Table]:
    """Returns what gives the lines of the clips table that name a shard, in the order of their rows.

    Args:
        clips: the table, in any order.
        names: of the shards.
    """
    numbers = pc.index_in(clips["shard"], value_set=pa.array(names, pa.string())).fill_null(-1).to_numpy()
    order = np.lexsort((clips["row"].to_numpy(), numbers))
    begins = np.searchsorted(numbers[order], np.arange(len(names) + 1))
    places = {name: number for number, name in enumerate(names)}

    def lines(name: str) -> pa.Table:
        number = places[name]
        # Taken, and not sliced: a slice is pickled with the whole table.
        return clips.take(pa.array(order[begins[number] : begins[number + 1]]))

    return lines


def lines_of_shards(
    layout: Layout, manifest: Manifest, columns: Sequence[str] = CLIPS_COLUMNS
) -> Callable[[str], pa.Table]:
    """Returns what gives the lines of the clips table that name a shard, in the order of their rows.

    A file of the table is read when a shard of it is asked for, and held until one of another is. Raises `RunError`
    then where it cannot be read.
    """
    tables = manifest.shards_by_table
    file_of = {shard.name: number for number, shards in enumerate(tables) for shard in shards}

    @functools.lru_cache(1)
    def of_file(number: int) -> Callable[[str], pa.Table]:
        names = [shard.name for shard in tables[number]]
        return lines_by_shard(read_clips(layout, manifest, columns, names[:1]), names)

    return lambda name: of_file(file_of[name])(name)


def are_equal(sums: Statistics, others: Statistics) -> bool:
    """Returns whether sums are the same but for the order in which they were added up."""
    if sums.count != others.count or len(sums.total) != len(others.total):
        return False
    total, squares = np.array(sums.total), np.array(sums.squares)
    # No sum of values is above the root of their number times the sum of their squares.
    scale = np.sqrt(sums.count * squares)
    return bool(
        (np.abs(total - others.total) <= _SUMS_TOLERANCE * scale).all()
        and np.allclose(squares, others.squares, rtol=_SUMS_TOLERANCE, atol=0)
    )


def _wrong_lines(job: ShardJob) -> Iterator[tuple[Part, str]]:
    """Yields what is wrong with the lines of the clips table by themselves."""
    rows = job.lines["row"].to_pylist()
    if rows != list(range(job.shard.rows)):
        named = len(set(rows) & set(range(job.shard.rows)))
        yield Part.STATE, (f"the clips table has {len(rows):,} lines of it and names {named:,} of its "
                           f"{job.shard.rows:,} rows")  # fmt: skip
    for name in job.lines["partition"].unique().to_pylist():
        if name != job.partition:
            yield Part.STATE, f"the clips table has clips of it in the partition {name}"


def _wrong_file(job: ShardJob, with_rows: bool) -> Iterator[tuple[Part, str]]:
    """Yields what is wrong with the file, and with its rows where each has a line of the clips table."""
    shard = job.shard
    try:
        path = job.layout.shard(shard.name)
        is_local = job.layout.files.is_local
        content = np.fromfile(path, np.uint8) if is_local else np.frombuffer(job.layout.files.read(path), np.uint8)
    except FileNotFoundError:
        yield Part.FILE, "the file is missing"
        return
    except OSError as error:
        yield Part.FILE, f"the file cannot be read: {error.strerror}"
        return
    if len(content) != shard.bytes:
        message = f"the file has {len(content):,} bytes, and the manifest says {shard.bytes:,}"
    elif (crc := google_crc32c.value(content)) != shard.crc32c:
        message = f"the file has the CRC-32C {crc:08x}, and the manifest says {shard.crc32c:08x}"
    else:
        # The checksums within the file were written with it, and are right as that of the whole is.
        if with_rows:
            yield from _wrong_rows(job, content)
        return
    if with_rows and not job.lines["crc32c"].null_count:
        lost = np.flatnonzero(~_in_place(job, content))
        first = f", the first {job.lines['path'][int(lost[0])]}" if len(lost) else ""
        message += f"; the features of {len(lost):,} of {shard.rows:,} clips are damaged{first}"
    yield Part.FILE, message


def _wrong_rows(job: ShardJob, content: NDArray[np.uint8]) -> Iterator[tuple[Part, str]]:
    """Yields where the rows of a file that is as it was written are not those of the spec and the clips table."""
    read = _tfrecord_rows if job.layout.storage_format == "tfrecord" else _parquet_rows
    try:
        tensors, columns = read(content)
    except _UNREADABLE as error:
        yield Part.FILE, f"the file is not {job.layout.storage_format}: {error!r}"
        return
    if len(tensors) != job.shard.rows:
        yield Part.FILE, f"the file has {len(tensors):,} rows, and the manifest says {job.shard.rows:,}"
        return
    if sizes := {len(tensor) for tensor in tensors} - {job.spec.row_bytes}:
        yield Part.FILE, f"the file has a row of {min(sizes)} bytes, and the spec has {job.spec.row_bytes}"
        return
    lines = job.lines
    equal = {}
    for name in _COLUMNS:
        stated = ["" if value is None else value for value in lines[name].to_pylist()]
        equal[name] = np.array([here == there for here, there in zip(columns[name], stated, strict=True)])
    if not lines["crc32c"].null_count:  # a set of format version 1 knows neither checksums nor places of tensors
        equal["checksum"] = lines["crc32c"].to_numpy() == [google_crc32c.value(tensor) for tensor in tensors]
        equal["place"] = _in_place(job, content)
    for name, same in equal.items():
        if not same.all():
            first = int(np.argmin(same))
            yield Part.STATE, (f"the clips table has another {name} than the file for {np.count_nonzero(~same):,} of "
                               f"{len(same):,} rows, the first row {first} ({lines['path'][first]})")  # fmt: skip


def _in_place(job: ShardJob, content: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns which tensors are in the file where the clips table says."""
    places = zip(job.lines["offset"].to_pylist(), job.lines["crc32c"].to_pylist(), strict=True)
    size = job.spec.row_bytes
    return np.array([google_crc32c.value(content[offset : offset + size]) == crc for offset, crc in places])


def _tfrecord_rows(content: NDArray[np.uint8]) -> Rows:
    rows = list(records(content.data))
    columns = {name: [row[name] for row in rows] for name in _COLUMNS}
    columns |= {name: [str(value, "utf-8") for value in columns[name]] for name in _COLUMNS if name != "start"}
    return [np.frombuffer(row["features"], np.uint8) for row in rows], columns


def _parquet_rows(content: NDArray[np.uint8]) -> Rows:
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        table = file.read(["features", *_COLUMNS], use_threads=False)
    tensors = [np.frombuffer(tensor.as_buffer(), np.uint8) for tensor in table["features"]]
    return tensors, {name: table[name].to_pylist() for name in _COLUMNS}


def _statistics(job: ShardJob) -> Statistics:
    """Returns the sums that the report of a shard holds; raises where it is not the report of that shard."""
    report = read_report(job.layout, job.shard.name)
    if report.shard != job.shard:
        raise ValueError(f"it is of {report.shard}")
    if report.fingerprint not in (None, job.spec.fingerprint):
        raise ValueError(f"it is of the spec {report.fingerprint}")
    rows = len(report.rows.filter(pc.is_valid(report.rows["row"])))
    values = job.shard.rows * math.prod(job.spec.shape[:-1])
    sums = report.statistics
    if (rows, sums.count) != (job.shard.rows, values) or {len(sums.total), len(sums.squares)} != {job.spec.shape[-1]}:
        raise ValueError(f"it has {rows} rows and sums of {sums.count} values")
    return sums
