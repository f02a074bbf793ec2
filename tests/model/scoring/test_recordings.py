import json
import logging

import pyarrow as pa
import pytest

from features.errors import AMBIGUOUS_TIME, TIMES_DISAGREE, UsageError
from features.sources.folder import scan
from features.sources.recording_time import TimeRules, read_pattern, read_zone
from features.sources.table import list_clips
from features.sources.table_layout import TableLayout
from model.scoring.recordings import (
    RECORDERS_SCHEMA,
    ColumnOptions,
    describe_recordings,
    read_recorders,
    start_times_sentence,
)
from tests.features.audio.test_recorder_header import guano, wav

GUANO = "GUANO|Version:1.0\nTimestamp:2020-05-01T19:22:00+02:00\nLoc Position:52.5 13.4\nTemperature Int:-1.5"


@pytest.fixture
def folder(tmp_path):
    files = {
        "20200501_192200.wav": wav(),
        "20201025_023000.wav": wav(),
        "a.wav": wav(guano(GUANO)),
        "b/20200501_192300.wav": wav(guano(GUANO)),
        "c.wav": wav(),
    }
    for name, content in files.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "folder"


def described(source, **options):
    chosen = ColumnOptions(**options)
    recorders = None
    if chosen.reads_headers(source):
        recorders = read_recorders(source.root, source.clips["path"].to_pylist())
        assert recorders.schema == RECORDERS_SCHEMA and len(recorders) == len(source.clips)
    return describe_recordings(source, recorders, chosen)


def rows_of(found, source):
    paths = source.clips["path"]
    return found.columns.append_to(pa.table({"path": paths, "start_seconds": [0.0] * len(paths)})).to_pylist()


def test_times_of_headers_and_names_are_counted(folder):
    source = scan(str(folder), labelled=False)
    found = described(source, start_time=True, rules=TimeRules(zone=read_zone("Europe/Berlin")))
    assert [row["start_time"] for row in rows_of(found, source)] == [
        "2020-05-01T19:22:00.000+02:00", "2020-10-25T02:30:00.000+02:00", "2020-05-01T19:22:00.000+02:00",
        "2020-05-01T19:22:00.000+02:00", None,
    ]  # fmt: skip
    assert [(warning.path, warning.reason) for warning in found.warnings] == [
        ("20201025_023000.wav", AMBIGUOUS_TIME), ("b/20200501_192300.wav", TIMES_DISAGREE),
    ]  # fmt: skip
    assert found.counts(without=[]) == {"pattern": 0, "header": 2, "name": 2, "unknown": 1}
    assert found.counts(without=["c.wav", "a.wav"]) == {"pattern": 0, "header": 1, "name": 2, "unknown": 0}
    counts = {"pattern": 0, "header": 2, "name": 1_200, "unknown": 1}
    assert start_times_sentence(counts) == " Start times: 2 from headers, 1,200 from names, 1 unknown."
    assert start_times_sentence({}) == ""


def test_nothing_is_read_where_nothing_is_wanted(folder):
    source = scan(str(folder), labelled=False)
    assert not ColumnOptions().reads_headers(source)
    found = described(source)
    assert (found.columns, found.warnings, found.counts(without=[])) == (None, [], {})


def test_a_pattern_that_fits_no_path_is_said(folder, caplog):
    source = scan(str(folder), labelled=False)
    pattern = read_pattern(r"x(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)")
    with caplog.at_level(logging.WARNING, "soundmill"):
        found = described(source, start_time=True, rules=TimeRules(pattern))
    assert "finds no time in any of 5 paths, such as 20200501_192200.wav" in caplog.text
    assert found.counts(without=[])["name"] == 2


def test_columns_of_a_table_stand_before_those_of_headers(folder):
    table = folder.parent / "recordings.csv"
    table.write_text("path,site,latitude\nfolder/a.wav,north,1.50\nfolder/c.wav,,\nfolder/a.wav,north,1.50\n")
    source = list_clips(str(table), TableLayout(), labelled=False, keep=("site", "latitude", "longitude"))
    found = described(source, keep=("site", "latitude", "longitude"))
    assert [[*row.values()][2:] for row in rows_of(found, source)] == [["north", "1.50", 13.4], [None, None, None]]
    only_table = ColumnOptions(keep=("site", "latitude"))
    assert not only_table.reads_headers(source)
    assert [[*row.values()][2:] for row in rows_of(described(source, keep=("site",)), source)] == [["north"], [None]]


def test_a_column_that_is_nowhere_or_not_clear_is_refused(folder):
    source = scan(str(folder), labelled=False)
    with pytest.raises(UsageError, match="'site' is none of these, and the input is not a table"):
        ColumnOptions(keep=("latitude", "site")).reads_headers(source)
    table = folder.parent / "recordings.csv"
    table.write_text("path,site,site\nfolder/a.wav,north,north\n")
    with pytest.raises(UsageError, match="has 2 columns named 'site'"):
        list_clips(str(table), TableLayout(), labelled=False, keep=("site",))
    table.write_text("path,site\nfolder/a.wav,north\nfolder/c.wav,\nfolder/a.wav,south\n")
    two_values = r"line 4: a recording has one value, 'north' in recordings.csv, line 2, but 'site' is 'south'"
    with pytest.raises(UsageError, match=two_values):
        list_clips(str(table), TableLayout(), labelled=False, keep=("site",))
    source = list_clips(str(table), TableLayout(), labelled=False, keep=("town",))
    with pytest.raises(UsageError, match=r"'town' is none of these, and .*recordings.csv does not have it"):
        ColumnOptions(keep=("town",)).reads_headers(source)


@pytest.mark.parametrize("name", ["path", "label", "start_time", "probability_yes", "windows"])
def test_a_column_that_outputs_have_is_refused(name):
    with pytest.raises(UsageError, match="one that outputs have"):
        ColumnOptions(keep=("site", name))


def test_what_recorders_say_of_no_files():
    assert read_recorders("", []).schema == RECORDERS_SCHEMA


def test_what_was_requested_is_said_as_json_has_it():
    pattern = r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)"
    zones = {"Europe/Berlin": "Europe/Berlin", "+02:00": "UTC+02:00", "Z": "UTC"}
    for text, said in zones.items():
        options = ColumnOptions(("site",), True, TimeRules(read_pattern(pattern), read_zone(text)))
        assert json.loads(json.dumps(options.described)) == {
            "keep": ["site"], "start_time": True, "time_pattern": pattern, "timezone": said,
        }  # fmt: skip
    assert ColumnOptions().described == {"keep": [], "start_time": False, "time_pattern": None, "timezone": None}
