"""The clips that were found, as rows of a table and as lines of text."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.runtime.visible import name_column
from features.sources.paths import csv_path
from model.neighbours.query import rate_hz_of

SCHEMA = pa.schema({
    "rank": pa.int64(),
    "path": pa.string(),
    "start_seconds": pa.float64(),
    "end_seconds": pa.float64(),
    "label": pa.string(),
    "partition": pa.string(),
    "similarity": pa.float64(),
})  # fmt: skip
"""Columns of the table; a clip has no times where its file cannot be read and it does not begin with it."""


def table_of(hits: pa.Table, similarity: NDArray[np.float64], root: str) -> pa.Table:
    """Returns a row of `SCHEMA` for each clip that was found.

    Args:
        hits: rows of the clips table, the most alike first: path, start, seconds, label and partition.
        similarity: of each.
        root: that paths are relative to.
    """
    rates: dict[str, int | None] = {}
    begin: list[float | None] = []
    for path, start in zip(hits["path"].to_pylist(), hits["start"].to_pylist(), strict=True):
        if start and path not in rates:
            rates[path] = rate_hz_of(root, path)
        rate_hz = rates[path] if start else 1
        begin.append(start / rate_hz if rate_hz else None)
    columns = {
        "rank": np.arange(1, len(hits) + 1),
        "path": hits["path"],
        "start_seconds": pa.array(begin, pa.float64()),
        "end_seconds": pc.add(pa.array(begin, pa.float64()), hits["seconds"].combine_chunks()),
        "label": hits["label"],
        "partition": hits["partition"],
        "similarity": similarity,
    }
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def lines_of(table: pa.Table) -> list[str]:
    """Returns rows of `SCHEMA` as lines for a terminal, the path last."""
    rows = table.to_pylist()
    labels = name_column(["label", *(row["label"] for row in rows)])
    partitions = name_column(["partition", *(row["partition"] for row in rows)])
    texts = [f"{row['rank']:>4}  {row['similarity']:10.6f}" for row in rows]
    paths = [csv_path(row["path"]) + _place(row) for row in rows]
    lines = zip(["rank  similarity", *texts], labels, partitions, ["path", *paths], strict=True)
    return ["  ".join(line) for line in lines]


def _place(row: dict[str, Any]) -> str:
    if row["start_seconds"] is None:
        return " (its file is gone, so where in it the clip begins is not known)"
    return f" from {row['start_seconds']:.6g} s" if row["start_seconds"] else ""
