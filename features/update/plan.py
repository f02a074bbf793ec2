"""Which shards a set shall have: those that stay, and units of those that are to be built.

A shard stays while no row of it changes. One that loses or changes a row is built anew from its other rows. Clips that
are new to a partition, and the rows of small shards that have piled up, are dealt out in the order of their keys'
hashes. All is columnar: a plan of a million clips is a few arrays of numbers, and what clips are is taken some at a
time.
"""

import itertools
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.sources.clip_order import key_order
from features.sources.partition import partition_order
from features.sources.policies import DEFAULTS, Policies
from features.store.shards import Shard, rows_per_shard
from features.update.changes import Changes
from features.update.known_lines import NOTHING
from features.update.unit_names import unit_digests
from features.update.work_list import CACHED_COLUMNS, CACHED_SCHEMA, members

# So many shards of one tier are merged into one, of a higher tier: a tier ends at so many times the rows it begins at.
MERGED_SHARDS = 8
_COPIED = [name for name in CACHED_COLUMNS if name != "proven"]
_COPIED_SCHEMA = pa.schema([CACHED_SCHEMA.field(name) for name in _COPIED])
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
    """Clips that make a shard: one that stays or is built anew (`shard`, its number), or that are to be dealt out."""

    clips: NDArray[np.int64]
    shard: int
    stays: bool = False


def make_plan(
    changes: Changes,
    shards: dict[str, list[Shard]],
    spec: FeatureSpec,
    storage_format: str,
    state: int = 0,
    root: str = "",
    policies: Policies = DEFAULTS,
) -> Plan:
    """Deals clips into shards.

    Args:
        changes: the clips, and what the committed state knows of them.
        shards: of the committed state, by partition.
        spec: the front end.
        storage_format: `tfrecord` or `parquet`.
        state: number of the committed state, 0 for a new set. It and `root` are part of the names of units, so that
            none is taken for one of other files that had the same names, sizes and times.
        root: where the paths of the clips begin.
        policies: whether clips that have a warning are used; part of the names where they are not the usual ones.

    Returns:
        The plan; it depends on the set of clips and on the committed state, and not on the clips' order.
    """
    places, present = _places(changes.clips)
    listed = [shard for name in shards for shard in shards[name]]
    homes = _homes(changes, shards, listed, places, present)
    stays = changes.kept & _whole(changes, listed, homes)[homes]
    segments: dict[int, list[_Segment]] = {place: [] for place in range(len(present))}
    for clips_of in _by_shard(np.flatnonzero(stays), homes, changes.known):
        segments[int(places[clips_of[0]])].append(_Segment(clips_of, int(homes[clips_of[0]]), stays=True))
    rest = key_order(changes.clips, np.flatnonzero(~stays & ~changes.refused))
    for place in segments:
        for clips_of in _by_shard(rest[places[rest] == place], homes):
            segments[place].append(_Segment(clips_of, int(homes[clips_of[0]])))
    del rest, stays
    partitions: dict[str, list[str]] = {name: [] for name in present}
    staying: dict[str, Shard] = {}
    rows: dict[str, NDArray[np.int64]] = {}
    units: dict[str, NDArray[np.int64]] = {}
    full = rows_per_shard(spec)
    salt = f"{spec.fingerprint}\n{storage_format}\n{state}\n{root}\n"
    if policies != DEFAULTS:
        salt += json.dumps(dict(policies), sort_keys=True)
    for place, name in enumerate(present):
        merged = _merged(changes, segments[place], full)
        pieces = [[] if segment.stays else _pieces(segment.clips, full) for segment in merged]
        digests = unit_digests(changes, [*itertools.chain(*pieces)], salt)
        for segment, dealt in zip(merged, pieces, strict=True):
            if segment.stays:
                shard = listed[segment.shard]
                partitions[name].append(shard.name)
                staying[shard.name], rows[shard.name] = shard, segment.clips
            for numbers in dealt:
                unit = f"{name}-{next(digests)}"
                partitions[name].append(unit)
                units[unit] = numbers
    return Plan(partitions, staying, rows, units)


def unit_members(
    changes: Changes,
    clips: NDArray[np.int64],
    spare: pa.Table,
    spare_of: NDArray[np.int64],
    copies: bool = True,
) -> pa.Table:
    """Returns members of units as a work list takes them: the clips, and the rows that are copied.

    Args:
        changes: what the committed state knows of the clips.
        clips: numbers of the members.
        spare: rows of shards that no state names, see `features.store.known_rows.read_spare`.
        spare_of: for each clip the line of `spare` that may hold its features, `NOTHING` where there is none.
        copies: whether any row is copied.
    """
    table = changes.take(clips)
    if not copies:
        return members(table)
    proven = _copied(changes.lines.take(changes.known[clips], _COPIED))
    proven = proven.append_column("proven", pa.array(np.ones(len(clips), bool)))
    if not (spare_of[clips] != NOTHING).any():
        return members(table, proven)
    # A file that the state does not know may be the one that an interrupted run has computed a row of. The version of
    # an object is the same as when the row was computed: a file's size and time are less than that.
    lines = spare.take(pa.array(spare_of[clips], mask=spare_of[clips] == NOTHING))
    unproven = _copied(lines).append_column("proven", lines["version"].is_valid())
    known = pa.array(changes.known[clips] != NOTHING)
    columns = [pc.if_else(known, proven[name], unproven[name]) for name in proven.column_names]
    return members(table, pa.table(columns, names=proven.column_names))


def _copied(lines: pa.Table) -> pa.Table:
    """Returns lines of a cache as a work list says which rows are copied."""
    lines = lines.select(_COPIED).cast(_COPIED_SCHEMA)
    # A row of format version 1 cannot be copied: where its tensor lies is not known.
    there = pc.and_(lines["offset"].is_valid(), lines["crc32c"].is_valid())
    shard = pc.if_else(there, lines["shard"], None)
    return lines.set_column(lines.column_names.index("shard"), "shard", shard)


def _places(clips: pa.Table) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """Returns for each clip the place of its partition among those of the set, and these in their order."""
    names = clips["partition"].combine_chunks()
    present = partition_order(pc.unique(names).to_pylist())
    of_value = np.array([present.index(name) if name in present else NOTHING for name in names.dictionary.to_pylist()],
                        np.int16)  # fmt: skip
    return of_value[names.indices.to_numpy()], present


def _homes(
    changes: Changes,
    shards: dict[str, list[Shard]],
    listed: list[Shard],
    places: NDArray[np.int16],
    present: tuple[str, ...],
) -> NDArray[np.int32]:
    """Returns for each clip the number of the shard that has its row and is of its partition, else `NOTHING`."""
    homes = np.full(len(places), NOTHING, np.int32)
    if not listed:
        return homes
    numbers = {shard.name: number for number, shard in enumerate(listed)}
    of_shard = np.array([*(numbers.get(name, NOTHING) for name in changes.lines.shards), NOTHING], np.int32)
    shard_of_line = changes.lines.shard
    homes[changes.kept] = of_shard[shard_of_line[changes.known[changes.kept]]]
    # Of several clips with the content of one row the first stays where the row is.
    moved = np.flatnonzero(~changes.kept & ~changes.refused & ~changes.computed)
    moved = key_order(changes.clips, moved)
    moved = moved[np.unique(changes.known[moved], return_index=True)[1]]
    home = of_shard[shard_of_line[changes.known[moved]]]
    numbers_of = [present.index(name) if name in present else NOTHING for name in shards]
    place_of_shard = np.repeat(numbers_of, [len(held) for held in shards.values()])
    homes[moved] = np.where(place_of_shard[home] == places[moved], home, NOTHING)
    return homes


def _whole(changes: Changes, listed: list[Shard], homes: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Returns for each shard whether all of its rows are kept, and last False for `NOTHING`."""
    held = np.bincount(homes[changes.kept & (homes != NOTHING)], minlength=len(listed))
    return np.array([*(held[number] == shard.rows for number, shard in enumerate(listed)), False])


def _by_shard(
    clips: NDArray[np.int64], homes: NDArray[np.int32], known: NDArray[np.int64] | None = None
) -> list[NDArray[np.int64]]:
    """Returns the clips of each shard, shard after shard, and those without one last.

    Those of a shard are in the order that they come in, or that of their `known` lines, which is that of its rows.
    """
    if not len(clips):
        return []
    if known is not None:
        clips = clips[np.argsort(known[clips])]
    shards = homes[clips].view(np.uint32)  # `NOTHING` is the largest
    if (shards[1:] < shards[:-1]).any():
        order = np.argsort(shards, kind="stable")
        clips, shards = clips[order], shards[order]
    return np.split(clips, np.flatnonzero(shards[1:] != shards[:-1]) + 1)


def _merged(changes: Changes, segments: list[_Segment], full: int) -> list[_Segment]:
    """Returns the segments of a partition in the order of their shards, small ones merged where they have piled up."""
    if all(segment.stays for segment in segments):
        return sorted(segments, key=lambda segment: segment.shard)  # where nothing is to be done nothing is merged
    segments = sorted(segments, key=lambda segment: segment.shard if segment.shard != NOTHING else np.inf)
    for tier in range(_LARGE_TIER):
        small = [segment for segment in segments if _tier(len(segment.clips), full) == tier]
        if len(small) >= MERGED_SHARDS:
            merged = key_order(changes.clips, np.concatenate([segment.clips for segment in small]))
            segments = [segment for segment in segments if segment not in small] + [_Segment(merged, NOTHING)]
    return segments


def _tier(rows: int, full: int) -> int:
    """Returns the tier of a shard: the logarithm of its rows; from half a full shard on it is large enough to stay."""
    return _LARGE_TIER if 2 * rows >= full else int(np.log(rows) / np.log(MERGED_SHARDS) + 1e-9)


def _pieces(clips: NDArray[np.int64], full: int) -> list[NDArray[np.int64]]:
    """Returns the clips of each of the units that clips are dealt into, so many at most."""
    return [clips[first : first + full] for first in range(0, len(clips), full)]
