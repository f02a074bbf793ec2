"""The page of a scoring: its figures against pandas, its sample, its sounds, and what it does without them."""

import base64
import io
import json
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import soundfile

from features.errors import ClipError
from model.pages import score_page, timeline
from model.pages.line_events import THRESHOLDS
from model.pages.score_page import build_score_page, write_score_page
from model.pages.scored_recordings import ScoredRecordings
from tests.conftest import call
from tests.model.pages.test_line_events import from_each
from tests.model.pages.test_scored_table import LABELS, PATHS, table_of, written
from tests.object_store.upload import upload
from tests.signals import chirp, noise, sine, write_wav

CHANGED = "vanished: it has changed since it was scored"
TIMED = "night/20240501_215930.wav"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Recordings of several windows: in a folder, in stereo, named as no markup may be, and one that is none."""
    root = tmp_path_factory.mktemp("recordings")
    write_wav(root / TIMED, np.concatenate([sine(300, 40_000), noise(30_000), chirp(30_800)]))
    stereo = np.stack([chirp(70_000, 22_050), noise(70_000, seed=3)], axis=1)
    soundfile.write(root / "stereo.flac", stereo, 22_050, subtype="PCM_24")
    write_wav(root / "<img src=x onerror=alert(1)>.wav", noise(24_000, seed=2))
    write_wav(root / "=high.wav", sine(60_000, 400_000, 192_000), 192_000)
    (root / "text.wav").write_bytes(b"no sound " * 20)
    return root


@pytest.fixture(scope="module")
def scored(untrained, recordings, tmp_path_factory) -> Path:
    """The labels of a network that guesses."""
    output = tmp_path_factory.mktemp("scored") / "labels.csv"
    options = ("--hop-seconds", 0.5, "--top", 2, "--start-time", "--workers", 1)
    assert call("pipelines.score", "--model", untrained, "--input", recordings, "--output", output, *options) == 0
    return output


@pytest.fixture(scope="module")
def page(scored):
    return build_score_page(str(scored))


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def expanded(counts: list) -> np.ndarray:
    """Counts at thresholds as the scripts of the page expand them, from each threshold on."""
    values = np.zeros(len(THRESHOLDS))
    if len(counts) == len(THRESHOLDS):
        values[:] = counts
    else:
        values[np.array(counts[::2], int)] = counts[1::2]
    return from_each(values[None])[0]


def test_figures_are_those_of_pandas(page, scored):
    frame = pd.read_csv(scored, dtype={"path": str, "label": str}, keep_default_na=False)
    html, figures = page
    data = data_of(html)
    assert figures["lines"] == len(frame)
    assert figures["files"] == figures["files_with_lines"] == frame["path"].nunique() == 4
    assert figures["rejected"] == {"not_audio": 1}
    seconds = [6.3, 70_000 / 22_050, 1.5, 400_000 / 192_000]
    assert figures["hours"] == pytest.approx(sum(seconds) / 3600, abs=1e-4)
    assert figures["lines_with_time"] == (frame["start_time"] != "").sum() > 0
    assert data["labels"] == sorted(frame["label"].unique())
    for number, label in enumerate(data["labels"]):
        for place in (0, 20, 33, 50):
            lines = frame[(frame["label"] == label) & (frame["probability"] >= place / 100)]
            sums = {name: expanded(rows[number])[place] for name, rows in data["sums"].items()}
            assert sums["lines"] == len(lines)
            assert sums["recordings"] == lines["path"].nunique()
            events, covered = 0, 0.0
            for _, of_path in lines.groupby("path"):
                until = -1.0
                for line in of_path.sort_values("start_seconds").itertuples():
                    events += line.start_seconds > until + 1e-6
                    covered += line.end_seconds - min(max(line.start_seconds, until), line.end_seconds)
                    until = max(until, line.end_seconds)
            assert sums["events"] == events
            assert sums["seconds"] == pytest.approx(covered, abs=0.1)
    assert figures["events"] == sum(figures["events_by_label"].values()) == sum(map(sum, data["bandCounts"]))


def test_activity_counts_events_by_the_hour_in_which_they_begin(page):
    activity = data_of(page[0])["activity"]
    cells = np.array(activity["cells"]).reshape(-1, 5)
    assert activity["dates"] == ["2024-05-01"]
    assert activity["recorded"] == [0, 21]
    assert set(cells[:, 1]) == {0}
    assert set(cells[:, 2]) == {21}
    [timed] = [each for each in data_of(page[0])["listed"] if each[0] == TIMED]
    assert cells[:, 4].sum() == expanded(timed[4])[0]


def test_a_time_line_has_its_marks_and_plays(page, scored):
    frame = pd.read_csv(scored, dtype={"path": str, "label": str}, keep_default_na=False)
    data = data_of(page[0])
    assert {line["path"] for line in data["timelines"]} == set(frame["path"])
    for line in data["timelines"]:
        lines = frame[frame["path"] == line["path"]]
        marks = [[data["labels"].index(row.label), row.start_seconds, row.end_seconds] for row in lines.itertuples()]
        assert sorted(mark[:3] for mark in line["marks"]) == sorted([pytest.approx(mark, abs=6e-4) for mark in marks],
                                                                   key=lambda mark: mark.expected)  # fmt: skip
        sound, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(line["sound"])))
        assert len(sound) / rate_hz == pytest.approx(line["seconds"], abs=0.1)
        assert line["imageSeconds"] >= line["seconds"] - 1e-6
        assert base64.b64decode(line["image"])[8:12] == b"WEBP"
    assert data["timelines"][0]["path"] == data["listed"][0][0]


def test_each_card_is_heard_as_its_window(page, recordings):
    data = data_of(page[0])
    assert len(data["cards"]) == page[1]["cards"] == page[1]["cards_heard"] > 10
    keys = {(card["path"], card["start"], card["end"], card["label"]) for card in data["cards"]}
    assert len(keys) == len(data["cards"])
    for card in data["cards"]:
        assert card["seconds"] == pytest.approx(card["end"] - card["start"], abs=0.002)
        assert len(card["top"]) >= 2
        assert [card["label"], card["probability"]] in card["top"]
        assert card["eventStart"] <= card["start"] < card["end"] <= card["eventEnd"]
        assert data["bands"][card["band"]] <= card["probability"]


@pytest.mark.parametrize("name", ["stereo.flac", TIMED])
def test_a_window_has_the_mean_of_its_samples(name, recordings):
    samples, rate_hz = soundfile.read(recordings / name, dtype="float32", always_2d=True)
    with ScoredRecordings(str(recordings), {}).open(name) as opened:
        window = opened.waveform(0.5, 1.5)
        assert window == pytest.approx(samples[round(0.5 * rate_hz) : round(1.5 * rate_hz)].mean(axis=1), abs=1e-6)
        assert len(opened.waveform()) == len(samples)
        assert len(opened.waveform(opened.seconds - 0.25, opened.seconds + 5)) == pytest.approx(rate_hz / 4, abs=1)
        assert len(opened.waveform(0.5, 0.5)) == 1
        with pytest.raises(ClipError):
            opened.waveform(opened.seconds + 1, opened.seconds + 2)


def test_the_same_table_makes_the_same_page_in_any_form(scored, page, recordings, tmp_path):
    frame = pd.read_csv(scored, dtype={"path": str, "label": str, "start_time": str}, keep_default_na=False)
    frame["path"] = frame["path"].str.removeprefix("./")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.cast(pa.schema([(field.name, pa.string() if pa.types.is_large_string(field.type) else field.type)
                                  for field in table.schema]))  # fmt: skip
    expected = data_of(page[0])
    for form in (".parquet", ".jsonl"):
        made, _ = build_score_page(str(written(tmp_path / f"labels{form}", table)), str(recordings))
        found = data_of(made)
        assert {name: found[name] for name in found if name != "title"} == {
            name: expected[name] for name in expected if name != "title"
        }
    assert build_score_page(str(scored))[0] == page[0]


def test_the_sample_does_not_depend_on_what_else_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(score_page, "MOST_CARDS", 10)
    monkeypatch.setattr(score_page, "_PER_LABEL_AND_BAND", 2)
    generator = np.random.default_rng(0)
    count = 4_000
    table = pa.table({
        "path": [f"{number // 10:04d}.wav" for number in range(count)],
        "start_seconds": np.arange(count) % 10 * 2.0,
        "end_seconds": np.arange(count) % 10 * 2.0 + 1,
        "label": generator.choice(["owl", "wren"], count),
        "probability": generator.uniform(size=count),
    })  # fmt: skip

    def cards(some: pa.Table, name: str) -> dict:
        found = data_of(build_score_page(str(written(tmp_path / name, some)))[0])["cards"]
        return {(card["path"], card["start"]): card for card in found}

    everything = cards(table, "all.csv")
    assert len(everything) == 10
    assert {(card["label"], card["band"]) for card in everything.values()} == {
        (label, band) for label in ("owl", "wren") for band in range(4)
    }
    # A recording that was not drawn of may leave, and nothing moves.
    kept = [
        row["path"] in {path for path, _ in everything} or index % 3 == 0 for index, row in enumerate(table.to_pylist())
    ]
    paths = {path for path, keep in zip(table["path"].to_pylist(), kept, strict=True) if keep}
    smaller = table.filter(pa.array([path in paths for path in table["path"].to_pylist()]))
    assert cards(smaller, "some.csv").keys() == everything.keys()


def test_names_are_text_and_nothing_else(tmp_path):
    html, figures = build_score_page(str(written(tmp_path / "labels.csv", table_of())))
    body = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", html, flags=re.DOTALL)
    assert "&lt;b&gt;&amp;" in body
    assert "<b>" not in body
    data = data_of(html)
    assert data["labels"] == sorted(LABELS)
    assert {line["path"] for line in data["timelines"]} == {
        f"./{path}" if path.startswith(("-", "=")) else path for path in PATHS
    }
    assert figures["cards"] == figures["events"] > 0
    assert figures["cards_heard"] == 0
    assert {card["silent"] for card in data["cards"]} == {"missing: it is not known where the recordings are"}


@pytest.mark.parametrize("windows", [0, 1])
def test_a_table_of_one_line_or_none_is_a_page(windows, tmp_path):
    table = table_of().slice(0, windows)
    figures = write_score_page(str(written(tmp_path / "labels.csv", table)), None, str(tmp_path / "page.html"))
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert figures["bytes"] == len(html.encode())
    assert figures["events"] == figures["lines"] == figures["timelines"] == windows
    assert ('id="filters"' in html) == bool(windows)
    assert ("The table has no line" in html) == (not windows)


def test_recordings_that_are_gone_or_have_changed_are_named(scored, recordings, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(recordings, root, copy_function=shutil.copyfile)  # as now: times of another place say nothing
    (root / "stereo.flac").unlink()
    write_wav(root / "=high.wav", sine(600, 300_000, 192_000), 192_000)
    html, figures = build_score_page(str(scored), str(root))
    data = data_of(html)
    notes = {line["path"]: line.get("note", "") for line in data["timelines"]}
    assert notes["stereo.flac"].startswith("missing")
    assert notes["./=high.wav"] == CHANGED
    assert not notes[TIMED]
    assert 0 < figures["cards_heard"] < figures["cards"]
    assert all(
        bool(card.get("sound")) == (card["path"] not in ("stereo.flac", "./=high.wav")) for card in data["cards"]
    )


def test_a_recording_that_was_overwritten_where_it_was_scored_is_not_heard(scored, recordings):
    path = recordings / TIMED
    before = path.stat()
    try:
        os.utime(path)
        notes = {line["path"]: line.get("note") for line in data_of(build_score_page(str(scored))[0])["timelines"]}
    finally:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert notes == {"stereo.flac": None, "./=high.wav": None, "<img src=x onerror=alert(1)>.wav": None, TIMED: CHANGED}


def test_the_page_of_objects_is_that_of_files(scored, recordings, page, s3):
    labels, source = upload(scored.parent, f"{s3.uri}/out"), upload(recordings, f"{s3.uri}/in")
    figures = write_score_page(f"{labels}/labels.csv", source, f"{s3.uri}/page.html")
    html = (s3.folder / "page.html").read_text(encoding="utf-8")
    assert data_of(html) == data_of(page[0])
    assert {name: figures[name] for name in page[1]} == page[1]


def test_a_recording_without_room_has_the_sound_of_its_surest_windows(scored, monkeypatch):
    monkeypatch.setattr(timeline, "_MOST_STRETCH_SECONDS", 2.0)
    monkeypatch.setattr(score_page, "_TIMELINE_BYTES", 60_000)
    data = data_of(build_score_page(str(scored))[0])
    whole = [line for line in data["timelines"] if line.get("sound")]
    parts = [line for line in data["timelines"] if not line.get("sound")]
    assert whole
    assert parts
    assert max(line["seconds"] for line in whole) < max(line["seconds"] for line in parts)
    used = sum(len(line["sound"]) for line in whole) + sum(
        len(part["sound"]) for line in parts for part in line["stretches"]
    )
    assert used <= 60_000
    for line in parts:
        for part in line["stretches"]:
            assert any(start <= part["start"] + 1e-3 and part["start"] < end for _, start, end, _ in line["marks"])


def test_a_table_that_was_edited_is_not_taken_for_what_its_manifest_says(scored, tmp_path):
    for path in scored.parent.glob("labels.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    lines = scored.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "labels.csv").write_text("".join(lines[:-1]), encoding="utf-8")
    html, figures = build_score_page(str(tmp_path / "labels.csv"))
    assert not figures["hours_known"]
    assert figures["cards_heard"] == 0
    assert "the table is not as score has written it" in html


@pytest.mark.trial
def test_a_million_lines_are_a_small_page(tmp_path):
    generator = np.random.default_rng(0)
    recordings, windows = 2_000, 500
    count = recordings * windows
    start = np.tile(np.arange(windows) * 1.0, recordings)
    hours = np.repeat(np.arange(recordings), windows) * 3 % (90 * 24)
    times = np.datetime64("2024-05-01T00") + hours.astype("timedelta64[h]")
    table = pa.table({
        "path": pa.array([f"site/{number:05d}.wav" for number in range(recordings)]).take(
            pa.array(np.repeat(np.arange(recordings), windows))),
        "start_seconds": start,
        "end_seconds": start + 1,
        "label": pa.array([f"species {number:02d}" for number in range(40)]).take(
            pa.array(np.repeat(generator.integers(0, 40, count // 4), 4))),
        "probability": generator.beta(2, 2, count),
        "start_time": pa.array(np.datetime_as_string(times, "ms").tolist()),
    })  # fmt: skip
    labels = str(written(tmp_path / "labels.csv", table))
    began = time.monotonic()
    html, figures = build_score_page(labels)
    assert time.monotonic() - began < 60
    assert len(html) < 15_000_000
    assert figures["lines"] == count
    assert figures["cards"] == score_page.MOST_CARDS
    assert "All 1,000,000 lines are counted" in html
    assert "Of 2,000 recordings with lines 12 have a time line and 200 are listed in numbers" in html
