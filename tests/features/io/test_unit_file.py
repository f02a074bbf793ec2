import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.errors import RunError
from features.io import unit_file
from features.io.ranges import RangeReader
from features.io.unit_file import UnitFile, write_units

SCHEMA = pa.schema({"path": pa.string(), "number": pa.int64()})
ROWS = 40_000


def rows_of(first: int, last: int) -> pa.Table:
    numbers = np.arange(first, last)
    paths = [None if number % 7 == 3 else f"jä {number}.wav" for number in numbers]
    return pa.table({"path": paths, "number": numbers}, schema=SCHEMA)


def lengths(kind: str) -> list[int]:
    """Lengths of units that are one row each, that do not fit a batch, or that differ, empty ones among them."""
    if kind == "one":
        return [1] * 20_000
    if kind == "large":
        return [20_000, 8_192, 8_191, 1, 3_616]
    return np.random.default_rng(7).integers(0, 1_024, 70).tolist()


def batch_rows(path: Path) -> list[int]:
    """Number of rows of each record batch of a file."""
    with pa.OSFile(str(path)) as file:
        reader = pa.ipc.open_file(file)
        return [len(reader.get_batch(place).column("rows").values) for place in range(reader.num_record_batches)]


@pytest.mark.parametrize("kind", ["one", "large", "mixed"])
def test_a_unit_has_its_rows_whatever_their_number(tmp_path, kind):
    ends = np.cumsum(lengths(kind))
    asked = []

    def rows(first: int, last: int) -> pa.Table:
        asked.append((first, last))
        return rows_of(first, last)

    write_units(tmp_path / "units", SCHEMA, ends, rows, [f"unit {number}" for number in range(len(ends))])
    assert [first for first, _ in asked] == [0, *(last for _, last in asked[:-1])]
    assert asked[-1][1] == ends[-1]
    most = 16 * (8_192 + max(lengths(kind)))
    assert all(last - first < most for first, last in asked), "what is in memory at once has a limit"
    rows_of_batches = batch_rows(tmp_path / "units")
    assert all(8_192 <= rows < 8_192 + max(lengths(kind)) for rows in rows_of_batches[:-1])
    with UnitFile(tmp_path / "units") as units:
        for number in (0, 1, len(ends) // 2, len(ends) - 2, len(ends) - 1):
            first = int(ends[number - 1]) if number else 0
            assert units.read(number) == (f"unit {number}", rows_of(first, int(ends[number])))
        for number in (-1, len(ends)):
            with pytest.raises(IndexError, match=f"has {len(ends):,} units"):
                units.read(number)


def test_units_need_no_names_and_there_may_be_none(tmp_path):
    write_units(tmp_path / "units", SCHEMA, np.array([2, 2, 3]), rows_of)
    with UnitFile(tmp_path / "units") as units:
        assert [units.read(number) for number in range(3)] == [
            (None, rows_of(*part)) for part in [(0, 2), (2, 2), (2, 3)]
        ]
    write_units(tmp_path / "none", SCHEMA, np.empty(0, np.int64), rows_of)
    with UnitFile(tmp_path / "none") as units, pytest.raises(IndexError, match="has 0 units"):
        units.read(0)


class _Counted(RangeReader):
    """A file that is read by ranges, as an object of a store is, and remembers how long they were."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.ranges: list[int] = []

    def read(self, size: int = -1) -> bytes:
        content = super().read(size)
        self.ranges.append(len(content))
        return content


def test_opening_and_reading_a_unit_takes_a_few_small_ranges(tmp_path, monkeypatch):
    path = tmp_path / "units"
    write_units(path, SCHEMA, np.arange(100, 300_100, 100), rows_of)
    counted = _Counted(path)
    monkeypatch.setattr(unit_file, "arrow_file", lambda _: pa.PythonFile(counted, mode="r"))
    units = UnitFile(path)
    opened = len(counted.ranges)
    assert sum(counted.ranges) < path.stat().st_size / 50
    assert units.read(1_500)[1] == rows_of(150_000, 150_100)
    assert sum(counted.ranges) < path.stat().st_size / 15
    assert opened <= 3, "the end, the footer and the schema"
    assert len(counted.ranges) - opened <= 2
    before = len(counted.ranges)
    assert units.read(1_501)[1] == rows_of(150_100, 150_200)
    assert len(counted.ranges) == before, "its neighbour is in memory"


def test_rows_are_taken_many_batches_at_a_time_and_never_all(tmp_path):
    asked = []

    def rows(first: int, last: int) -> pa.Table:
        asked.append((first, last))
        numbers = np.arange(first, last)
        return pa.table({"path": pa.nulls(last - first, pa.string()), "number": numbers}, schema=SCHEMA)

    write_units(tmp_path / "units", SCHEMA, np.arange(10, 500_001, 10), rows)
    of_batches = batch_rows(tmp_path / "units")
    assert of_batches == [8_200] * 60 + [8_000], "whole units"
    assert asked == [(first, min(first + 4 * 8_200, 500_000)) for first in range(0, 500_000, 4 * 8_200)]
    with UnitFile(tmp_path / "units") as units:
        for number in (0, 819, 820, 13_119, 13_120, 49_999):
            assert units.read(number)[1]["number"].to_pylist() == list(range(10 * number, 10 * number + 10))


def test_threads_read_what_is_theirs(tmp_path):
    write_units(tmp_path / "units", SCHEMA, np.arange(1_000, ROWS + 1, 1_000), rows_of)
    together = threading.Barrier(4)
    with UnitFile(tmp_path / "units") as units:

        def read(first: int) -> list[pa.Table]:
            together.wait(60)
            return [units.read(number)[1] for number in range(first, 40, 4)]

        with ThreadPoolExecutor(4) as pool:
            for first, tables in enumerate(pool.map(read, range(4))):
                wanted = [rows_of(1_000 * number, 1_000 * number + 1_000) for number in range(first, 40, 4)]
                assert tables == wanted


def test_a_file_that_was_cut_off_or_is_another_is_said_to_be(tmp_path):
    path = tmp_path / "units"
    write_units(path, SCHEMA, np.array([10]), rows_of)
    content = path.read_bytes()
    with pa.OSFile(str(tmp_path / "other"), "wb") as file, pa.ipc.new_file(file, SCHEMA):
        pass
    for wrong in (content[:-1], content[: len(content) // 2], b"", (tmp_path / "other").read_bytes()):
        path.write_bytes(wrong)
        with pytest.raises(RunError, match="is no file of units, or damaged"):
            UnitFile(path)
    with pytest.raises(FileNotFoundError):
        UnitFile(tmp_path / "none")
