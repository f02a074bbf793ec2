"""Where the clips table of a large set is cut into files, so that few of them are written anew by the next state."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from features.store.manifest import ClipsPart, Manifest
from features.store.shards import Shard

PART_ROWS = 1_000_000
"""A file ends with the shard that has this row of it."""


@dataclass(frozen=True)
class Cut:
    """Shards whose rows one file of the table shall have.

    Attributes:
        shards: one after the other, as the state has them.
        known: the file of the state before that has the rows of these shards and no others; None where there is none.
    """

    shards: list[Shard]
    known: ClipsPart | None = None

    @property
    def rows(self) -> int:
        """Number of rows of them."""
        return sum(shard.rows for shard in self.shards)


def fits_one(rows: int) -> bool:
    """Returns whether a table of so many rows is one file, whatever its shards."""
    return rows <= PART_ROWS


def cut(shards: Sequence[Shard], base: Manifest | None) -> list[Cut]:
    """Returns the files of a table.

    Where a file of the state before has the same shards, it is kept; what lies between those is cut where files are
    full. Neighbours of which one is new and that fit one file together are one, so that no small ones pile up.

    Args:
        shards: of the state, in its order.
        base: the state before, None where there is none.
    """
    whole = _full(shards)
    if len(whole) < 2 or base is None or base.format_version == 1:  # whose files have no hash of their bytes
        return whole
    places = {shard.name: place for place, shard in enumerate(shards)}
    cuts: list[Cut] = []
    end = 0
    for part, held in zip(base.clips_tables, base.shards_by_table, strict=True):
        first = places.get(held[0].name, -1) if held else -1
        if first >= end and list(shards[first : first + len(held)]) == held:
            cuts += [*_full(shards[end:first]), Cut(held, part)]
            end = first + len(held)
    return _merged([*cuts, *_full(shards[end:])])


def _full(shards: Sequence[Shard]) -> list[Cut]:
    """Returns files of which each but the last is full."""
    numbers: list[int] = []
    number = rows = 0
    for shard in shards:
        numbers.append(number)
        rows += shard.rows
        if rows >= PART_ROWS:
            number, rows = number + 1, 0
    by_number = itertools.groupby(zip(numbers, shards, strict=True), key=lambda pair: pair[0])
    return [Cut([shard for _, shard in group]) for _, group in by_number]


def _merged(cuts: list[Cut]) -> list[Cut]:
    merged: list[Cut] = []
    for one in cuts:
        last = merged[-1] if merged else None
        if last and not (last.known and one.known) and last.rows + one.rows <= PART_ROWS:
            merged[-1] = Cut(last.shards + one.shards)
        else:
            merged.append(one)
    return merged
