"""A table that goes on from an earlier one has the bytes of one from nothing, whatever was added, changed, removed."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import RunError
from features.io.atomic import writer_name
from model.labels import table_output
from model.labels.earlier_table import Merge, Written, written_at
from model.labels.table_output import TABLE_FORMS, TableOutput

SCHEMA = pa.schema({"path": pa.string(), "value": pa.float64(), "label": pa.string()})
STATES = 4


def rows_of(number: int, state: int) -> pa.Table:
    """The rows of a recording in a state, some of none and some of many."""
    count = (number * 7 + state * 3) % 5
    label = ["é", "a,b", "plain", "\n", ""][number % 5]
    values = [number + state / 8 + row for row in range(count)]
    return pa.table([[f"{number:03d}é.wav"] * count, values, [label] * count], schema=SCHEMA)


def write(path, states: dict[int, int], new: set[int], merge=None) -> tuple[Written, np.ndarray]:
    with TableOutput(path, SCHEMA, merge) as output:
        for number in sorted(new):
            output.append(rows_of(number, states[number]))
        written = output.complete()
        extents = output.extents(names(states))
        output.finish()
    return written, extents


def names(numbers) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array([f"{number:03d}é.wav" for number in sorted(numbers)], pa.string())])


@pytest.mark.parametrize("form", TABLE_FORMS)
def test_a_table_that_grows_in_steps_has_the_bytes_of_one_from_nothing(tmp_path, monkeypatch, form):
    monkeypatch.setattr(table_output, "_ROW_GROUP_ROWS", 7)
    random = np.random.default_rng(len(form))
    before: dict[int, int] = {}
    extents = np.empty(0, np.int64)
    for step in range(12):
        now = {number: state for number, state in before.items() if random.random() > 0.2}
        now |= {int(number): int(random.integers(STATES)) for number in random.integers(0, 40, 6 if step % 4 else 0)}
        if step == 9:
            now = {}
        kept = {number for number, state in now.items() if before.get(number) == state}
        path = tmp_path / f"grown{form}"
        merge = None
        if step:
            flags = np.array([number in kept for number in sorted(now)], np.bool_)
            merge = Merge(path, names(before), extents, names(now), flags)
        written, found = write(path, now, now.keys() - kept, merge)
        fresh, expected = write(tmp_path / f"fresh{form}", now, set(now))
        assert path.read_bytes() == (tmp_path / f"fresh{form}").read_bytes()
        assert written == fresh == written_at(path)
        if merge:
            numbers = np.searchsorted(np.array(sorted(before), np.int64), np.array(sorted(kept), np.int64))
            found[merge.kept] = extents[numbers]
        np.testing.assert_array_equal(found, expected)
        before, extents = now, found
        assert sorted(file.name for file in tmp_path.iterdir()) == sorted([f"grown{form}", f"fresh{form}"])
    if form == ".parquet":
        assert pq.ParquetFile(path).metadata.row_group(0).num_rows == 7


@pytest.mark.parametrize("form", TABLE_FORMS)
def test_an_earlier_table_stays_as_it_is_until_the_new_one_is_whole(tmp_path, form):
    path = tmp_path / f"x{form}"
    _, extents = write(path, {1: 0, 3: 0}, {1, 3})
    before = path.read_bytes()
    merge = Merge(path, names({1, 3}), extents, names({1, 2}), np.array([True, False]))
    with TableOutput(path, SCHEMA, merge) as output:
        output.append(rows_of(2, 0))
        output.complete()
    assert path.read_bytes() == before
    (tmp_path / f"{path.name}.{writer_name()}.partial").symlink_to("/dev/full")
    with pytest.raises(RunError, match=f"^no space is left on the device for {path}; make room"):
        write(path, {1: 0, 2: 0}, {2}, merge)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
