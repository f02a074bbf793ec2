"""The lines of the clips table of shards that stay, made when they are asked for."""

from collections.abc import Iterator, Mapping

import pyarrow as pa

from features.io.take import take_rows
from features.store.clips_table import CLIPS_COLUMNS, CLIPS_SCHEMA
from features.store.shards import Shard
from features.update.changes import Changes
from features.update.plan import Plan


class StayingLines(Mapping[str, tuple[Shard, pa.Table]]):
    """The shards of a plan that stay and their lines of the clips table: what the scan found, and what is known."""

    def __init__(self, changes: Changes, plan: Plan) -> None:
        """Takes nothing yet."""
        self._changes, self._plan = changes, plan

    def __getitem__(self, name: str) -> tuple[Shard, pa.Table]:
        """Returns a shard and its lines, of `features.store.clips_table.CLIPS_SCHEMA`."""
        shard, clips = self._plan.staying[name], self._plan.rows[name]
        found = take_rows(self._changes.clips, clips)
        known = [column for column in CLIPS_COLUMNS if column not in found.column_names]
        lines = self._changes.lines.take(self._changes.known[clips], known)
        columns = [found[column] if column in found.column_names else lines[column] for column in CLIPS_COLUMNS]
        return shard, pa.table(columns, names=CLIPS_COLUMNS).cast(CLIPS_SCHEMA)

    def __contains__(self, name: object) -> bool:
        """Returns whether a shard stays."""
        return name in self._plan.staying

    def __iter__(self) -> Iterator[str]:
        """Yields the names of the shards."""
        return iter(self._plan.staying)

    def __len__(self) -> int:
        """Returns the number of shards."""
        return len(self._plan.staying)
