"""What a state shall hold, put together of what stays and of the reports of units, one after the other.

Memory follows what a file of the clips table takes, and not the set.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import Reject, RunError
from features.frontend.spec import FeatureSpec
from features.io.parallel import start
from features.sources.rejects import VERSION_COLUMN, in_order
from features.store.clip_lines import (
    Staying,
    are_equal,
    batches_of,
    built_anew,
    expected,
    in_turn,
    lines_of_shard,
    together,
)
from features.store.clips_table import BATCH_ROWS, CLIPS_SCHEMA, part_batches
from features.store.layout import Layout
from features.store.manifest import ClipsPart, Manifest
from features.store.part_writer import PartWriter
from features.store.rejects_table import REJECT_COLUMNS
from features.store.shards import Shard, read_shard, rows_per_shard
from features.store.statistics import Statistics
from features.store.table_parts import Cut, cut, fits_one
from features.store.tally import Tally
from features.store.unit_report import Report, read_report, read_statistics, reported_shard

# What is raised where a report is not there, or is none.
NO_REPORT = (OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class Contents:
    """What a state shall hold.

    Attributes:
        shards: by partition, in the manifest's order.
        statistics: sums by partition.
        counted: what the manifest says of the lines of the clips table, once they are counted.
        table: the clips table, shard after shard, row after row; None where it is several files.
        parts: those files, which are written; None where it is one.
        rejects: files that could not be used.
        versions: versions of the reports that all this was read of, by the names of their units.
    """

    shards: dict[str, list[Shard]]
    statistics: dict[str, Statistics]
    counted: Future[Tally]
    table: pa.Table | None
    parts: list[ClipsPart] | None
    rejects: list[Reject]
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def tally(self) -> Tally:
        """What the manifest says of the lines of the clips table; waits until they are counted."""
        return self.counted.result()

    @property
    def has_rows(self) -> bool:
        """Whether any clip was usable."""
        return any(self.shards.values())


def gather(
    layout: Layout,
    partitions: Mapping[str, Sequence[str]],
    staying: Staying,
    rejects: Sequence[Reject],
    spec: FeatureSpec,
    base: Manifest | None = None,
    read: Callable[[str], Report] | None = None,
) -> Contents:
    """Puts together what a state shall hold; writes the files of a clips table that is several.

    Where a run is killed, or another one commits before it, they are files that no state names.

    Args:
        layout: of the feature set.
        partitions: names of the shards of each partition: those that stay, and finished units.
        staying: shards that stay.
        rejects: files that were refused before there were units.
        spec: the front end.
        base: the committed state, whose sums are taken where the shards are its own.
        read: returns the report of a unit by its name, None to read it; raises what `read_report` does.
    """
    read = read or functools.partial(read_report, layout)
    return _Gathering(layout, partitions, staying, spec, base, read).contents(rejects)


class _Gathering:
    def __init__(
        self,
        layout: Layout,
        partitions: Mapping[str, Sequence[str]],
        staying: Staying,
        spec: FeatureSpec,
        base: Manifest | None,
        read: Callable[[str], Report],
    ) -> None:
        self._layout, self._partitions, self._staying, self._spec, self._base = layout, partitions, staying, spec, base
        self._read = read
        self._shards: dict[str, list[Shard]] = {name: [] for name in partitions}
        self._sums: dict[str, list[Statistics]] = {name: [] for name in partitions}
        self._refused: list[Reject] = []
        self._versions: dict[str, str] = {}
        self._tally = Tally()

    def contents(self, rejects: Sequence[Reject]) -> Contents:
        cuts, stream = self._cuts(), self._lines()
        table: pa.Table | None = None
        parts: list[ClipsPart] | None = None
        counted: Future[Tally]
        if cuts is None:
            table = together(pa.concat_tables([CLIPS_SCHEMA.empty_table(), *(lines for _, lines in stream)]))
            counted = start(self._count, table)  # while whoever asked for the table writes it
        else:
            parts = [self._part(one, expected(one.shards, stream)) for one in cuts]
            for shard, _ in stream:  # there are none left but units that have none
                raise built_anew(shard)
            counted = Future()
            counted.set_result(self._tally)
        statistics = {name: Statistics.merge(sums) for name, sums in self._sums.items()}
        if self._base is not None and self._is_summed:
            statistics = {name: self._base.statistics[name] for name in self._partitions}
        refused = in_order([*rejects, *self._refused])
        return Contents(self._shards, statistics, counted, table, parts, refused, self._versions)

    def _count(self, table: pa.Table) -> Tally:
        for first in range(0, len(table), BATCH_ROWS):
            self._tally.add(table.slice(first, BATCH_ROWS))
        self._tally.add_seconds(table["seconds"], [len(table)])
        return self._tally

    @functools.cached_property
    def _is_summed(self) -> bool:
        """Whether the sums of the committed state are those of this one."""
        return self._base is not None and {name: list(held) for name, held in self._partitions.items()} == {
            name: [shard.name for shard in held] for name, held in self._base.partitions.items()
        }

    @property
    def _units(self) -> list[str]:
        return [name for names in self._partitions.values() for name in names if name not in self._staying.shards]

    def _cuts(self) -> list[Cut] | None:
        """Returns the files of a clips table that is several, None of one that is one file."""
        units, there = self._units, self._staying.shards
        rows = sum(shard.rows for shard in there.values())
        if fits_one(rows + len(units) * rows_per_shard(self._spec)):
            return None
        built = dict(zip(units, self._layout.map(lambda name: _shard(self._layout, name), units), strict=True))
        shards = (there.get(name) or built[name] for names in self._partitions.values() for name in names)
        cuts = cut([shard for shard in shards if shard is not None], self._base)
        if len(cuts) < 2:
            return None
        return [one if all(shard.name in there for shard in one.shards) else Cut(one.shards) for one in cuts]

    def _lines(self) -> Iterator[tuple[Shard, pa.Table]]:
        """Yields the shards of the state and their lines, and keeps what else there is to know of each."""
        there = self._staying.shards
        named = [(partition, name) for partition, names in self._partitions.items() for name in names]
        reports = self._layout.map(self._report, self._units)
        known = self._layout.map(lambda name: _statistics(self._layout, there[name], self._spec),
                                 (name for _, name in named if name in there and not self._is_summed))  # fmt: skip
        stays = in_turn(self._staying, [name for _, name in named])
        for partition, name in named:
            if name in there:
                shard, lines = next(stays)
                if not self._is_summed:
                    self._sums[partition].append(next(known))
            else:
                report = next(reports)
                if report.version:  # a store may give none
                    self._versions[name] = report.version
                self._sums[partition].append(report.statistics)
                used, refused = _divided(report.rows)
                self._refused += refused
                if report.shard is None:
                    continue
                shard, lines = report.shard, lines_of_shard(used, name)
            self._shards[partition].append(shard)
            yield shard, lines

    def _report(self, name: str) -> Report:
        with _telling(self._layout, name):
            return self._read(name)

    def _part(self, one: Cut, stream: Iterator[tuple[Shard, pa.Table]]) -> ClipsPart:
        """Returns a file that has the lines of some shards: that of the state before, or a new one."""
        batches = self._counted(stream)
        if one.known is not None and self._base is not None:
            if are_equal(_lines_of(self._layout, self._base, one.known), batches):
                return one.known
            for _ in batches:
                pass
            batches = batches_of(in_turn(self._staying, [shard.name for shard in one.shards]))
        with PartWriter(self._layout, 1 if self._base is None else self._base.state + 1) as writer:
            for lines, _ in batches:
                writer.add(lines)
            return writer.finish()

    def _counted(self, stream: Iterator[tuple[Shard, pa.Table]]) -> Iterator[tuple[pa.Table, list[int]]]:
        for lines, rows in batches_of(stream):
            self._tally.add(lines)
            self._tally.add_seconds(lines["seconds"], rows)
            yield lines, rows


def _lines_of(layout: Layout, base: Manifest, part: ClipsPart) -> Iterator[pa.Table]:
    """Yields the lines of a file of the state before, none where it is gone or damaged: it is written anew."""
    with contextlib.suppress(RunError):
        yield from part_batches(layout, base, part)


def _divided(rows: pa.Table) -> tuple[pa.Table, list[Reject]]:
    """Returns the rows of a report that a shard has, and the rejects."""
    if not rows["row"].null_count:
        return rows, []
    has_row = rows["row"].is_valid()
    refused = rows.filter(pc.invert(has_row)).select([*REJECT_COLUMNS, VERSION_COLUMN])
    return rows.filter(has_row), [Reject(**row) for row in refused.to_pylist()]


def _statistics(layout: Layout, shard: Shard, spec: FeatureSpec) -> Statistics:
    try:
        return read_statistics(layout, shard.name)
    except NO_REPORT:  # the report is gone: its sums follow from the shard
        return Statistics.of(read_shard(layout, shard, spec).features)


def _shard(layout: Layout, name: str) -> Shard | None:
    with _telling(layout, name):
        return reported_shard(layout, name)


@contextlib.contextmanager
def _telling(layout: Layout, name: str) -> Iterator[None]:
    try:
        yield
    except (*NO_REPORT, pa.ArrowException) as error:
        path, why = layout.report(name), str(error).splitlines()[0]
        raise RunError(f"cannot read the report {path}: {why}; remove it and run featurize again") from error
