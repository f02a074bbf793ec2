from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from features.errors import RunError
from features.sources.start_times import StartTimes
from model.labels.labels import LabelRules
from model.labels.output import LabelsOutput
from model.labels.recording_columns import RecordingColumns
from model.labels.window_rows import WindowRows

PATHS = ["b.wav", "a b.wav", "ü.wav", "B.wav", "a.wav"]
KEPT = pa.table({"site": ["north", None, "south", "west", "east"], "temperature_c": [1.5, None, -2.0, 0.0, 4.0]})
STARTS = StartTimes([datetime(2020, 5, 1, 19, 22), None, datetime(2020, 5, 1, tzinfo=UTC), None, datetime(2021, 1, 1)])
COLUMNS = RecordingColumns(pa.array(PATHS), KEPT, STARTS)


def test_rows_get_what_is_known_of_their_recordings_in_any_order_and_piece():
    table = pa.table({"path": ["ü.wav", "ü.wav", "b.wav", "B.wav", "a.wav"], "start_seconds": [0, 1.25, 2, 0, 0.5]})
    expected = pa.table({
        **dict(zip(table.column_names, table.columns, strict=True)),
        "site": ["south", "south", "north", "west", "east"],
        "temperature_c": [-2.0, -2.0, 1.5, 0.0, 4.0],
        "start_time": ["2020-05-01T00:00:00.000+00:00", "2020-05-01T00:00:01.250+00:00", "2020-05-01T19:22:02.000",
                       None, "2021-01-01T00:00:00.500"],
    })  # fmt: skip
    assert COLUMNS.append_to(table).equals(expected)
    for cut in range(len(table) + 1):
        pieces = [COLUMNS.append_to(table.slice(0, cut)), COLUMNS.append_to(table.slice(cut))]
        assert pa.concat_tables(pieces).combine_chunks().equals(expected.combine_chunks())
    assert COLUMNS.append_to(table).schema == COLUMNS.extended(table.schema) == expected.schema


def test_without_times_there_is_no_column_of_them():
    columns = RecordingColumns(pa.array(PATHS), KEPT.select(["site"]))
    assert columns.extended(pa.schema({"path": pa.string()})).names == ["path", "site"]
    assert columns.append_to(pa.table({"path": ["a.wav"]})).to_pylist() == [{"path": "a.wav", "site": "east"}]


@pytest.mark.parametrize("path", ["", "a", "zz.wav", "\U0001f989.wav"])
def test_a_recording_that_is_not_known_is_an_error(path):
    with pytest.raises(RunError, match="is not among the recordings"):
        COLUMNS.append_to(pa.table({"path": [path], "start_seconds": [0.0]}))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (".csv", "path,start_seconds,end_seconds,label,probability,site,temperature_c,start_time\n"
                 "a b.wav,0.000000,1.000000,no,0.750000,,,\n"
                 "b.wav,0.000000,1.000000,yes,0.750000,north,1.500000,2020-05-01T19:22:00.000\n"),
        (".jsonl", '{"path": "a b.wav", "start_seconds": 0.0, "end_seconds": 1.0, "label": "no", "probability": 0.75, '
                   '"site": null, "temperature_c": null, "start_time": null}\n'
                   '{"path": "b.wav", "start_seconds": 0.0, "end_seconds": 1.0, "label": "yes", "probability": 0.75, '
                   '"site": "north", "temperature_c": 1.5, "start_time": "2020-05-01T19:22:00.000"}\n'),
    ],
)  # fmt: skip
def test_labels_have_them_last(tmp_path, form, expected):
    rows = WindowRows(
        paths=["a b.wav", "b.wav"],
        counts=np.array([1, 1]),
        start_seconds=np.zeros(2),
        end_seconds=np.ones(2),
        probabilities=np.array([[0.75, 0.25], [0.25, 0.75]], np.float32),
    )
    with LabelsOutput(tmp_path / f"x{form}", LabelRules(["no", "yes"]), COLUMNS) as output:
        output.write(rows)
        output.finish()
    assert (tmp_path / f"x{form}").read_text() == expected
