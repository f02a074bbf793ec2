"""Takes rows of Arrow tables whose strings are not put together for it."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def take_rows(table: pa.Table, rows: NDArray[np.integer]) -> pa.Table:
    """Returns rows of a table in any order, in one chunk a column.

    pyarrow's own `take` copies all chunks of a column of strings into one before it takes a single row of it; here each
    chunk is taken from as it lies, in memory or in a mapped file. Rows that follow each other are not copied.
    """
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (rows[1:] > rows[:-1]).all():
        return table.slice(int(rows[0]), len(rows)).combine_chunks()
    batches = table.to_batches()
    if len(batches) <= 1:
        return table.take(pa.array(rows)).combine_chunks()
    ends = np.cumsum([len(batch) for batch in batches])
    held_by = np.searchsorted(ends, rows, "right")
    order = np.argsort(held_by, kind="stable")
    ordered, bounds = rows[order], np.searchsorted(held_by[order], np.arange(len(batches) + 1))
    parts = []
    for batch, end, first, last in zip(batches, ends, bounds, bounds[1:], strict=False):
        if first < last:
            parts.append(batch.take(pa.array(ordered[first:last] - (end - len(batch)))))
    taken = pa.Table.from_batches(parts, table.schema).combine_chunks()
    if (order[1:] > order[:-1]).all():
        return taken
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return taken.take(pa.array(places))
