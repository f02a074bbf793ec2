"""Which shards a set shall have: those that stay, and units of those that are to be built.

A shard stays while no row of it changes. One that loses or changes a row is built anew from its other rows. Clips that
are new to a partition, and the rows of small shards that have piled up, are dealt out in the order of their keys'
hashes. All is columnar: a plan of a million clips is a few arrays.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.changes import NOTHING, Changes
from features.keys import key_order
from features.partition import partition_order
from features.shards import Shard, rows_per_shard
from features.spec import FeatureSpec
from features.units import members

# So many shards of one tier are merged into one, of a higher tier: a tier ends at so many times the rows it begins at.
MERGED_SHARDS = 8
_NAME_DIGITS = 24
_LARGE_TIER = 99


@dataclass(frozen=True)
class Plan:
    """The shards of the next state.

    Attributes:
        partitions: names of the shards of each partition in the manifest's order: those that stay, and units.
        staying: shards of the committed state that stay, by name.
        rows: for each shard that stays, the numbers of its clips in the order of its rows.
        units: for each unit, the numbers of its clips in the order of their keys.
    """

    partitions: dict[str, list[str]]
    staying: dict[str, Shard]
    rows: dict[str, NDArray[np.int64]]
    units: dict[str, NDArray[np.int64]]


@dataclass(eq=False)
class _Segment:
    """Clips that make a shard: one that stays or is built anew (`shard`), or several that are to be dealt out."""

    clips: NDArray[np.int64]
    shard: Shard | None = None
    stays: bool = False


def make_plan(
    changes: Changes,
    shards: dict[str, list[Shard]],
    spec: FeatureSpec,
    storage_format: str,
    is_there: Callable[[Shard], bool] = lambda shard: True,
) -> Plan:
    """Deals clips into shards.

    Args:
        changes: the clips, and what the committed state knows of them.
        shards: of the committed state, by partition.
        spec: the front end.
        storage_format: `tfrecord` or `parquet`.
        is_there: tells whether a shard's file is there; one that is not is built anew.

    Returns:
        The plan; it depends on the set of clips and on the committed state, and not on the clips' order.
    """
    clips = changes.clips
    names = clips["partition"].dictionary_encode().combine_chunks()
    present = partition_order([*names.dictionary.to_pylist(), *shards])
    places = np.array([present.index(name) for name in names.dictionary.to_pylist()], np.int64)
    places = places[names.indices.to_numpy()]
    usable = np.flatnonzero(~changes.refused)
    order = usable[key_order(clips.take(pa.array(usable)), places[usable])]
    homes, listed = _homes(changes, shards, places, order, present)
    partitions: dict[str, list[str]] = {name: [] for name in present}
    staying: dict[str, Shard] = {}
    rows: dict[str, NDArray[np.int64]] = {}
    units: dict[str, NDArray[np.int64]] = {}
    # Clips of one partition, and within it those of one shard, stand side by side.
    order = order[np.lexsort((np.arange(len(order)), homes[order], places[order]))]
    for place, name in enumerate(present):
        begin, end = np.searchsorted(places[order], [place, place + 1])
        for segment in _segments(changes, order[begin:end], homes, listed, rows_per_shard(spec), is_there):
            if segment.shard is not None and segment.stays:
                partitions[name].append(segment.shard.name)
                staying[segment.shard.name], rows[segment.shard.name] = segment.shard, segment.clips
                continue
            for first in range(0, len(segment.clips), rows_per_shard(spec)):
                dealt = segment.clips[first : first + rows_per_shard(spec)]
                unit = f"{name}-{_digest(clips.take(pa.array(dealt)), spec, storage_format)}"
                partitions[name].append(unit)
                units[unit] = dealt
    return Plan(partitions, staying, rows, units)


def unit_members(changes: Changes, clips: NDArray[np.int64]) -> pa.Table:
    """Returns the members of a unit as a work list takes them: the clips, and the rows that are copied."""
    lines = changes.known[clips]
    cached = changes.cache.take(pa.array(lines, mask=lines == NOTHING))
    cached = cached.append_column("proven", cached["shard"].is_valid())
    # A row of format version 1 cannot be copied: where its tensor lies is not known.
    there = pc.and_(cached["offset"].is_valid(), cached["crc32c"].is_valid())
    cached = cached.set_column(cached.column_names.index("shard"), "shard", pc.if_else(there, cached["shard"], None))
    return members(changes.clips.take(pa.array(clips)), cached)


def _homes(
    changes: Changes,
    shards: dict[str, list[Shard]],
    places: NDArray[np.int64],
    order: NDArray[np.int64],
    present: tuple[str, ...],
) -> tuple[NDArray[np.int64], list[Shard]]:
    """Returns for each clip the number of the shard that has its row and is of its partition, and these shards."""
    listed = [shard for name in shards for shard in shards[name]]
    homes = np.full(len(places), NOTHING)
    if not listed:
        return homes, listed
    numbers = pc.index_in(changes.cache["shard"], value_set=pa.array([shard.name for shard in listed]))
    of_row = numbers.fill_null(NOTHING).to_numpy().astype(np.int64)
    place_of_shard = np.repeat([present.index(name) for name in shards], [len(held) for held in shards.values()])
    has_row = order[changes.known[order] != NOTHING]
    # Of several clips with the content of one row the first stays where the row is.
    _, firsts = np.unique(changes.known[has_row], return_index=True)
    stays = has_row[firsts]
    home = of_row[changes.known[stays]]
    same = (home != NOTHING) & (place_of_shard[home] == places[stays])
    homes[stays[same]] = home[same]
    return homes, listed


def _segments(
    changes: Changes,
    order: NDArray[np.int64],
    homes: NDArray[np.int64],
    listed: list[Shard],
    full: int,
    is_there: Callable[[Shard], bool],
) -> Iterator[_Segment]:
    """Yields the segments of a partition, small ones merged.

    Args:
        changes: the clips.
        order: numbers of the partition's clips: those without a home first, then shard by shard, by their keys.
        homes: of each clip.
        listed: shards by number.
        full: rows a shard.
        is_there: whether a shard's file is there.
    """
    numbers, firsts = np.unique(homes[order], return_index=True)
    parts = np.split(order, firsts[1:]) if len(order) else []
    segments = []
    loose = order[:0]
    for number, clips in zip(numbers.tolist(), parts, strict=True):
        if number == NOTHING:
            loose = clips
            continue
        shard = listed[number]
        lines = changes.known[clips]
        stays = len(clips) == shard.rows and bool(changes.kept[clips].all()) and is_there(shard)
        if stays:
            clips = clips[np.argsort(changes.cache["row"].take(pa.array(lines)).to_numpy())]
        segments.append(_Segment(clips, shard, stays))
    if len(loose):
        segments.append(_Segment(loose))
    for tier in range(_tier(full, full)):
        small = [segment for segment in segments if _tier(len(segment.clips), full) == tier]
        if len(small) >= MERGED_SHARDS:
            merged = np.concatenate([segment.clips for segment in small])
            segments = [segment for segment in segments if segment not in small]
            segments.append(_Segment(merged[key_order(changes.clips.take(pa.array(merged)))]))
    yield from segments


def _tier(rows: int, full: int) -> int:
    """Returns the tier of a shard: the logarithm of its rows; from half a full shard on it is large enough to stay."""
    return _LARGE_TIER if 2 * rows >= full else int(np.log(rows) / np.log(MERGED_SHARDS) + 1e-9)


def _digest(clips: pa.Table, spec: FeatureSpec, storage_format: str) -> str:
    digest = hashlib.sha256(f"{spec.fingerprint}\n{storage_format}\n".encode())
    names = ("path", "start", "duration", "size", "mtime_ns", "label", "group", "partition", "content_hash")
    for row in zip(*(clips[name].to_pylist() for name in names), strict=True):
        digest.update(json.dumps(row, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()[:_NAME_DIGITS]
