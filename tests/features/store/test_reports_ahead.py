"""Reports that are read while other units are built are those that would be read at the end."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.store import reports_ahead
from features.store.layout import Layout
from features.store.reports_ahead import ReportsAhead
from features.store.statistics import Statistics
from features.store.unit_report import ROW_SCHEMA, Report, read_report, write_report
from tests.conftest import wait_until
from tests.features.examples import TINY

UNITS = [f"training-{number}" for number in range(20)]


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setattr(reports_ahead, "_LOOK_SECONDS", 0.01)
    layout = Layout(tmp_path, "tfrecord")
    layout.make_folders()
    return layout


def _write(layout: Layout, name: str, message: str = "") -> None:
    row = dict.fromkeys(ROW_SCHEMA.names) | {"path": name, "reason": "empty", "message": message}
    sums = Statistics.of(np.zeros((1, *TINY.shape), np.float32))
    write_report(layout, name, TINY, None, sums, pa.Table.from_pylist([row], ROW_SCHEMA))


def _equal(one: Report, other: Report) -> bool:
    return one.rows.equals(other.rows) and one.version == other.version and one.name == other.name


def _until(held: int, ahead: ReportsAhead) -> None:
    wait_until(lambda: len(ahead._held) >= held)
    assert len(ahead._held) == held


def test_reports_are_read_in_whatever_order_units_are_finished(layout: Layout) -> None:
    ahead = ReportsAhead(layout)
    with ahead.reading(UNITS):
        for name in [*UNITS[1:8], *UNITS[9:]]:
            _write(layout, name)
        _until(18, ahead)
        _write(layout, UNITS[0])
        _until(19, ahead)
    _write(layout, UNITS[8])  # after the last look
    assert all(_equal(ahead.take(name), read_report(layout, name)) for name in UNITS)


def test_a_report_that_was_written_anew_is_read_anew(layout: Layout) -> None:
    ahead = ReportsAhead(layout)
    for name in UNITS[:2]:
        _write(layout, name, "one")
    with ahead.reading(UNITS[:2]):
        _until(2, ahead)
    _write(layout, UNITS[0], "another")
    assert [ahead.take(name).rows["message"][0].as_py() for name in UNITS[:2]] == ["another", "one"]
    os.unlink(layout.report(UNITS[1]))
    with pytest.raises(FileNotFoundError):
        ahead.take(UNITS[1])


def test_what_cannot_be_read_is_left_to_who_asks_for_it(layout: Layout) -> None:
    ahead = ReportsAhead(layout)
    Path(str(layout.report(UNITS[0]))).write_bytes(b"no report")
    with ahead.reading(UNITS):
        _write(layout, UNITS[1])
        _until(1, ahead)
    with pytest.raises(ValueError, match="Parquet"):
        ahead.take(UNITS[0])
