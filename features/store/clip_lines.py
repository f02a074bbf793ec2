"""Lines of the clips table on their way from where they are known to where they are written, a few shards at a time."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from features.errors import RunError
from features.store.clips_table import BATCH_ROWS, CLIPS_COLUMNS, CLIPS_SCHEMA
from features.store.shards import Shard

_ASKED_ROWS = 65_536


@dataclass(frozen=True)
class Staying:
    """The shards of the committed state that stay.

    Attributes:
        shards: by name.
        lines: returns the lines of the clips table of some of them, shard after shard, row after row, with the columns
            of `CLIPS_SCHEMA`. It is called with shards that follow each other in the next state, and at most twice for
            each.
    """

    shards: Mapping[str, Shard]
    lines: Callable[[Sequence[str]], pa.Table]


def expected(shards: list[Shard], stream: Iterator[tuple[Shard, pa.Table]]) -> Iterator[tuple[Shard, pa.Table]]:
    """Yields some shards and their lines; raises `RunError` where a report has changed since it was asked for its."""
    for shard in shards:
        one = next(stream, None)
        if one is None or one[0] != shard:
            raise built_anew(shard)
        yield one


def built_anew(shard: Shard) -> RunError:
    """Returns the error of a shard that is not the one any more that was counted on."""
    return RunError(f"another featurize has built the shard {shard.name} anew; run featurize again")


def batches_of(stream: Iterator[tuple[Shard, pa.Table]]) -> Iterator[tuple[pa.Table, list[int]]]:
    """Yields the lines of shards, many together, and how many are of each."""
    held: list[pa.Table] = []
    for _, lines in stream:
        held.append(lines)
        if sum(map(len, held)) >= BATCH_ROWS:
            yield pa.concat_tables(held).combine_chunks(), list(map(len, held))
            held = []
    if held:
        yield pa.concat_tables(held).combine_chunks(), list(map(len, held))


def together(table: pa.Table) -> pa.Table:
    """Returns a table whose columns are one chunk each; what it was is freed column by column."""
    schema, columns = table.schema, table.columns
    del table
    for number, column in enumerate(columns):
        columns[number] = column.combine_chunks()
    return pa.table(columns, schema=schema)


def in_turn(staying: Staying, names: Sequence[str]) -> Iterator[tuple[Shard, pa.Table]]:
    """Yields those of some shards that stay and their lines, for which many are asked at a time."""
    for stays, run in itertools.groupby(names, key=lambda name: name in staying.shards):
        if not stays:
            continue
        asked: list[str] = []
        rows = 0
        for name, following in itertools.pairwise([*run, None]):
            asked.append(str(name))
            rows += staying.shards[str(name)].rows
            if rows < _ASKED_ROWS and following is not None:
                continue
            lines, first = staying.lines(asked).select(CLIPS_COLUMNS).cast(CLIPS_SCHEMA), 0
            for shard in (staying.shards[one] for one in asked):
                yield shard, lines.slice(first, shard.rows)
                first += shard.rows
            asked, rows = [], 0


def are_equal(known: Iterator[pa.Table], batches: Iterator[tuple[pa.Table, list[int]]]) -> bool:
    """Compares rows and not bytes, which depend on the version of pyarrow."""
    one = CLIPS_SCHEMA.empty_table()
    for lines, _ in batches:
        while len(lines):
            if not len(one):
                one = next(known, one)
            rows = min(len(one), len(lines))
            if not rows or not one.slice(0, rows).equals(lines.slice(0, rows)):
                return False
            one, lines = one.slice(rows), lines.slice(rows)
    return not len(one) and next(known, None) is None


def lines_of_shard(rows: pa.Table, shard: str) -> pa.Table:
    """Returns the rows of a report that a shard has as lines of the clips table."""
    return rows.append_column("shard", pa.repeat(pa.scalar(shard), len(rows))).select(CLIPS_COLUMNS)
