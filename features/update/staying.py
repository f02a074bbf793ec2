"""The lines of the clips table of shards that stay, made when they are asked for."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from features.io.take import take_rows
from features.store.clip_lines import Staying
from features.store.clips_table import CLIPS_COLUMNS, CLIPS_SCHEMA
from features.update.changes import Changes
from features.update.plan import Plan


def staying(changes: Changes, plan: Plan) -> Staying:
    """Returns the shards of a plan that stay; their lines are what the scan found, and what is known."""

    def lines(names: Sequence[str]) -> pa.Table:
        clips = np.concatenate([plan.rows[name] for name in names])
        found = take_rows(changes.clips, clips)
        kept = [column for column in CLIPS_COLUMNS if column not in found.column_names]
        known = changes.lines.take(changes.known[clips], kept)
        columns = [found[column] if column in found.column_names else known[column] for column in CLIPS_COLUMNS]
        return pa.table(columns, names=CLIPS_COLUMNS).cast(CLIPS_SCHEMA)

    return Staying(plan.staying, lines)
