"""Times of day and kept columns in what score writes, from the command line on."""

import csv
import json
import re
import shutil

import pyarrow.parquet as pq
import pytest

from features.errors import UsageError
from tests.conftest import call
from tests.features.audio.test_recorder_header import comment, guano
from tests.signals import noise, write_wav

HEADER = "GUANO|Version:1.0\nTimestamp:2026-10-25T02:59:59+02:00\nLoc Position:52.5 13.4\nTemperature Ext:7.25"
NO_CHUNK = b""
FILES = {
    "20261025_023000.WAV": NO_CHUNK,  # twice in Berlin
    "20261025_015959T.WAV": NO_CHUNK,  # clocks are set back in it
    "5CE5A3A0.WAV": NO_CHUNK,
    "SMU01234_20260329_023000.wav": NO_CHUNK,  # never in Berlin
    "a.wav": guano(HEADER),
    "b/20200501_192200.wav": comment("Recorded at 19:23:00 01/05/2020 (UTC+2) by AudioMoth; temperature was 1.5C."),
    "nothing.wav": NO_CHUNK,
}


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    folder = tmp_path_factory.mktemp("season")
    for number, (name, chunk) in enumerate(FILES.items()):
        path = write_wav(folder / name, noise(32_000 if number == 1 else 16_000, seed=number))
        path.write_bytes(path.read_bytes() + chunk)
    table = folder.parent / "season.csv"
    lines = [f"{folder.name}/{name},site {number},{number}" for number, name in enumerate(FILES)]
    table.write_text("\n".join(["path,site,night", *lines, ""]))
    return folder


def times_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-1] == "start_time"
    return {(row["path"], float(row["start_seconds"])): row["start_time"] for row in rows}


def test_each_row_has_its_time_of_day(season, run_folder, tmp_path, capsys):
    output, figures = tmp_path / "labels.csv", tmp_path / "figures.json"
    options = ["--start-time", "--timezone", "Europe/Berlin", "--summary", figures]
    assert call("pipelines.score", "--model", run_folder, "--input", season, "--output", output, *options) == 0
    assert times_of(output) == {
        ("20261025_015959T.WAV", 0.0): "2026-10-25T01:59:59.000+02:00",
        ("20261025_015959T.WAV", 1.0): "2026-10-25T02:00:00.000+02:00",
        ("20261025_023000.WAV", 0.0): "2026-10-25T02:30:00.000+02:00",
        ("5CE5A3A0.WAV", 0.0): "2019-05-22T19:31:44.000+00:00",
        ("SMU01234_20260329_023000.wav", 0.0): "",
        ("a.wav", 0.0): "2026-10-25T02:59:59.000+02:00",
        ("b/20200501_192200.wav", 0.0): "2020-05-01T19:23:00.000+02:00",
        ("nothing.wav", 0.0): "",
    }
    assert "Start times: 2 from headers, 3 from names, 2 unknown." in capsys.readouterr().out
    assert json.loads(figures.read_text())["start_times"] == {"pattern": 0, "header": 2, "name": 3, "unknown": 2}
    with open(tmp_path / "labels.warnings.csv", encoding="utf-8", newline="") as file:
        warnings = {(row["path"], row["reason"]): row["message"] for row in csv.DictReader(file)}
    assert warnings.pop(("20261025_023000.WAV", "ambiguous_time")) == (
        "2026-10-25 02:30:00 was twice in Europe/Berlin, as clocks were set back; the first is taken"
    )
    assert set(warnings) == {
        ("SMU01234_20260329_023000.wav", "nonexistent_time"), ("b/20200501_192200.wav", "times_disagree"),
    }  # fmt: skip


def test_columns_of_a_table_and_of_headers_stand_before_it(season, run_folder, tmp_path):
    arguments = ["--model", run_folder, "--input", season.parent / "season.csv", "--start-time"]
    keep = ["--keep-columns", "night,site,latitude, temperature_c"]
    for name in ("labels.csv", "labels.parquet"):
        assert call("pipelines.score", *arguments, "--output", tmp_path / name, *keep) == 0
    table = pq.read_table(tmp_path / "labels.parquet")
    assert table.column_names[-5:] == ["night", "site", "latitude", "temperature_c", "start_time"]
    rows = {row["path"].removeprefix(f"{season.name}/"): row for row in table.to_pylist()}
    said = {name: [row[column] for column in table.column_names[-5:]] for name, row in rows.items()}
    assert said["a.wav"] == ["4", "site 4", 52.5, 7.25, "2026-10-25T02:59:59.000+02:00"]
    assert said["b/20200501_192200.wav"] == ["5", "site 5", None, 1.5, "2020-05-01T19:23:00.000+02:00"]
    assert said["20261025_023000.WAV"] == ["0", "site 0", None, None, "2026-10-25T02:30:00.000"]
    assert said["nothing.wav"] == ["6", "site 6", None, None, None]
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert lines[0].endswith(",probability,night,site,latitude,temperature_c,start_time")
    assert next(line for line in lines if "/a.wav" in line).endswith(
        ",4,site 4,52.500000,7.250000,2026-10-25T02:59:59.000+02:00"
    )


def test_every_output_has_them(season, run_folder, tmp_path):
    options = ["--start-time", "--keep-columns", "temperature_c", "--threshold", "0", "--labels", "raven",
               "--events", tmp_path / "events.jsonl", "--embeddings", tmp_path / "embeddings.parquet"]  # fmt: skip
    output = tmp_path / "labels.csv"
    assert call("pipelines.score", "--model", run_folder, "--input", season, "--output", output, *options) == 0
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert all(list(event)[-2:] == ["temperature_c", "start_time"] for event in events)
    found = {(event["path"], event["start_seconds"]): (event["temperature_c"], event["start_time"]) for event in events}
    assert found["a.wav", 0.0] == (7.25, "2026-10-25T02:59:59.000+02:00")
    assert found["nothing.wav", 0.0] == (None, None)
    table = pq.read_table(tmp_path / "embeddings.parquet")
    assert table.column_names[-2:] == ["temperature_c", "start_time"]
    rows = {(row["path"], row["start_seconds"]): row["start_time"] for row in table.to_pylist()}
    assert rows == {key: time or None for key, time in times_of(output).items()}
    lines = (tmp_path / "labels.raven" / "a.wav.txt").read_text().splitlines()
    assert [line.split("\t")[-1] for line in lines][1:] == ["2026-10-25T02:59:59.000+02:00"] * (len(lines) - 1)


def test_a_pattern_stands_before_header_and_name(season, run_folder, tmp_path):
    pattern = r"(?P<year>20\d\d)(?P<month>\d\d)(?P<day>\d\d)_(?P<hour>\d\d)(?P<minute>\d\d)"
    options = ["--start-time", "--time-pattern", pattern, "--timezone=-03:30"]
    output = tmp_path / "labels.csv"
    assert call("pipelines.score", "--model", run_folder, "--input", season, "--output", output, *options) == 0
    times = times_of(output)
    assert times["b/20200501_192200.wav", 0.0] == "2020-05-01T19:22:00.000-03:30"
    assert times["20261025_015959T.WAV", 1.0] == "2026-10-25T01:59:01.000-03:30"
    assert times["a.wav", 0.0] == "2026-10-25T02:59:59.000+02:00"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--timezone", "UTC"], "--timezone is for the column start_time; give --start-time too"),
        (["--time-pattern", "x"], "--time-pattern is for the column start_time; give --start-time too"),
        (["--start-time", "--time-pattern", "x"], "--time-pattern has the named groups"),
        (["--start-time", "--timezone", "Berlin"], "there is no 'Berlin'; Europe/Berlin is near"),
        (["--keep-columns", "site"], "'site' is none of these, and the input is not a table"),
        (["--keep-columns", "label"], "'label' is one that outputs have"),
    ],
)
def test_what_cannot_be_written_is_refused(season, run_folder, tmp_path, options, said):
    output = tmp_path / "labels.csv"
    with pytest.raises(UsageError, match=re.escape(said)):
        call("pipelines.score", "--model", run_folder, "--input", season, "--output", output, *options)
    assert not any(tmp_path.iterdir())


def test_a_row_of_the_table_that_changed_is_scored_again(season, run_folder, tmp_path):
    shutil.copytree(season, tmp_path / "season")
    table, figures = tmp_path / "season.csv", tmp_path / "figures.json"
    options = ["--start-time", "--timezone", "Europe/Berlin", "--keep-columns", "site", "--summary", figures]

    def score(sites, output):
        table.write_text("\n".join(["path,site", *(f"season/{name},{site}" for name, site in sites.items()), ""]))
        assert call("pipelines.score", "--model", run_folder, "--input", table, "--output", output, *options) == 0
        return output.read_bytes(), output.with_name(f"{output.stem}.warnings.csv").read_bytes()

    names = list(FILES)
    score({name: "north" for name in names[:5]}, tmp_path / "labels.csv")
    sites = {name: "south" if name == names[1] else "north" for name in names}
    again = score(sites, tmp_path / "labels.csv")
    assert json.loads(figures.read_text())["kept"] == 4
    assert again == score(sites, tmp_path / "anew.csv")
    with pytest.raises(UsageError, match=r"--timezone was \"Europe/Berlin\" and is \"UTC\""):
        options[2] = "UTC"
        score(sites, tmp_path / "labels.csv")


@pytest.mark.data
def test_field_recordings(data, run_folder, tmp_path):
    output, figures = tmp_path / "labels.csv", tmp_path / "figures.json"
    options = ["--start-time", "--summary", figures]
    source = data / "field_recordings"
    assert call("pipelines.score", "--model", run_folder, "--input", source, "--output", output, *options) == 0
    times = {key: time for key, time in times_of(output).items() if time}
    assert {name for name, _ in times} == {"aru_1min.wav"}
    assert times["aru_1min.wav", 0.0] == "2018-05-04T09:32:00.000+00:00"
    assert times["aru_1min.wav", 59.0] == "2018-05-04T09:32:59.000+00:00"
    assert json.loads(figures.read_text())["start_times"] == {"pattern": 0, "header": 1, "name": 0, "unknown": 9}
