import collections
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

import soundmill
from features.audio import recording
from features.errors import ClipError, Reason, RunError, UsageError
from features.frontend.spectrogram import compute_features
from features.io.unit_file import UnitFile
from features.sources.paths import clip_file, csv_path, unescape_path
from features.sources.table import list_clips
from features.sources.table_layout import TableLayout
from features.store.versions import library_versions
from model.evaluation.false_alarms import count_false_alarms
from model.inference.artifact import load_artifact
from model.labels.output import LabelsOutput
from model.scoring import planning
from model.scoring.request import Request
from model.scoring.scorer import BatchSize
from model.scoring.scorer import score as run_score
from pipelines.score import _runs
from tests.conftest import call, run_command
from tests.pipelines.conftest import files_of, make_old
from tests.signals import noise, sine, to_int16, write_wav

COLUMNS = ["path", "start_seconds", "end_seconds", "label", "probability"]
UNUSUAL_NAMES = [
    b"comma, and more.wav",
    b'quote".wav',
    b"new\nline.wav",
    b"both\r\nof them.wav",
    b"=sum(A1).wav",
    b"+plus.wav",
    b"-minus.wav",
    b"@at.wav",
    b" space .wav",
    b"back\\slash \\xff.wav",
    b"latin \xe9\xff.wav",
    "ünï ☃.wav".encode(),
    b"sub folder/=x.wav",
    b"=folder/x.wav",
    b"-/-.wav",
    b"B.WAV",
    "🦉🎙.wav".encode(),
    b"a" * 251 + b".wav",
    "ü".encode() * 125 + b"x.wav",
    b"tab\t, $(touch x) %s {x} `x` 'x'.wav",
    b"dots...wav",
    b" .wav",
]


def score(run_folder: Path, source: Path, output: Path, *options: object) -> list[dict[str, str]]:
    assert call("pipelines.score", "--model", run_folder, "--input", source, "--output", output, *options) == 0
    return read(output)


def read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def path_bytes(row: dict[str, str]) -> bytes:
    return unescape_path(row["path"].removeprefix("./"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Good and bad files of many kinds."""
    root = tmp_path_factory.mktemp("recordings")
    write_wav(root / "long.wav", np.concatenate([sine(3000, 16_000), sine(300, 16_000), noise(8_000)]))
    write_wav(root / "stereo 44k.wav", np.stack([sine(300, 66_150, 44_100), noise(66_150)], axis=1), 44_100)
    write_wav(root / "telephone.wav", sine(300, 8_000, 8_000), 8_000)
    soundfile.write(root / "lossless.flac", sine(1000, 20_000), 16_000)
    (root / "empty.wav").write_bytes(b"")
    (root / "text.wav").write_bytes(b"no sound " * 20)
    for number, name in enumerate(UNUSUAL_NAMES):
        path = os.path.join(os.fsencode(root), b"odd", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(write_wav(root.parent / "odd.wav", noise(16_000, seed=number)).read_bytes())
    return root


@pytest.fixture(scope="module")
def labels(recordings, run_folder, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("labels") / "labels.csv"
    score(run_folder, recordings, output, "--summary", output.with_suffix(".json"))
    return output


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.trial), 2])
def test_many_files_are_planned_in_units_and_labelled_the_same(
    recordings, labels, run_folder, tmp_path, monkeypatch, workers
):
    monkeypatch.setattr(planning, "FILES_IN_UNITS", 10)
    monkeypatch.setattr(planning, "FILES_OF_A_UNIT", 7)
    read, read_here = planning.PlanJob.read, []

    def note(job: planning.PlanJob, files: UnitFile, number: int) -> None:
        read_here.append(number)
        read(job, files, number)

    monkeypatch.setattr(planning.PlanJob, "read", note)
    score(run_folder, recordings, tmp_path / labels.name, "--workers", workers)
    assert read_here == ([0, 1, 2, 3] if workers == 1 else []), "other processes have read them"
    assert files_of(tmp_path) == files_of(labels.parent, "labels.json")


def test_a_line_has_five_columns_in_their_format(labels):
    text = labels.read_bytes().decode("utf-8")
    assert text.startswith("path,start_seconds,end_seconds,label,probability\n")
    assert text.endswith("\n")
    rows = read(labels)
    assert list(rows[0]) == COLUMNS
    for row in rows:
        assert row["label"] in ("high", "low", "middle")
        for name in COLUMNS[1:3] + COLUMNS[4:]:
            assert re.fullmatch(r"\d+\.\d{6}", row[name])
        assert 1 / 3 <= float(row["probability"]) <= 1


def test_the_tables_that_scoring_writes_name_the_same_files_when_they_are_read(labels, recordings):
    for table in (labels, labels.with_suffix(".rejects.csv")):
        source = list_clips(str(table), TableLayout(root=str(recordings)), labelled=False)
        paths = source.clips["path"].to_pylist()
        assert [csv_path(path) for path in paths] == list(dict.fromkeys(row["path"] for row in read(table)))
        assert all(os.path.isfile(clip_file(source.root, path)) for path in paths)


def test_of_a_table_absolute_paths_come_back_as_they_are_and_rows_that_are_wrong_are_counted(run_folder, tmp_path):
    wav = write_wav(tmp_path / "site 1" / "a.wav", noise(16_000))
    write_wav(tmp_path / "tables" / "b.wav", noise(16_000, seed=1))
    absolute, gone = f"{tmp_path}/tables/../site 1/a.wav", f"{wav}.gone"
    table = tmp_path / "tables" / "t.txt"
    table.write_text("\n".join(["file;species", f"{absolute};", "b.wav;x", ";x", "b.wav;x;y", f"{gone};x", ";", ""]))
    options = ("--path-column", "file", "--summary", tmp_path / "s.json")
    rows = score(run_folder, table, tmp_path / "labels.csv", *options)
    assert [row["path"] for row in rows] == [absolute, "b.wav"]
    assert {row["path"]: row["reason"] for row in read(tmp_path / "labels.rejects.csv")} == {
        gone: "missing", "t.txt, line 4": "bad_row", "t.txt, line 5": "bad_row"
    }  # fmt: skip
    figures = json.loads((tmp_path / "s.json").read_text())
    assert (figures["files"], figures["scored"], figures["rejected"]) == (5, 2, 3)


def test_lines_are_sorted_by_the_bytes_of_the_path_and_the_start(labels):
    keys = [(path_bytes(row), float(row["start_seconds"])) for row in read(labels)]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_every_file_is_scored_or_rejected(labels, recordings):
    files = {os.path.relpath(os.path.join(folder, name), os.fsencode(recordings))
             for folder, _, names in os.walk(os.fsencode(recordings)) for name in names}  # fmt: skip
    scored = {path_bytes(row) for row in read(labels)}
    rejected = {row["path"]: row["reason"] for row in read(labels.with_name("labels.rejects.csv"))}
    assert rejected == {"empty.wav": "empty", "text.wav": "not_audio"}
    assert scored | set(map(os.fsencode, rejected)) == files
    figures = json.loads(labels.with_suffix(".json").read_text())
    assert figures["files"] == len(files) == figures["scored"] + figures["rejected"]
    assert (figures["scored"], figures["rejected"]) == (len(scored), 2)
    assert figures["rejects"] == {"empty": 1, "not_audio": 1}
    assert figures["clips"] == len(read(labels))
    assert figures["clips_per_second"] == pytest.approx(figures["clips"] / figures["seconds"])


@pytest.mark.parametrize("name", UNUSUAL_NAMES, ids=ascii)
def test_unusual_paths_come_back_to_the_byte(labels, name):
    path = b"odd/" + name
    found = [row for row in read(labels) if path_bytes(row) == path]
    assert len(found) == 1
    assert found[0]["start_seconds"] == "0.000000"
    assert found[0]["end_seconds"] == "1.000000"


def test_a_carriage_return_in_a_path_does_not_end_the_line(run_folder, tmp_path):
    write_wav(tmp_path / "source" / "return\rname.wav", noise(16_000))
    write_wav(tmp_path / "source" / "z.wav", noise(16_000))
    (tmp_path / "source" / "return\rempty.wav").write_bytes(b"")
    rows = score(run_folder, tmp_path / "source", tmp_path / "labels.csv")
    assert [row["path"] for row in rows] == ["return\rname.wav", "z.wav"]
    assert [row["path"] for row in read(tmp_path / "labels.rejects.csv")] == ["return\rempty.wav"]


@pytest.mark.parametrize("options", [("--top", 1), ("--top", 3), ("--threshold", 1.0)])
def test_parquet_holds_what_the_csv_says_with_its_types(recordings, run_folder, tmp_path, options):
    expected = score(run_folder, recordings, tmp_path / "x.csv", *options)
    arguments = ("--model", run_folder, "--input", recordings, "--output", tmp_path / "x.parquet", *options)
    assert call("pipelines.score", *arguments) == 0
    assert sorted(os.listdir(tmp_path)) == [
        "x.csv", "x.csv.manifest.parquet", "x.parquet", "x.parquet.manifest.parquet", "x.parquet.rejects.csv",
        "x.parquet.warnings.csv", "x.rejects.csv", "x.warnings.csv",
    ]  # fmt: skip
    assert (tmp_path / "x.parquet.rejects.csv").read_bytes() == (tmp_path / "x.rejects.csv").read_bytes()
    content = (tmp_path / "x.parquet").read_bytes()
    table = pq.read_table(tmp_path / "x.parquet")
    rank = [("rank", pa.int32())] if "--top" in options and 3 in options else []
    assert table.schema.remove_metadata() == pa.schema([
        ("path", pa.string()), ("start_seconds", pa.float64()), ("end_seconds", pa.float64()), ("label", pa.string()),
        ("probability", pa.float64()), *rank,
    ])  # fmt: skip
    texts = [{name: f"{value:.6f}" if isinstance(value, float) else str(value) for name, value in row.items()}
             for row in table.to_pylist()]  # fmt: skip
    assert texts == [{**row, "path": row["path"].removeprefix("./")} for row in expected]
    assert (table.num_rows == 0) == ("--threshold" in options)
    assert call("pipelines.score", *arguments, "--overwrite", "--workers", 1) == 0
    assert (tmp_path / "x.parquet").read_bytes() == content


def test_our_own_parquet_names_recordings_to_score(run_folder, tmp_path):
    for name in ("a.wav", "=b.wav"):
        write_wav(tmp_path / "source" / name, noise(24_000))
    expected = score(run_folder, tmp_path / "source", tmp_path / "x.csv")
    arguments = ("--model", run_folder, "--input", tmp_path / "source", "--output", tmp_path / "x.parquet")
    assert call("pipelines.score", *arguments) == 0
    assert score(run_folder, tmp_path / "x.parquet", tmp_path / "y.csv", "--root", tmp_path / "source") == expected


@pytest.mark.parametrize("name", ["labels", "labels.txt", "labels.tsv", "labels.csv.gz", "labels.parquet ", "csv"])
def test_another_ending_is_refused(recordings, run_folder, tmp_path, name):
    with pytest.raises(UsageError, match=r"--output is a table whose name ends in \.csv, \.parquet or \.jsonl, not"):
        score(run_folder, recordings / "long.wav", tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("first", ["=", "+", "-", "@"])
def test_no_path_looks_like_a_formula(run_folder, tmp_path, first):
    write_wav(tmp_path / "source" / f"{first}1.wav", noise(16_000))
    (row,) = score(run_folder, tmp_path / "source", tmp_path / "labels.csv")
    assert row["path"] == f"./{first}1.wav"
    assert (tmp_path / "source" / row["path"]).exists()


@pytest.mark.parametrize(
    ("name", "windows"),
    [
        ("long.wav", [("0.000000", "1.000000"), ("1.000000", "2.000000"), ("2.000000", "2.500000")]),
        ("stereo 44k.wav", [("0.000000", "1.000000"), ("1.000000", "1.500000")]),
        ("telephone.wav", [("0.000000", "1.000000")]),
        ("lossless.flac", [("0.000000", "1.000000"), ("1.000000", "1.250000")]),
    ],
)
def test_windows_follow_one_another_to_the_real_end(labels, name, windows):
    found = [(row["start_seconds"], row["end_seconds"]) for row in read(labels) if row["path"] == name]
    assert found == windows


def test_each_window_is_labelled_by_its_own_samples(labels, run_folder):
    artifact = load_artifact(run_folder)
    rows = [row for row in read(labels) if row["path"] == "long.wav"]
    pieces = [sine(3000, 16_000), sine(300, 16_000), np.pad(noise(8_000), (0, 8_000))]
    waveforms = (np.round(np.stack(pieces) * 32768) / 32768).astype(np.float32)
    expected = artifact.probabilities(compute_features(waveforms, artifact.spec))
    for row, probabilities in zip(rows, expected, strict=True):
        assert row["label"] == artifact.classes[probabilities.argmax()]
        assert float(row["probability"]) == pytest.approx(probabilities.max(), abs=1e-6)


def test_another_rate_and_two_channels_say_nearly_the_same(run_folder, tmp_path):
    write_wav(tmp_path / "source" / "16k.wav", sine(1000, 16_000))
    write_wav(tmp_path / "source" / "44k.wav", np.stack([sine(1000, 44_100, 44_100)] * 2, axis=1), 44_100)
    one, other = score(run_folder, tmp_path / "source", tmp_path / "labels.csv")
    assert one["label"] == other["label"]
    assert float(one["probability"]) == pytest.approx(float(other["probability"]), abs=0.01)


@pytest.mark.parametrize(("rate", "tail"), [(44_100, 1), (48_000, 1), (96_000, 2), (22_050, 1), (8_000, 1)])
def test_a_recording_with_a_tiny_rest_after_its_last_window_is_still_labelled(run_folder, tmp_path, rate, tail):
    write_wav(tmp_path / "source" / "a.wav", sine(300, rate + tail, rate), rate)
    rows = score(run_folder, tmp_path / "source", tmp_path / "labels.csv")
    assert (rows[0]["start_seconds"], rows[0]["end_seconds"]) == ("0.000000", "1.000000")
    assert len(read(tmp_path / "labels.rejects.csv")) == 0


@pytest.mark.parametrize(("least", "ends"), [(None, [1.0, 1.05]), (0, [1.0, 1.001, 1.05]), (0.051, [1.0])])
def test_all_that_labels_recordings_leaves_out_the_same_last_windows(run_folder, tmp_path, capsys, least, ends):
    for more in (16, 800):
        write_wav(tmp_path / "source" / f"{more:03d}.wav", sine(300, 16_000 + more))
    options = () if least is None else ("--min-window-seconds", least)
    lines = score(run_folder, tmp_path / "source", tmp_path / "labels.csv", *options)
    assert sorted({float(line["end_seconds"]) for line in lines}) == ends
    said = {
        3: "",
        2: " Left out: 1 last window of less than 0.05 s.",
        1: " Left out: 2 last windows of less than 0.051 s.",
    }
    assert f" times real time).{said[len(ends)]} No file was rejected." in capsys.readouterr().out
    files = sorted((tmp_path / "source").iterdir())
    assert call("model.predict", "--model", run_folder, *files, *options) == 0
    printed = capsys.readouterr()
    assert f" of 2 files.{said[len(ends)]} --plot" in printed.err
    assert [row["label"] for row in csv.DictReader(printed.out.splitlines())] == [line["label"] for line in lines]
    model = soundmill.load_model(run_folder)
    table = model.predict(files, min_window_seconds=least)
    assert table["label"].to_pylist() == [line["label"] for line in lines]
    waveform = sine(300, 16_800)
    assert len(model.predict(waveform, 16_000, min_window_seconds=least)) == 1 + (1.05 in ends)
    if least is None:
        figures = count_false_alarms(str(shutil.copytree(run_folder, tmp_path / "run")), str(tmp_path / "source"))
        assert (figures["windows"], figures["short_windows"]) == (len(lines), 1)
        assert figures["hours"] * 3600 == pytest.approx(2.05)


@pytest.mark.parametrize(("hop", "tail", "last", "left"), [
    (0.3, "overlap", 1.05, ""), (0.02, "drop", 1.05, " Left out: 1 last window not whole."), (2.5, "pad", 1.0, ""),
])  # fmt: skip
def test_all_that_labels_recordings_has_the_same_windows_at_any_distance(
    run_folder, tmp_path, capsys, hop, tail, last, left
):
    samples = noise(16_800 + 8)
    path = write_wav(tmp_path / "source" / "a.wav", samples)
    options = ("--hop-seconds", hop, "--tail", tail)
    lines = score(run_folder, tmp_path / "source", tmp_path / "labels.csv", *options)
    windows = [(float(line["start_seconds"]), float(line["end_seconds"])) for line in lines]
    assert windows[-1][1] == pytest.approx(last, abs=0.011)
    assert f" times real time).{left} No file was rejected." in capsys.readouterr().out
    assert call("model.predict", "--model", run_folder, path, *options) == 0
    printed = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [list(row.values())[1:] for row in printed] == [list(line.values())[1:] for line in lines]
    model = soundmill.load_model(run_folder)
    decoded = to_int16(samples).astype(np.float32) / 32768
    tables = (
        model.predict(path, hop_seconds=hop, tail=tail),
        model.predict(decoded, 16_000, hop_seconds=hop, tail=tail),
    )
    for table in tables:
        for name in ("start_seconds", "end_seconds", "probability"):
            assert [f"{value:.6f}" for value in table[name].to_pylist()] == [line[name] for line in lines]


@pytest.mark.parametrize(("options", "said"), [
    (("--hop-seconds", "0"), "--hop-seconds is above 0, not 0"),
    (("--tail", "drop", "--min-window-seconds", "0.1"), "--min-window-seconds is for --tail pad"),
])  # fmt: skip
def test_options_of_windows_that_cannot_be_are_refused(recordings, run_folder, tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        score(run_folder, recordings, tmp_path / "labels.csv", *options)
    with pytest.raises(UsageError, match=said):
        call("model.predict", recordings / "long.wav", "--model", run_folder, *options)


def test_recordings_that_are_decoded_in_their_order_are_the_same_for_any_workers(run_folder, tmp_path):
    """They have more windows than a batch, and go on from one batch to the next."""
    samples = sine(300, 9 * 16_000) + noise(9 * 16_000)
    (tmp_path / "source").mkdir()
    for name, form in {
        "a.mp3": ("MP3", "MPEG_LAYER_III"),
        "b.wav": ("WAV", "GSM610"),
        "c.flac": ("FLAC", "PCM_16"),
    }.items():
        soundfile.write(tmp_path / "source" / name, samples, 16_000, form[1], format=form[0])
    outputs = []
    for workers in (1, 2):
        output = tmp_path / f"{workers}.csv"
        score(run_folder, tmp_path / "source", output, "--hop-seconds", 0.03, "--tail", "drop", "--workers", workers)
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]
    assert outputs[0].count(b"\n") > 3 * 256


def test_batches_that_go_on_stay_together():
    sizes = {number: BatchSize(1, 1.0, goes_on) for number, goes_on in
             {0: False, 1: True, 2: True, 3: False, 5: True, 6: True, 8: True}.items()}  # fmt: skip
    assert _runs(sizes) == [[0, 1, 2], [3], [5, 6], [8]]


def test_one_file_as_input(recordings, labels, run_folder, tmp_path):
    rows = score(run_folder, recordings / "long.wav", tmp_path / "one.csv")
    assert rows == [row for row in read(labels) if row["path"] == "long.wav"]


def test_top_gives_a_rank_to_the_best_labels(recordings, labels, run_folder, tmp_path):
    rows = score(run_folder, recordings, tmp_path / "top.csv", "--top", 2)
    assert list(rows[0]) == [*COLUMNS, "rank"]
    assert [row["rank"] for row in rows] == ["1", "2"] * (len(rows) // 2)
    assert [{name: row[name] for name in COLUMNS} for row in rows[::2]] == read(labels)
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert float(first["probability"]) >= float(second["probability"])
        assert first["label"] != second["label"]
        assert first["path"] == second["path"]


def test_threshold_leaves_out_what_is_less_probable(recordings, labels, run_folder, tmp_path):
    everything = read(labels)
    middle = sorted(float(row["probability"]) for row in everything)[len(everything) // 2] - 5e-7
    rows = score(run_folder, recordings, tmp_path / "sure.csv", "--threshold", middle, "--summary", tmp_path / "s.json")
    assert rows == [row for row in everything if float(row["probability"]) > middle]
    assert 0 < len(rows) < len(everything)
    assert json.loads((tmp_path / "s.json").read_text())["clips"] == len(everything)


def test_allowed_labels_are_the_only_ones_of_every_output(recordings, run_folder, tmp_path):
    """With the probabilities that they have among all: the others are as if nobody had asked for them."""
    (tmp_path / "here.txt").write_text("# these two\nmiddle\nhigh\n")
    everything = score(run_folder, recordings, tmp_path / "all.csv", "--probabilities")
    rows = score(
        run_folder, recordings, tmp_path / "here.csv", "--probabilities", "--top", 2,
        "--only-labels", tmp_path / "here.txt", "--clips", tmp_path / "clips", "--per-class", 1,
    )  # fmt: skip
    allowed = ["high", "middle"]
    assert [name for name in rows[0] if name.startswith("probability_")] == [f"probability_{name}" for name in allowed]
    for row, best in zip(everything, rows[::2], strict=True):
        of_allowed = {label: row[f"probability_{label}"] for label in allowed}
        assert best["label"] == max(of_allowed, key=lambda label: float(of_allowed[label]))
        assert best["probability"] == of_allowed[best["label"]]
        assert (best["path"], best["start_seconds"]) == (row["path"], row["start_seconds"])
    assert {row["label"] for row in rows} <= set(allowed)
    assert {path.name for path in (tmp_path / "clips").iterdir()} == {*allowed, "clips.csv"}


def test_labels_that_the_model_has_not_are_named_before_any_work(recordings, run_folder, tmp_path, capsys):
    (tmp_path / "here.txt").write_text("middel\n")
    options = ("--model", run_folder, "--input", recordings, "--output", tmp_path / "x.csv")
    with pytest.raises(UsageError, match="line 1: the model has no label 'middel'; near it are middle"):
        call("pipelines.score", *options, "--only-labels", tmp_path / "here.txt")
    (tmp_path / "here.txt").write_text("middle\n")
    with pytest.raises(UsageError, match="--top is 1 to 1, the number of labels that --only-labels"):
        call("pipelines.score", *options, "--only-labels", tmp_path / "here.txt", "--top", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["here.txt"]


def test_cut_outs_that_were_sorted_by_hand_are_read_back_with_the_features_of_their_windows(
    run_folder, tmp_path, capsys
):
    source, clips = tmp_path / "source", tmp_path / "clips"
    write_wav(source / "site 1" / "a.wav", noise(5 * 16_000, seed=1))
    write_wav(source / "b.wav", np.concatenate([sine(300, 40_000, 8_000), noise(20_000)]), 8_000)
    rows = score(run_folder, source, tmp_path / "all.csv", "--probabilities")
    score(run_folder, source, tmp_path / "labels.csv", "--clips", clips, "--per-class", 2)
    assert f" cut-outs are in {clips}." in capsys.readouterr().out
    with open(clips / "clips.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["label"] for line in lines} == {"high", "low", "middle"}
    again = {(row["path"], row["label"]): row for row in score(run_folder, clips, tmp_path / "2.csv", "--top", 3)}
    for line in lines:
        (row,) = [row for row in rows if (row["path"], row["start_seconds"]) == (line["group"], line["start_seconds"])]
        assert line["probability"] == row[f"probability_{line['label']}"]
        assert again[line["path"], line["label"]]["probability"] == line["probability"]
    moved = clips / lines[0]["path"]
    (clips / "owl").mkdir()
    moved.rename(clips / "owl" / moved.name)
    group = r"/[\d.]+ (.+) at [\d.]+ s\.wav$"
    assert call("pipelines.featurize", "--input", clips, "--output", tmp_path / "set", "--group", group) == 0
    found = soundmill.open_features(tmp_path / "set").clips().to_pylist()
    assert len(found) == len(lines) and {row["label"] for row in found} == {"high", "low", "middle", "owl"}
    assert {row["group"] for row in found} == {"site 1%2Fa.wav", "b.wav"}
    # The table names them with their labels and their recordings, as they were chosen.
    shutil.move(clips / "owl" / moved.name, moved)
    assert call("pipelines.featurize", "--input", clips / "clips.csv", "--output", tmp_path / "table") == 0
    found = soundmill.open_features(tmp_path / "table").clips().to_pylist()
    assert {(row["path"], row["label"], row["group"]) for row in found} == {
        (line["path"], line["label"], line["group"]) for line in lines
    }
    # What somebody has made of them is not replaced.
    moved.unlink()
    with pytest.raises(UsageError, match="is not there any more"):
        score(run_folder, source, tmp_path / "labels.csv", "--clips", clips, "--overwrite")


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> Path:
    """Recordings, and a set of clips some of which they are: under other names, and one of each kind that is not taken.

    Taken: seven.
    """
    folder = tmp_path_factory.mktemp("known")
    clips, source = folder / "clips" / "word", folder / "source"
    lengths = [1, 300, 15_999, 16_000, 16_000, 12_000]
    for number, length in enumerate(lengths):
        write_wav(clips / f"{number}.wav", noise(length, seed=number))
    soundfile.write(clips / "deep.flac", noise(44_100, seed=8), 44_100, subtype="PCM_24")
    write_wav(clips / "longer.wav", noise(16_001, seed=9))  # a set has its middle, and a window its beginning
    write_wav(clips / "silent.wav", np.zeros(16_000, np.float32))  # there is a warning of it
    write_wav(clips / "opposite.wav", np.stack([noise(16_000), -noise(16_000)], axis=1))
    shutil.copytree(clips, source / "copies")
    for name in ("3", "4"):
        (source / "copies" / f"{name}.wav").rename(source / f"{name} renamed.wav")
    write_wav(source / "other.wav", noise(16_000, seed=20))  # of the size of a clip that is known
    write_wav(source / "long.wav", noise(50_000, seed=21))
    (source / "damaged.wav").write_bytes((clips / "3.wav").read_bytes()[:-2] + b"\x01\x02")
    return folder


@pytest.mark.parametrize("storage", ["tfrecord", "parquet"])
def test_features_of_a_set_are_taken_by_content_and_change_no_byte(known, run_folder, tmp_path, storage):
    options = ("--format", storage, "--preset", "speech-commands", "--split", "100/0/0")
    assert call("pipelines.featurize", "--input", known / "clips", "--output", tmp_path / "set", *options) == 0
    make_old(known / "source")
    for name, more in (("plain", ()), ("known", ("--features", tmp_path / "set"))):
        (tmp_path / name).mkdir()
        score(run_folder, known / "source", tmp_path / name / "labels.csv", "--probabilities",
              "--summary", tmp_path / f"{name}.json", *more)  # fmt: skip
    assert files_of(tmp_path / "plain") == files_of(tmp_path / "known")
    figures = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("plain", "known")}
    assert [figures[name]["known_features"] for name in ("plain", "known")] == [0, 7]
    # Rows that were lost are computed.
    (shard,) = (tmp_path / "set" / "shards").iterdir()
    shard.write_bytes(b"\xff" * shard.stat().st_size)
    score(run_folder, known / "source", tmp_path / "known" / "labels.csv", "--probabilities", "--overwrite",
          "--features", tmp_path / "set", "--summary", tmp_path / "s.json")  # fmt: skip
    assert files_of(tmp_path / "plain") == files_of(tmp_path / "known")
    assert json.loads((tmp_path / "s.json").read_text())["known_features"] == 0


def test_features_of_another_spec_are_refused(known, run_folder, tmp_path):
    features = tmp_path / "set"
    call("pipelines.featurize", "--input", known / "clips", "--output", features, "--preset", "log-mel")
    for place, message in ((features, "was made with another spec than the model"), (tmp_path, "not a complete")):
        with pytest.raises(UsageError, match=message):
            score(run_folder, known / "source", tmp_path / "x.csv", "--features", place)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_run_that_was_killed_after_its_cut_outs_goes_on(known, run_folder, tmp_path, monkeypatch):
    options = ("--clips", tmp_path / "clips", "--per-class", 1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LabelsOutput, "finish", stop_here)
        score(run_folder, known / "source", tmp_path / "labels.csv", *options)
    assert (tmp_path / "clips" / "clips.csv").exists() and not (tmp_path / "labels.csv").exists()
    score(run_folder, known / "source", tmp_path / "labels.csv", *options)
    (tmp_path / "labels.csv").unlink()
    with pytest.raises(UsageError, match="clips exists; give another folder, or --overwrite"):
        score(run_folder, known / "source", tmp_path / "labels.csv", *options)


def stop_here(*_):
    raise KeyboardInterrupt


def calibrated(run_folder: Path, folder: Path, **calibration: object) -> Path:
    """A copy of a run with another calibration."""
    run = shutil.copytree(run_folder, folder)
    path = run / "model" / "artifact.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **calibration}))
    return run


def test_auto_leaves_out_what_is_less_probable_than_its_class_own_threshold(recordings, run_folder, tmp_path, capsys):
    everything = score(run_folder, recordings, tmp_path / "all.csv", "--top", 2)
    of_high = sorted(float(row["probability"]) for row in everything if row["label"] == "high")
    middle = of_high[len(of_high) // 2] - 5e-7
    thresholds = {"high": middle, "low": 0.0, "middle": None}
    run = calibrated(run_folder, tmp_path / "run", thresholds=thresholds, target_precision=0.9)
    capsys.readouterr()
    summary = tmp_path / "s.json"
    rows = score(run, recordings, tmp_path / "a.csv", "--top", 2, "--threshold", "auto", "--summary", summary)
    expected = [
        row for row in everything
        if row["label"] == "low" or (row["label"] == "high" and float(row["probability"]) >= middle)
    ]  # fmt: skip
    assert rows == expected
    assert 0 < sum(row["label"] == "high" for row in rows) < len(of_high)
    said = (f" {len(rows)} lines were written; {len(everything) - len(rows)} labels below the thresholds of their "
            "classes were left out. No line has a class without a threshold: middle.")  # fmt: skip
    assert said in capsys.readouterr().out
    figures = json.loads(summary.read_text())
    assert figures["classes_without_threshold"] == ["middle"]
    assert figures["clips"] == len(everything) // 2
    # After --top: of the windows whose first label is left out, none has another instead.
    first = score(run, recordings, tmp_path / "b.csv", "--threshold", "auto")
    assert first == [{name: row[name] for name in COLUMNS} for row in rows if row["rank"] == "1"]


def test_a_threshold_that_leaves_no_line_says_so(recordings, run_folder, tmp_path, capsys):
    run = calibrated(run_folder, tmp_path / "run", thresholds=dict.fromkeys(["high", "low", "middle"], 1.0),
                     target_precision=0.9)  # fmt: skip
    summary = tmp_path / "summary.json"
    for threshold, least in (("1", "--threshold 1"), ("auto", "the threshold of its class"), ("0.2", None)):
        options = ("--overwrite", "--threshold", threshold, "--summary", summary)
        rows = score(run, recordings, tmp_path / "labels.csv", *options)
        said = capsys.readouterr().out
        assert bool(rows) == (least is None)
        figures = json.loads(summary.read_text())
        assert figures["no_lines"] == (not rows)
        assert (figures["lines"], figures["lines_left_out"]) == (len(rows), figures["clips"] - len(rows))
        assert ("No line was written" in said) == (not rows)
        assert least is None or f" No line was written: no window has a label that reaches {least}. The labels" in said


def test_auto_is_refused_where_there_are_no_thresholds(run_folder, recordings, tmp_path, capsys):
    options = ("--model", run_folder, "--input", recordings, "--output", tmp_path / "labels.csv", "--threshold", "auto")
    done = run_command("pipelines.score", *options, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{run_folder} has none; train with validation clips, or give a probability" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_temperature_changes_probabilities_and_no_label(labels, run_folder, recordings, tmp_path):
    run = calibrated(run_folder, tmp_path / "run", temperature=0.5)
    sharper = score(run, recordings, tmp_path / "labels.csv")
    plain = read(labels)
    assert [row["label"] for row in sharper] == [row["label"] for row in plain]
    for mine, theirs in zip(sharper, plain, strict=True):
        assert float(mine["probability"]) > float(theirs["probability"])


@pytest.mark.parametrize("before", [{}, {"temperature": 2.0}])
def test_parts_of_another_calibration_are_not_joined(run_folder, tmp_path, before):
    write_wav(tmp_path / "source" / "a.wav", noise(300 * 16_000))
    output = tmp_path / "labels.csv"
    other = calibrated(run_folder, tmp_path / "other", thresholds=dict.fromkeys(["high", "low", "middle"], 0.0),
                       target_precision=0.9, **before)  # fmt: skip
    expected = score(run_folder, tmp_path / "source", tmp_path / "expected.csv", "--threshold", 0.34)

    def one_part(job, windows):
        number = next(iter(windows))
        job.write(number, job.label(job.load_network(), number))
        raise RunError("stopped")

    with pytest.raises(RunError, match="stopped"):
        run_score(Request(str(other), str(tmp_path / "source"), str(output), threshold="auto"), one_part)
    assert len(list((tmp_path / "labels.csv.parts").glob("*/0*.part"))) == 1
    assert score(run_folder, tmp_path / "source", output, "--threshold", 0.34) == expected


@pytest.fixture(scope="module")
def many_windows(tmp_path_factory) -> Path:
    """A recording of 600 windows in three units, and short ones before and after it: four batches."""
    root = tmp_path_factory.mktemp("windows") / "source"
    write_wav(root / "m.wav", noise(600 * 4_000 - 1_000, amplitude=0.2), 4_000)
    for number in range(10):
        write_wav(root / f"{number}.wav", noise(16_000, seed=number))
        write_wav(root / f"z{number}.wav", sine(100 * number + 100, 30_000))
    return make_old(root)


@pytest.mark.trial
def test_the_number_of_workers_changes_no_byte(many_windows, run_folder, tmp_path):
    for workers in ("1", "2"):
        (tmp_path / workers).mkdir()
        options = ("--workers", workers, "--clips", tmp_path / workers / "clips", "--per-class", 3)
        score(run_folder, many_windows, tmp_path / workers / "labels.csv", *options)
    one, two = (files_of(tmp_path / workers) for workers in ("1", "2"))
    assert sorted(name for name in one if "/" not in name) == [
        "labels.csv",
        "labels.csv.manifest.parquet",
        "labels.rejects.csv",
        "labels.warnings.csv",
    ]
    assert 9 < len([name for name in one if name.startswith("clips/")]) <= 1 + 18
    assert one == two


def test_a_long_recording_is_labelled_to_its_end(many_windows, run_folder, tmp_path):
    rows = score(run_folder, many_windows / "m.wav", tmp_path / "labels.csv")
    assert [(float(row["start_seconds"]), float(row["end_seconds"])) for row in rows] == [
        (second, min(second + 1, 599.75)) for second in range(600)
    ]


@pytest.fixture
def cut_recording(tmp_path):
    """Two clips and between them, as paths go, a FLAC of 600 s in three units of work, cut off after two thirds."""
    source = tmp_path / "source"
    write_wav(source / "a.wav", noise(16_000))
    write_wav(source / "z.wav", noise(16_000))
    soundfile.write(source / "m,m.flac", noise(600 * 4_000, amplitude=0.2), 4_000)
    content = (source / "m,m.flac").read_bytes()
    (source / "m,m.flac").write_bytes(content[: len(content) * 2 // 3])
    return source


def test_a_recording_that_was_cut_off_is_labelled_as_far_as_it_goes_and_named(cut_recording, run_folder, tmp_path):
    rows = score(run_folder, cut_recording, tmp_path / "labels.csv", "--summary", tmp_path / "run.json")
    of_recording = [row for row in rows if row["path"] == "m,m.flac"]
    assert [float(row["start_seconds"]) for row in of_recording] == list(range(len(of_recording)))
    assert 390 < len(of_recording) < 410
    assert len(rows) == len(of_recording) + 2
    samples = int(float(of_recording[-1]["end_seconds"]) * 4_000)
    with soundfile.SoundFile(cut_recording / "m,m.flac") as audio:
        assert len(audio.read(samples - 4_096)) == samples - 4_096
        with pytest.raises(soundfile.LibsndfileError):
            audio.read(8_192)
    assert read(tmp_path / "labels.rejects.csv") == []
    size = (cut_recording / "m,m.flac").stat().st_size
    (warning,) = read(tmp_path / "labels.warnings.csv")
    assert (warning["path"], warning["reason"], int(warning["size"])) == ("m,m.flac", "truncated", size)
    figures = json.loads((tmp_path / "run.json").read_text())
    assert (figures["files"], figures["scored"], figures["rejected"]) == (3, 3, 0)
    assert figures["warnings"] == {"truncated": 1}


def test_a_recording_that_was_cut_off_is_rejected_as_a_whole_where_that_is_the_policy(
    cut_recording, run_folder, tmp_path
):
    arguments = ("--truncated", "reject", "--summary", tmp_path / "run.json")
    rows = score(run_folder, cut_recording, tmp_path / "labels.csv", *arguments)
    assert [row["path"] for row in rows] == ["a.wav", "z.wav"]
    (reject,) = read(tmp_path / "labels.rejects.csv")
    assert (reject["path"], reject["stage"], reject["reason"]) == ("m,m.flac", "decode", "truncated")
    assert "--truncated keep" in reject["message"]
    figures = json.loads((tmp_path / "run.json").read_text())
    assert (figures["files"], figures["scored"], figures["rejected"]) == (3, 2, 1)


def test_a_file_whose_header_cannot_be_read_in_time_is_a_reject_and_not_one_window(run_folder, tmp_path, monkeypatch):
    source = tmp_path / "source"
    write_wav(source / "a.wav", noise(48_000))
    write_wav(source / "b.wav", noise(48_000))
    whole = recording.probe_at

    def slow(path):
        if path.endswith("b.wav"):
            raise ClipError("decode", Reason.TIMEOUT, "decoding took too long and was ended")
        return whole(path)

    monkeypatch.setattr(recording, "probe_at", slow)
    rows = score(run_folder, source, tmp_path / "labels.csv")
    assert [row["path"] for row in rows] == ["a.wav"] * 3
    (reject,) = read(tmp_path / "labels.rejects.csv")
    assert (reject["path"], reject["reason"], reject["size"]) == ("b.wav", "timeout", str(44 + 96_000))


def test_an_interrupted_run_is_not_taken_up_with_another_decoder(run_folder, tmp_path, ffmpeg, monkeypatch):
    source = tmp_path / "source"
    write_wav(source / "a.wav", noise(16_000))
    write_wav(tmp_path / "long.wav", noise(20 * 16_000))
    subprocess.run([ffmpeg, "-v", "error", "-i", tmp_path / "long.wav", source / "b.m4a"], check=True)
    output = tmp_path / "labels.csv"
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        library_versions.cache_clear()
        patch.setattr("model.scoring.scorer.join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            score(run_folder, source, output)
    library_versions.cache_clear()
    rows = score(run_folder, source, output)
    assert collections.Counter(row["path"] for row in rows)["b.m4a"] in (20, 21)
    assert read(tmp_path / "labels.rejects.csv") == []
    library_versions.cache_clear()


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("policy", ["keep", "reject"])
def test_silent_recordings_are_named_or_rejected(run_folder, tmp_path, policy):
    source = tmp_path / "source"
    write_wav(source / "a.wav", noise(16_000))
    write_wav(source / "half.wav", np.concatenate([np.zeros(300 * 4_000, np.float32), noise(4_000)]), 4_000)
    write_wav(source / "long.wav", np.zeros(300 * 4_000, np.float32), 4_000)
    write_wav(source / "short.wav", np.zeros(16_000, np.float32))
    rows = score(run_folder, source, tmp_path / "labels.csv", "--silent", policy)
    windows = {"a.wav": 1, "half.wav": 301} | ({"long.wav": 300, "short.wav": 1} if policy == "keep" else {})
    assert collections.Counter(row["path"] for row in rows) == windows
    table = tmp_path / ("labels.warnings.csv" if policy == "keep" else "labels.rejects.csv")
    found = [(row["path"], row["stage"], row["reason"]) for row in read(table)]
    assert found == [("long.wav", "fit", "silent"), ("short.wav", "fit", "silent")]


def test_too_many_rejects_end_with_code_3(recordings, run_folder, tmp_path):
    arguments = ("--model", run_folder, "--input", recordings / "odd", "--output", tmp_path / "labels.csv")
    assert call("pipelines.score", *arguments, "--max-rejects", 0) == 0
    arguments = ("--model", run_folder, "--input", recordings, "--output", tmp_path / "labels2.csv")
    assert call("pipelines.score", *arguments, "--max-rejects", 1) == 3
    assert len(read(tmp_path / "labels2.csv")) > 10


def test_an_output_that_exists_is_replaced_only_when_asked(recordings, run_folder, tmp_path):
    output = tmp_path / "labels.csv"
    output.write_text("something of value")
    with pytest.raises(UsageError, match="--overwrite"):
        score(run_folder, recordings / "long.wav", output)
    assert output.read_text() == "something of value"
    assert len(score(run_folder, recordings / "long.wav", output, "--overwrite")) == 3


def test_files_all_of_which_are_rejected_give_no_csv(run_folder, tmp_path):
    (tmp_path / "source").mkdir()
    for name in ("b.wav", "a.wav"):
        (tmp_path / "source" / name).write_bytes(b"")
    with pytest.raises(RunError, match=r"every file was rejected, 2 in all; the first: a\.wav: empty") as raised:
        score(run_folder, tmp_path / "source", tmp_path / "labels.csv")
    assert raised.value.exit_code == 1
    assert not (tmp_path / "labels.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--top", 4), "--top is 1 to 3"),
        (("--top", 0), "--top"),
        (("--threshold", 1.5), "--threshold"),
        (("--threshold", "nan"), "--threshold"),
        (("--threshold", "auto"), "has none; train with validation clips, or give a probability"),
    ],
)
def test_options_without_a_meaning_are_refused(recordings, run_folder, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        score(run_folder, recordings, tmp_path / "labels.csv", *options)
    assert not list(tmp_path.iterdir())


def test_parts_that_a_kill_left_before_they_were_planned_are_removed(recordings, run_folder, tmp_path):
    """As it stands when a run is killed while it plans, which takes long for millions of files."""
    (tmp_path / "labels.csv.parts" / f"{'0a' * 32}.12-0a1b2c3d.partial").mkdir(parents=True)
    (tmp_path / "labels.csv.parts" / f"{'0a' * 32}.12-0a1b2c3d.partial" / "batches.parquet").write_bytes(b"PAR1")
    assert len(score(run_folder, recordings / "long.wav", tmp_path / "labels.csv")) == 3
    assert not (tmp_path / "labels.csv.parts").exists()


def test_parts_as_they_lay_before_jobs_had_folders_are_removed(recordings, run_folder, tmp_path):
    folder = tmp_path / "labels.csv.parts"
    folder.mkdir()
    for name in ("job.json", "batches.parquet", "network.tflite", "00000000.csv", "00000000.json",
                 "00000001.csv.12-0a1b2c3d.partial"):  # fmt: skip
        (folder / name).write_text("{}")
    assert len(score(run_folder, recordings / "long.wav", tmp_path / "labels.csv")) == 3
    assert not folder.exists()


def test_a_folder_with_other_files_in_the_place_of_the_parts_is_left_alone(recordings, run_folder, tmp_path):
    (tmp_path / "labels.csv.parts").mkdir()
    (tmp_path / "labels.csv.parts" / "thesis.txt").write_text("all of it")
    with pytest.raises(UsageError, match=r"labels\.csv\.parts is in the way"):
        score(run_folder, recordings / "long.wav", tmp_path / "labels.csv")
    assert (tmp_path / "labels.csv.parts" / "thesis.txt").read_text() == "all of it"


def test_a_second_run_labels_what_is_new_and_loads_no_beam_where_nothing_is(recordings, run_folder, tmp_path, capsys):
    source = Path(shutil.copytree(recordings / "odd", tmp_path / "source"))
    options = ("--model", run_folder, "--input", source, "--output", tmp_path / "labels.csv")
    score(run_folder, source, tmp_path / "labels.csv")
    code = (
        "import sys; from pipelines.score import main, parser\n"
        "print(main(parser().parse_args(sys.argv[1:]), []), 'apache_beam' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, options)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"
    assert "stay as they were, and none is new. No file" in done.stdout
    capsys.readouterr()
    write_wav(source / "new.wav", noise(16_000, seed=99))
    summary = tmp_path / "summary.json"
    rows = score(run_folder, source, tmp_path / "labels.csv", "--summary", summary)
    figures = json.loads(summary.read_text())
    assert (figures["kept"], figures["scored"]) == (len(rows) - 1, len(rows))
    assert "stay as they were. New or changed: 1 file, 1.0 s of audio, 1 window in" in (said := capsys.readouterr().out)
    assert " 1 new line was written. The labels" in said
    assert rows == score(run_folder, source, tmp_path / "again.csv")
