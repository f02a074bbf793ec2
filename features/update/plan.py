"""Which shards a set shall have: those that stay, and units of those that are to be built.

A shard stays while no row of it changes. One that loses or changes a row is built anew from its other rows. Clips that
are new to a partition, and the rows of small shards that have piled up, are dealt out in the order of their keys'
hashes. All is columnar: a plan of a million clips is a few arrays.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
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
from features.update.changes import NOTHING, Changes
from features.update.work_list import members, with_few_values

# So many shards of one tier are merged into one, of a higher tier: a tier ends at so many times the rows it begins at.
MERGED_SHARDS = 8
_NAME_DIGITS = 24
_NAMED = ["path", "start", "duration", "size", "mtime_ns", "label", "group", "partition", "content_hash", "version"]
_TAKEN_CLIPS = 131_072
_LARGE_TIER = 99
_AS_IT_IS = bytes({*range(0x20, 0x7F)} - {*b'"\\'})  # bytes of strings that JSON in ASCII writes as they are


@dataclass(frozen=True)
class Plan:
    """The shards of the next state.

    Attributes:
        partitions: names of the shards of each partition in the manifest's order: those that stay, and units.
        staying: shards of the committed state that stay, by name.
        rows: for each shard that stays, the numbers of its clips in the order of its rows.
        units: for each unit, the numbers of its clips in the order of their keys.
        members: the clips of all units, unit after unit, as `with_few_values` gives them. They are taken for the names
            of the units, and kept for the work list: a take of clips in this order costs more than all else of it.
    """

    partitions: dict[str, list[str]]
    staying: dict[str, Shard]
    rows: dict[str, NDArray[np.int64]]
    units: dict[str, NDArray[np.int64]]
    members: pa.Table

    def members_of(self, units: Sequence[str]) -> pa.Table:
        """Returns the clips of some of the units, unit after unit; they are named in the plan's order."""
        if len(units) == len(self.units):
            return self.members
        wanted = set(units)
        lengths = [len(clips) for clips in self.units.values()]
        return self.members.filter(pa.array(np.repeat([name in wanted for name in self.units], lengths)))


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
    clips = changes.clips
    names = clips["partition"].dictionary_encode().combine_chunks()
    present = partition_order(names.dictionary.to_pylist())
    places = np.array([present.index(name) for name in names.dictionary.to_pylist()], np.int64)
    places = places[names.indices.to_numpy()]
    listed = [shard for name in shards for shard in shards[name]]
    homes = _homes(changes, shards, listed, places, present)
    held = np.bincount(homes[changes.kept & (homes != NOTHING)], minlength=len(listed))
    whole = [held[number] == shard.rows for number, shard in enumerate(listed)]
    stays = changes.kept & (np.array([*whole, False])[homes])
    segments: dict[int, list[_Segment]] = {place: [] for place in range(len(present))}
    for clips_of in _by_number(np.flatnonzero(stays), homes, _rows_of(changes)):
        segments[int(places[clips_of[0]])].append(_Segment(clips_of, int(homes[clips_of[0]]), stays=True))
    rest = key_order(clips, np.flatnonzero(~stays & ~changes.refused))
    for place in segments:
        for clips_of in _by_number(rest[places[rest] == place], homes):
            segments[place].append(_Segment(clips_of, int(homes[clips_of[0]])))
    partitions: dict[str, list[str]] = {name: [] for name in present}
    staying: dict[str, Shard] = {}
    rows: dict[str, NDArray[np.int64]] = {}
    units: dict[str, NDArray[np.int64]] = {}
    # A work list has one list of the values of a column of few.
    named = with_few_values(clips.select(_NAMED))
    members = [named.slice(0, 0)]
    full = rows_per_shard(spec)
    salt = f"{spec.fingerprint}\n{storage_format}\n{state}\n{root}\n"
    if policies != DEFAULTS:
        salt += json.dumps(dict(policies), sort_keys=True)
    for place, name in enumerate(present):
        for segment in _merged(changes, segments[place], full):
            if segment.stays:
                shard = listed[segment.shard]
                partitions[name].append(shard.name)
                staying[shard.name], rows[shard.name] = shard, segment.clips
                continue
            for taken, dealt in _dealt(named, segment.clips, full, salt):
                members.append(taken)
                digests = {f"{name}-{digest}": numbers for digest, numbers in dealt}
                partitions[name].extend(digests)
                units |= digests
    return Plan(partitions, staying, rows, units, pa.concat_tables(members))


def unit_members(
    changes: Changes,
    clips: NDArray[np.int64],
    table: pa.Table,
    spare: pa.Table,
    spare_of: NDArray[np.int64],
    copies: bool = True,
) -> pa.Table:
    """Returns members of units as a work list takes them: the clips, and the rows that are copied.

    Args:
        changes: what the committed state knows of the clips.
        clips: numbers of the members.
        table: what they are, of `Plan.members`.
        spare: rows of shards that no state names, see `features.store.known_rows.read_spare`.
        spare_of: for each clip the line of `spare` that may hold its features, `NOTHING` where there is none.
        copies: whether any row is copied.
    """
    if not copies:
        return members(table)
    proven = _cached(changes.cache, changes.known[clips], proven=True)
    if not (spare_of[clips] != NOTHING).any():
        return members(table, proven)
    # A file that the state does not know may be the one that an interrupted run has computed a row of.
    unproven = _cached(spare, spare_of[clips], proven=False)
    known = pa.array(changes.known[clips] != NOTHING)
    columns = [pc.if_else(known, proven[name], unproven[name]) for name in proven.column_names]
    return members(table, pa.table(columns, names=proven.column_names))


def _cached(cache: pa.Table, lines: NDArray[np.int64], proven: bool) -> pa.Table:
    """Returns lines of a cache for a work list, null for `NOTHING`."""
    cached = cache.take(pa.array(lines, mask=lines == NOTHING))
    # The version of an object is the same as when the row was computed: a file's size and time are less than that.
    cached = cached.append_column("proven", pc.or_(cached["version"].is_valid(), proven))
    # A row of format version 1 cannot be copied: where its tensor lies is not known.
    there = pc.and_(cached["offset"].is_valid(), cached["crc32c"].is_valid())
    return cached.set_column(cached.column_names.index("shard"), "shard", pc.if_else(there, cached["shard"], None))


def _homes(
    changes: Changes,
    shards: dict[str, list[Shard]],
    listed: list[Shard],
    places: NDArray[np.int64],
    present: tuple[str, ...],
) -> NDArray[np.int64]:
    """Returns for each clip the number of the shard that has its row and is of its partition, else `NOTHING`."""
    homes = np.full(len(places), NOTHING)
    if not listed:
        return homes
    numbers = pc.index_in(changes.cache["shard"], value_set=pa.array([shard.name for shard in listed]))
    of_row = numbers.fill_null(NOTHING).to_numpy().astype(np.int64)
    homes[changes.kept] = of_row[changes.known[changes.kept]]
    # Of several clips with the content of one row the first stays where the row is.
    moved = np.flatnonzero(~changes.kept & ~changes.refused & ~changes.computed)
    moved = key_order(changes.clips, moved)
    moved = moved[np.unique(changes.known[moved], return_index=True)[1]]
    home = of_row[changes.known[moved]]
    numbers_of = [present.index(name) if name in present else NOTHING for name in shards]
    place_of_shard = np.repeat(numbers_of, [len(held) for held in shards.values()])
    homes[moved] = np.where(place_of_shard[home] == places[moved], home, NOTHING)
    return homes


def _rows_of(changes: Changes) -> NDArray[np.int64]:
    """Returns for each clip the number of its row, any number where it has none."""
    rows = changes.cache["row"].fill_null(NOTHING).to_numpy()
    return rows[changes.known] if len(rows) else changes.known


def _by_number(
    clips: NDArray[np.int64], homes: NDArray[np.int64], rows: NDArray[np.int64] | None = None
) -> list[NDArray[np.int64]]:
    """Returns the clips of each shard, shard after shard, and those without one last; in the order of their rows."""
    numbers = np.where(homes[clips] == NOTHING, np.iinfo(np.int64).max, homes[clips])
    within = np.arange(len(clips)) if rows is None else rows[clips]
    order = np.lexsort((within, numbers))
    _, firsts = np.unique(numbers[order], return_index=True)
    return np.split(clips[order], firsts[1:]) if len(clips) else []


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


def _dealt(
    named: pa.Table, numbers: NDArray[np.int64], full: int, salt: str
) -> Iterator[tuple[pa.Table, list[tuple[str, NDArray[np.int64]]]]]:
    """Yields the clips of many units, which are taken together, and of each a digest of what they are and numbers."""
    most = max(1, _TAKEN_CLIPS // full) * full
    for first in range(0, len(numbers), most):
        together = numbers[first : first + most]
        ends = [*range(full, len(together), full), len(together)]
        taken = named.take(pa.array(together)).combine_chunks()
        columns = [column.combine_chunks() for column in taken.columns]
        written = [_json_lists(column, ends) for column in columns]
        with_version = set(np.searchsorted(ends, np.flatnonzero(columns[-1].is_valid()), "right").tolist())
        dealt = []
        for unit, (begin, end) in enumerate(itertools.pairwise([0, *ends])):
            # Without versions the names are those of before there were any.
            values = [lists[unit] for lists in (written if unit in with_version else written[:-1])]
            digest = hashlib.sha256(f"{salt}[[{'],['.join(values)}]]".encode())
            dealt.append((digest.hexdigest()[:_NAME_DIGITS], together[begin:end]))
        yield taken, dealt


def _json_lists(column: pa.Array, ends: Sequence[int]) -> list[str]:
    """Returns for each unit what `json.dumps` writes of its values, without spaces and brackets."""
    lengths = np.diff([0, *ends]).tolist()
    if column.null_count == len(column):
        return [",".join(["null"] * length) for length in lengths]
    if pa.types.is_dictionary(column.type):
        column = pa.DictionaryArray.from_arrays(column.indices, _json(column.dictionary)).dictionary_decode()
    elif column.null_count or not pa.types.is_string(column.type) or _is_escaped(column):
        column = _json(column)
    else:  # nothing is to be done to a value but to put it between quotation marks
        return [f'"{joined}"' for joined in _joined(column, ends, '","')]
    return _joined(column.fill_null("null"), ends, ",")


def _joined(column: pa.StringArray, ends: Sequence[int], separator: str) -> list[str]:
    lists = pa.ListArray.from_arrays(pa.array([0, *ends], pa.int32()), column)
    joined: list[str] = pc.binary_join(lists, separator).to_pylist()
    return joined


def _is_escaped(values: pa.StringArray) -> bool:
    """Returns whether JSON writes a value otherwise than between quotation marks."""
    first, last = np.frombuffer(values.buffers()[1], np.int32)[values.offset :][[0, len(values)]].tolist()
    return bool(memoryview(values.buffers()[2] or b"")[first:last].tobytes().translate(None, _AS_IT_IS))


def _json(values: pa.Array) -> pa.StringArray:
    """Returns what `json.dumps` writes of each value that is not null."""
    if not pa.types.is_string(values.type):
        return values.cast(pa.string())
    if _is_escaped(values):
        return pa.array((None if value is None else json.dumps(value) for value in values.to_pylist()), pa.string())
    return pc.binary_join_element_wise('"', values, '"', "")
