"""score --events and --labels: of real recordings, of any workers, after an interruption, and what is refused."""

import csv
import json
import shutil
from collections import Counter

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features.errors import UsageError
from features.sources.table import list_clips
from features.sources.table_layout import TableLayout
from model.inference.artifact import read_description
from model.labels.events import EventRules, find_events
from model.labels.output import LabelsOutput
from tests.conftest import call
from tests.model.labels.test_events import plain_events
from tests.pipelines.conftest import files_of
from tests.signals import noise, sine, write_wav

FIELD = "field_recordings"
RAVEN_LAYOUT = TableLayout(root="/", path_column="Begin Path", label_column="Annotation",
                           start_column="Begin Time (s)", end_column="End Time (s)")  # fmt: skip
FLAC, MP3 = "soundscape_120s.flac", "soundscape_120s.mp3"


def score(run, source, output, *options):
    assert call("pipelines.score", "--model", run, "--input", source, "--output", output, *options) == 0


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Recordings of several windows, one without a sound, one that is no recording, one in a folder."""
    root = tmp_path_factory.mktemp("recordings")
    for number, name in enumerate(["a.wav", "b/c.wav", "b/d.wav"]):
        parts = [noise(8_000, seed=number) if number % 2 else sine(700, 8_000), sine(300, 40_000), noise(16_500)]
        write_wav(root / name, np.concatenate(parts))
    (root / "text.wav").write_bytes(b"no sound " * 20)
    return root


@pytest.fixture(scope="module")
def threshold(run_folder, recordings, tmp_path_factory):
    """The median of the highest probabilities of windows, which half of them reach whatever the network."""
    output = tmp_path_factory.mktemp("all") / "labels.parquet"
    score(run_folder, recordings, output)
    return float(np.median(pq.read_table(output)["probability"]))


def arrays(windows, path, classes):
    """Returns the starts, the ends and the probabilities of the windows of a recording."""
    rows = windows.filter(pc.equal(windows["path"], path))
    probabilities = [rows[f"probability_{label}"].to_numpy() for label in classes]
    return rows["start_seconds"].to_numpy(), rows["end_seconds"].to_numpy(), np.float32(probabilities).T


@pytest.fixture(scope="module")
def windows(run_folder, data, tmp_path_factory):
    """All windows of the field recordings, with the probabilities of all classes."""
    output = tmp_path_factory.mktemp("windows") / "windows.parquet"
    score(run_folder, data / FIELD, output, "--probabilities")
    return pq.read_table(output)


@pytest.mark.data
def test_events_of_field_recordings_are_those_of_their_windows_in_every_file(run_folder, data, windows, tmp_path):
    keep, threshold = np.quantile(windows["probability"].to_numpy(), [0.3, 0.6]).tolist()
    score(run_folder, data / FIELD, tmp_path / "labels.parquet", "--threshold", threshold, "--keep-threshold", keep,
          "--smooth", 3, "--merge-gap", 1, "--min-duration", 1.5, "--events", tmp_path / "events.parquet",
          "--labels", "raven", "--labels", "audacity", "--summary", tmp_path / "summary.json")  # fmt: skip
    classes = tuple(read_description(run_folder).classes)
    rules = EventRules(classes, (threshold,) * len(classes), keep, 3, 1.0, 1.5)
    table = pq.read_table(tmp_path / "events.parquet")
    assert len(table) > 10
    assert json.loads((tmp_path / "summary.json").read_text())["events"] == Counter(table["label"].to_pylist())
    for path in (path.name for path in (data / FIELD).iterdir()):
        expected = plain_events(*arrays(windows, path, classes), rules)
        written = table.filter(pc.equal(table["path"], path)).to_pylist()
        assert [(row["start_seconds"], row["end_seconds"], row["label"], row["peak_probability"], row["windows"])
                for row in written] == [(start, end, classes[number], peak, count)
                                        for start, end, number, peak, _, count in expected]  # fmt: skip
        assert [row["mean_probability"] for row in written] == pytest.approx([event[4] for event in expected])
        spans = [[f"{row['start_seconds']:.6f}", f"{row['end_seconds']:.6f}", row["label"]] for row in written]
        lines = (tmp_path / "labels.parquet.raven" / f"{path}.txt").read_text().splitlines()[1:]
        assert [[line[3], line[4], line[9]] for line in (text.split("\t") for text in lines)] == spans
        assert all(line.split("\t")[7] == str(data / FIELD / path) for line in lines)
        if lines:  # featurize reads it as it reads those of Raven
            clips = list_clips(
                str(tmp_path / "labels.parquet.raven" / f"{path}.txt"), RAVEN_LAYOUT, labelled=True
            ).clips
            assert clips["label"].to_pylist() == [row["label"] for row in written]
        track = (tmp_path / "labels.parquet.audacity" / f"{path}.txt").read_text().splitlines()
        assert [line.split("\t") for line in track] == spans


@pytest.mark.data
def test_the_flac_and_the_mp3_of_a_recording_have_the_same_events_up_to_the_codec(run_folder, windows):
    """Those of the MP3 lie between those of the FLAC at thresholds that differ by what the codec does to a window."""
    classes = tuple(read_description(run_folder).classes)
    (start, end, flac), (other_start, other_end, mp3) = (arrays(windows, name, classes) for name in (FLAC, MP3))
    assert start.tolist() == other_start.tolist() and end.tolist() == other_end.tolist()
    codec = float(np.abs(flac.astype(np.float64) - mp3).max())
    assert codec < np.ptp(flac, axis=0).max() / 5
    middle = float(np.median(flac.max(axis=1)))
    seconds = {}
    for name, scores, threshold in (
        ("less", flac, middle + codec),
        ("mp3", mp3, middle),
        ("more", flac, middle - codec),
    ):
        table = find_events(
            np.array([len(start)]), start, end, scores, EventRules(classes, (threshold,) * len(classes))
        )
        seconds[name] = {(number, second) for number, begin, last in zip(table.classes, table.start_seconds,
                         table.end_seconds, strict=True) for second in range(round(begin), round(last))}  # fmt: skip
    assert seconds["less"] and seconds["less"] <= seconds["mp3"] <= seconds["more"]
    assert len(seconds["more"] - seconds["less"]) < len(seconds["mp3"])


def test_two_workers_write_the_files_that_one_writes(run_folder, recordings, threshold, tmp_path):
    for folder, options in (("one", ["--workers", 1]), ("more", ["--workers", 2])):
        (tmp_path / folder).mkdir()
        score(run_folder, recordings, tmp_path / folder / "labels.csv", "--threshold", threshold, "--labels", "raven",
              "--events", tmp_path / folder / "events.jsonl", *options)  # fmt: skip
    files = files_of(tmp_path / "one")
    assert files == files_of(tmp_path / "more")
    assert set(files) == {"labels.csv", "labels.csv.manifest.parquet", "labels.rejects.csv", "labels.warnings.csv",
                          "events.jsonl",
                          *(f"labels.raven/{name}.wav.txt" for name in ("a", "b/c", "b/d"))}  # fmt: skip
    assert files["events.jsonl"].count(b"\n") == sum(files[name].count(b"\n") - 1 for name in files if "raven" in name)


def test_a_folder_that_grows_and_loses_recordings_has_the_files_of_a_run_from_nothing(
    run_folder, recordings, threshold, tmp_path
):
    source = shutil.copytree(recordings, tmp_path / "source")
    options = ["--threshold", threshold, "--labels", "raven", "--labels", "audacity"]
    for folder in ("grown", "whole"):
        (tmp_path / folder).mkdir()

    def run(folder):
        score(
            run_folder, source, tmp_path / folder / "labels.csv", "--events", tmp_path / folder / "events.csv", *options
        )

    run("grown")
    before = files_of(tmp_path / "grown")
    (source / "a.wav").unlink()
    write_wav(source / "b/c.wav", noise(50_000, seed=9))
    write_wav(source / "b/new.wav", np.concatenate([sine(300, 20_000), noise(30_000, seed=3)]))
    run("grown")
    run("whole")
    grown = files_of(tmp_path / "grown")
    assert grown == files_of(tmp_path / "whole")
    assert {name for name in grown if "raven" in name} == {
        f"labels.raven/b/{name}.wav.txt" for name in ("c", "d", "new")
    }
    assert grown["labels.raven/b/d.wav.txt"] == before["labels.raven/b/d.wav.txt"]


def test_a_run_that_ended_before_its_labels_appeared_is_done_again_to_the_same_files(
    run_folder, recordings, threshold, tmp_path, monkeypatch
):
    options = ["--threshold", threshold, "--labels", "audacity"]
    for folder in ("whole", "ended"):
        (tmp_path / folder).mkdir()
    score(
        run_folder,
        recordings,
        tmp_path / "whole" / "labels.csv",
        "--events",
        tmp_path / "whole" / "events.csv",
        *options,
    )
    again = (tmp_path / "ended" / "labels.csv", "--events", tmp_path / "ended" / "events.csv", *options)

    def end(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(LabelsOutput, "finish", end)
        score(run_folder, recordings, *again)
    assert (tmp_path / "ended" / "events.csv").exists()
    assert not (tmp_path / "ended" / "labels.csv").exists()
    score(run_folder, recordings, *again)
    assert files_of(tmp_path / "ended") == files_of(tmp_path / "whole")


def test_without_events_the_files_of_recordings_hold_the_labels_of_windows(run_folder, recordings, tmp_path):
    score(run_folder, recordings, tmp_path / "labels.csv", "--top", 2, "--labels", "raven")
    with open(tmp_path / "labels.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"] == "b/c.wav"]
    header, *lines = [line.split("\t") for line in (tmp_path / "labels.raven/b/c.wav.txt").read_text().splitlines()]
    assert header[9:] == ["Annotation", "Probability", "Rank"]
    assert [[line[3], line[4], *line[9:]] for line in lines] == [
        [row["start_seconds"], row["end_seconds"], row["label"], row["probability"], row["rank"]] for row in rows
    ]


def test_events_begin_at_a_half_where_no_threshold_is_given_and_no_label_is_left_out(run_folder, recordings, tmp_path):
    score(run_folder, recordings, tmp_path / "labels.parquet", "--probabilities", "--events", tmp_path / "e.parquet")
    score(
        run_folder, recordings, tmp_path / "half.parquet", "--threshold", 0.5, "--events", tmp_path / "half-e.parquet"
    )
    assert pq.read_table(tmp_path / "e.parquet").equals(pq.read_table(tmp_path / "half-e.parquet"))
    assert len(set(pq.read_table(tmp_path / "labels.parquet")["path"].to_pylist())) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--smooth", 3], "--smooth is of events; name their table with --events"),
        (["--merge-gap", 0], "--merge-gap is of events"),
        (["--min-duration", 1, "--labels", "raven"], "--min-duration is of events"),
        (["--events", "e.csv", "--smooth", 2], "odd number of windows"),
        (["--events", "e.csv", "--keep-threshold", 0.6], "at most 0.5"),
        (["--events", "e.txt"], "--events is a table whose name ends in .csv, .parquet or .jsonl"),
        (["--events", "labels.rejects.csv"], "the name of another output"),
        (["--events", "there.csv"], "there.csv exists; give another --events, or --overwrite"),
        (["--events", "nowhere/e.csv"], "no folder for --events nowhere/e.csv"),
        (["--labels", "praat"], "--labels is one of raven, audacity"),
        (["--labels", "raven"], "labels.raven holds files already"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused_before_anything_is(
    run_folder, recordings, tmp_path, monkeypatch, options, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "labels.raven").mkdir()
    (tmp_path / "labels.raven" / "mine.txt").write_text("mine")
    before = files_of(tmp_path)
    with pytest.raises(UsageError, match=said):
        score(run_folder, recordings, "labels.csv", *options)
    assert files_of(tmp_path) == before
