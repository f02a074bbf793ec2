import itertools

import numpy as np
import pyarrow as pa
import pytest

from features.io.take import take_rows

ROWS = 60


def table_of(bounds: list[int]) -> pa.Table:
    """Strings, few strings and numbers, null here and there, in chunks between these bounds."""
    texts = [None if row % 7 == 3 else f"jä {row}" for row in range(ROWS)]
    whole = pa.table(
        {
            "text": pa.array(texts, pa.string()),
            "few": pa.array(["a", "b", None] * (ROWS // 3)).dictionary_encode(),
            "number": pa.array([None if row % 5 == 1 else row for row in range(ROWS)], pa.int64()),
        }
    )
    ends = [0, *bounds, ROWS]
    return pa.concat_tables([whole.slice(first, last - first) for first, last in itertools.pairwise(ends)])


ORDERS = {
    "none": [],
    "first": [0],
    "last": [ROWS - 1],
    "all": list(range(ROWS)),
    "across a bound": list(range(19, 22)),
    "backwards": list(range(ROWS - 1, -1, -1)),
    "ends of a run and others between": [3, 9, 8, 6],
    "again and again": [5, 5, 40, 5, 59, 40],
    "ascending with gaps": list(range(0, ROWS, 3)),
    "any": np.random.default_rng(1).integers(0, ROWS, 200).tolist(),
}


@pytest.mark.parametrize("rows", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("bounds", [[], [20], [1, 20, 20, 59]], ids=str)
def test_rows_are_those_of_a_list(bounds, rows):
    table = table_of(bounds)
    taken = take_rows(table, np.array(rows, np.int64))
    listed = table.to_pylist()
    assert taken.to_pylist() == [listed[row] for row in rows]
    assert all(column.num_chunks <= 1 for column in taken.columns)
