"""Raven's selection tables and Audacity's label tracks, read back by plain rules and by other programs."""

import json
import os
import subprocess
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest

from features.errors import UsageError
from model.labels.events import EVENTS_SCHEMA, EventRules, find_events
from model.labels.labels import LabelRules, labels_table
from model.labels.recording_lines import RecordingLines
from model.labels.selection_tables import (
    SelectionForm,
    SelectionTables,
    check_selection_forms,
    selection_file,
)
from model.labels.table_output import TableOutput
from model.labels.window_rows import WindowRows
from tests.peers.library import ENVIRONMENTS

CLASSES = ("house wren", 'a "b" c', "owl\tlong", '"quoted"', "Ünal")


def rows_of(counts, seed=0, hop=0.5):
    """Returns windows of recordings, with a class that stands out in each."""
    generator = np.random.default_rng(seed)
    total = sum(counts.values())
    probabilities = generator.random((total, len(CLASSES))).astype(np.float32) * 0.4
    probabilities[np.arange(total), generator.integers(0, len(CLASSES), total)] = 0.9
    start = np.concatenate([np.arange(count) * hop for count in counts.values()]) if counts else np.empty(0)
    return WindowRows(list(counts), np.array([*counts.values()], np.int64), start, start + 1.0, probabilities)


def events_table(rows):
    rules = EventRules(CLASSES, (0.5,) * len(CLASSES))
    found = find_events(rows.counts, rows.start_seconds, rows.end_seconds, rows.probabilities, rules)
    return found.to_table(rows.paths, CLASSES)


def write(folder, name, rows, lines=events_table, pieces=1):
    """Writes the files of a folder; the windows come in pieces that are cut anywhere."""
    form = SelectionForm(name, "/sound", 8000.0)
    with RecordingLines(lines, None, [SelectionTables(str(folder), form)]) as output:
        for piece in cut(rows, pieces):
            output.write(piece)
        output.complete()
        output.finish()
    return output


def cut(rows, pieces):
    bounds = np.linspace(0, len(rows), pieces + 1).round().astype(int)
    for begin, end in pairwise(bounds):
        counts = np.bincount(rows.recordings[begin:end], minlength=len(rows.paths))
        yield WindowRows(rows.paths, counts, rows.start_seconds[begin:end], rows.end_seconds[begin:end],
                         rows.probabilities[begin:end])  # fmt: skip


def read(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def cells(content):
    return [line.split("\t") for line in content.decode().splitlines()]


@pytest.mark.parametrize("lines", [events_table, lambda rows: labels_table(rows, LabelRules(CLASSES, 2))])
def test_each_recording_has_a_file_that_holds_its_lines(tmp_path, lines):
    rows = rows_of({"a.flac": 7, "a.wav": 1, "b/c.wav": 12})
    table = lines(rows).to_pylist()
    write(tmp_path / "raven", "raven", rows, lines)
    write(tmp_path / "audacity", "audacity", rows, lines)
    names = {"a.flac.txt": "a.flac", "a.wav.txt": "a.wav", "b/c.wav.txt": "b/c.wav"}
    raven, audacity = read(tmp_path / "raven"), read(tmp_path / "audacity")
    assert set(raven) == set(audacity) == set(names)
    for name, path in names.items():
        wanted = [row for row in table if row["path"] == path]
        labels = [row["label"].replace("\t", " ").replace('"quoted"', "'quoted\"") for row in wanted]
        spans = [(row["start_seconds"], row["end_seconds"]) for row in wanted]
        header, *found = cells(raven[name])
        columns = dict(zip(header, zip(*found, strict=True), strict=True))
        assert columns["Selection"] == tuple(str(number + 1) for number in range(len(wanted)))
        assert (
            list(zip(map(float, columns["Begin Time (s)"]), map(float, columns["End Time (s)"]), strict=True)) == spans
        )
        assert list(map(float, columns["File Offset (s)"])) == [start for start, _ in spans]
        assert set(columns["Begin Path"]) == {f"/sound/{path}"}
        assert (set(columns["Low Freq (Hz)"]), set(columns["High Freq (Hz)"])) == ({"0.0"}, {"8000.0"})
        assert list(columns["Annotation"]) == labels
        number = "peak_probability" if "peak_probability" in table[0] else "probability"
        title = number.replace("_", " ").title()
        assert [float(value) for value in columns[title]] == [round(row[number], 6) for row in wanted]
        assert [(float(start), float(end)) for start, end, _ in cells(audacity[name])] == spans
        assert [label for *_, label in cells(audacity[name])] == labels


def test_files_do_not_depend_on_the_pieces_and_a_recording_without_events_has_one(tmp_path):
    rows = rows_of({"a.wav": 40, "b.wav": 1, "c.wav": 3, "d.wav": 30})
    rows.probabilities[41:44] = 0.1
    whole = write(tmp_path / "whole", "raven", rows)
    for pieces in (2, 5, 74):
        cut_up = write(tmp_path / str(pieces), "raven", rows, pieces=pieces)
        assert read(tmp_path / str(pieces)) == read(tmp_path / "whole")
        assert cut_up.counts == whole.counts == {name: whole.counts[name] for name in CLASSES}
    assert len(cells(read(tmp_path / "whole")["c.wav.txt"])) == 1
    write(tmp_path / "tracks", "audacity", rows)
    assert read(tmp_path / "tracks")["c.wav.txt"] == b""


def test_the_table_of_events_has_the_rows_of_the_function_whatever_the_pieces(tmp_path):
    rows = rows_of({"a.wav": 40, "b.wav": 1, "c.wav": 3, "d.wav": 30}, seed=3)
    expected = events_table(rows)
    for pieces in (1, 3, 74):
        with RecordingLines(events_table, TableOutput(tmp_path / f"{pieces}.parquet", EVENTS_SCHEMA), []) as output:
            for piece in cut(rows, pieces):
                output.write(piece)
            output.complete()
            output.finish()
        assert pq.read_table(tmp_path / f"{pieces}.parquet").equals(expected)


def test_no_two_recordings_share_a_file_and_none_leaves_the_folder(tmp_path):
    paths = ["a", "a.txt/b", "a.txt", "a.txt.txt", "a.txt.txt/b", "../a", "/a", "./a", "s3://k/a", "x" * 250, "x" * 251,
             "ü" * 120 + "/" + "ü" * 121, "a\\\\b", "\\xff", "..", "b/.."]  # fmt: skip
    names = [selection_file(path) for path in paths]
    assert len({name.lower() for name in names}) == len(paths)
    write(tmp_path / "tables", "raven", rows_of(dict.fromkeys(paths, 1)))
    assert set(read(tmp_path / "tables")) == set(names)
    assert os.listdir(tmp_path) == ["tables"]
    for path in ("a.wav", "site 1/2024-05-01/a.b.WAV", "ü.txt"):
        assert selection_file(path) == path + ".txt"


def test_an_older_folder_gets_what_is_new_keeps_what_stays_and_loses_what_left(tmp_path):
    folder = tmp_path / "tables"
    write(folder, "raven", rows_of({"a/x.wav": 2, "b/y.wav": 2, "c.wav": 3}))
    before = read(folder)
    (folder / "notes.md").write_text("mine")
    with SelectionTables(str(folder), SelectionForm("raven", "/sound", 8000.0)) as tables:
        tables.keep(["a/x.wav"])
        rows = rows_of({"c.wav": 5, "d/z.wav": 1}, seed=5)
        tables.append(rows.paths, events_table(rows))
        assert read(folder) == before | {"notes.md": b"mine"}
        tables.finish()
    after = read(folder)
    assert set(after) == {"a/x.wav.txt", "c.wav.txt", "d/z.wav.txt", "notes.md"}
    assert after["a/x.wav.txt"] == before["a/x.wav.txt"]
    assert after["c.wav.txt"] != before["c.wav.txt"]
    assert not (folder / "b").exists()


def test_nothing_is_left_of_files_that_are_not_finished(tmp_path):
    rows = rows_of({"a.wav": 3, "b.wav": 1})
    folder = SelectionTables(str(tmp_path / "tables"), SelectionForm("raven", "/sound", 8000.0))
    output = RecordingLines(events_table, TableOutput(tmp_path / "events.csv", EVENTS_SCHEMA), [folder])
    assert os.listdir(tmp_path) == []
    with pytest.raises(RuntimeError), output:
        output.write(rows)
        assert os.listdir(tmp_path)
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_a_path_that_is_not_utf_8_is_written_as_tables_have_it(tmp_path):
    write(tmp_path / "tables", "raven", rows_of({"a\\xff.wav": 1}))
    [(name, content)] = read(tmp_path / "tables").items()
    assert name == "a\\xff.wav.txt"
    assert "/sound/a\\xff.wav" in cells(content)[1]


def test_columns_that_are_kept_have_titles_of_their_own():
    header = SelectionForm("raven", "/root", 8_000).header(["windows", "Channel", "Windows", "site"])
    titles = header.rstrip("\n").split("\t")
    assert titles[-4:] == ["Windows", "Channel of the recording", "Windows of the recording", "site"]
    assert len(set(titles)) == len(titles)


def test_forms_that_there_are_not_are_refused():
    check_selection_forms(["audacity", "raven"])
    with pytest.raises(UsageError, match="one of raven, audacity, not 'praat'"):
        check_selection_forms(["praat"])
    with pytest.raises(UsageError, match="once"):
        check_selection_forms(["raven", "raven"])


READ_BACK = """
import json, sys, crowsetta
from pathlib import Path
found = {}
for path in sorted(Path("raven").rglob("*.txt")):
    boxes = crowsetta.formats.bbox.Raven.from_file(path).to_bbox()
    track = crowsetta.formats.seq.AudSeq.from_file(Path("audacity", *path.parts[1:])).to_seq(round_times=False)
    found[str(Path(*path.parts[1:]))] = [
        [[box.onset, box.offset, box.low_freq, box.high_freq, box.label] for box in boxes],
        [list(map(float, track.onsets_s)), list(map(float, track.offsets_s)), list(track.labels)],
    ]
print(json.dumps(found))
"""


@pytest.mark.trial
@pytest.mark.peers("crowsetta")
def test_crowsetta_reads_back_what_was_written(tmp_path):
    rows = rows_of({"a.flac": 7, "a.wav": 1, "b/c.wav": 12})
    for name in ("raven", "audacity"):
        write(tmp_path / name, name, rows)
    python = ENVIRONMENTS / "crowsetta" / "bin" / "python"
    result = subprocess.run([python, "-I", "-c", READ_BACK], cwd=tmp_path, capture_output=True, text=True, check=True)
    table = events_table(rows).to_pylist()
    found = json.loads(result.stdout)
    assert set(found) == {"a.flac.txt", "a.wav.txt", "b/c.wav.txt"}
    for path, (boxes, track) in found.items():
        wanted = [row for row in table if f"{row['path']}.txt" == path]
        expected = [[row["start_seconds"], row["end_seconds"],
                     row["label"].replace("\t", " ").replace('"quoted"', "'quoted\"")] for row in wanted]  # fmt: skip
        assert [[box[0], box[1], box[4]] for box in boxes] == expected
        assert {(box[2], box[3]) for box in boxes} == {(0.0, 8000.0)}
        assert [list(line) for line in zip(*track, strict=True)] == expected


def test_an_object_store_has_the_same_files_and_loses_those_of_recordings_that_left(tmp_path, s3):
    rows = rows_of({"a/x.wav": 2, "../y.wav": 2, "/z/ü.wav": 3, "a/b\\\\c\\xff.wav": 1})
    write(tmp_path / "tables", "raven", rows)
    write(f"{s3.uri}/labels.raven", "raven", rows_of({"old.wav": 1, "a/x.wav": 1}))
    write(f"{s3.uri}/labels.raven", "raven", rows)
    assert read(s3.folder / "labels.raven") == read(tmp_path / "tables")
