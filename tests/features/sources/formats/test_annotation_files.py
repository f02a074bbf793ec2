"""Raven's selection tables and Audacity's label tracks: what is read, of which recording, and what crowsetta reads."""

import json
import subprocess

import pytest

from features.errors import UsageError
from features.sources.formats.annotation_files import annotation_files, read_annotations
from features.sources.formats.recording_names import RecordingNames
from tests.peers.library import ENVIRONMENTS

COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Annotation",
)
ROWS = [
    (1, "Spectrogram 1", 1, 0.25, 1.5, 100.5, 4000.0, "owl"),
    (2, "Spectrogram 1", 1, 1.5, 2.75, 0.0, 8000.0, "house wren"),
]


def write(path, rows, columns=COLUMNS):
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in ([columns] if columns else []) + list(rows)))
    return str(path)


def read(path, label_column=None):
    found = read_annotations(str(path), "x.txt", label_column)
    return [(one.start_seconds, one.end_seconds, one.label) for one in found.annotations], found


def test_a_selection_table_with_two_lines_a_selection(tmp_path):
    both = [(row[0], view, *row[2:]) for row in ROWS for view in ("Waveform 1", "Spectrogram 1")]
    assert read(write(tmp_path / "x.txt", both))[0] == [(0.25, 1.5, "owl"), (1.5, 2.75, "house wren")]
    assert read(write(tmp_path / "x.txt", both))[1].notes == [
        "x.txt has 2 selections once more in another view; each counts once"
    ]


@pytest.mark.parametrize("number", ["1,5", "1.5"])
def test_a_label_track_with_lines_of_frequencies_and_points(tmp_path, number):
    rows = [
        ("0", number, "owl"),
        ("\\", "100.0", "4000.0"),
        (number, number, "click"),
        ("2", "3", "a b\x85c", "0.9"),
        ("3", "4"),
    ]
    assert read(write(tmp_path / "x.txt", rows, None))[0] == [
        (0, 1.5, "owl"), (1.5, 1.5, "click"), (2, 3, "a b\x85c"), (3, 4, None)
    ]  # fmt: skip
    assert read(write(tmp_path / "x.txt", [], None))[0] == []
    (tmp_path / "x.txt").write_bytes("\ufeff0\t1\tü\r\n1\t2\tö\r\n".encode("utf-16-le"))
    assert read(tmp_path / "x.txt")[0] == [(0, 1, "ü"), (1, 2, "ö")]


def test_the_column_of_labels(tmp_path):
    species = (*COLUMNS[:-1], "Species")
    assert read(write(tmp_path / "x.txt", ROWS, species))[0][0][2] == "owl"
    both = write(tmp_path / "x.txt", [(*row, "Strix") for row in ROWS], (*species, "Label"))
    with pytest.raises(UsageError, match="has the columns 'Species' and 'Label'"):
        read(both)
    assert read(both, "Label")[0][0][2] == "Strix"
    neither = write(tmp_path / "x.txt", ROWS, (*COLUMNS[:-1], "Vogel"))
    with pytest.raises(UsageError, match=r"has none of 'Annotation', .*--label-column names one of .*'Vogel'"):
        read(neither)
    assert read(neither, "Vogel")[0][0][2] == "owl"
    with pytest.raises(UsageError, match="has no column 'Art'"):
        read(neither, "Art")
    assert read(write(tmp_path / "x.txt", [], (*COLUMNS[:-1], "Vogel")))[0] == []


def test_a_table_of_several_recordings_has_the_times_of_each(tmp_path):
    columns = (*COLUMNS, "Begin File", "File Offset (s)")
    rows = [(*ROWS[0], "a.wav", 0.25), (3, "Spectrogram 1", 1, 70, 71, 0, 1, "frog", "b.wav", 10)]
    found, file = read(write(tmp_path / "x.txt", rows, columns))
    assert found == [(0.25, 1.5, "owl"), (10, 11, "frog")]
    assert [one.named for one in file.annotations] == [("", "a.wav"), ("", "b.wav")]
    with pytest.raises(UsageError, match=r"names several recordings in 'Begin File' and has no 'File Offset \(s\)'"):
        read(write(tmp_path / "x.txt", [row[:-1] for row in rows], columns[:-1]))
    assert read(write(tmp_path / "x.txt", [rows[0][:-1]], columns[:-1]))[0] == [(0.25, 1.5, "owl")]


@pytest.mark.parametrize(
    ("file", "recording"),
    [
        ("a.txt", "a.wav"),
        ("a.wav.txt", "a.wav"),
        ("a.Table.1.selections.txt", "a.wav"),
        ("a.Table.12.selections.txt", "a.wav"),
        ("a.selections.txt", "a.wav"),
        ("a.BirdNET.selection.table.txt", "a.wav"),
        ("a.BirdNET.results.txt", "a.wav"),
        ("a.tsv", "a.wav"),
        ("elsewhere/a.txt", "a.wav"),
        ("deep/b.c.selections.txt", "deep/b.c.flac"),
        ("b.c.txt", "deep/b.c.flac"),
        ("two/x.txt", "two/x.wav"),
        ("labels/deep/b.c.txt", "deep/b.c.flac"),
        ("three/b.c.txt", None),
        ("three/x.txt", None),
        ("u\u0308.txt", "\u00fc.wav"),
        ("both.flac.txt", "both.flac"),
        ("gone.txt", None),
        ("b.txt", None),
    ],
)
def test_a_file_is_named_after_its_recording(file, recording):
    names = RecordingNames(
        "/r", ["a.wav", "deep/b.c.flac", "one/x.wav", "two/x.wav", "\u00fc.wav", "both.wav", "both.flac"]
    )
    assert names.of_file(file) == recording


@pytest.mark.parametrize("file", ["x.txt", "both.txt"])
def test_a_file_that_may_be_of_two_recordings_is_refused(file):
    names = RecordingNames("/r", ["one/x.wav", "two/x.wav", "both.wav", "both.flac"])
    with pytest.raises(UsageError, match=f"{file} may be of "):
        names.of_file(file)


@pytest.mark.parametrize(
    ("path", "file", "recording"),
    [
        ("/r/one/x.wav", "", "one/x.wav"),
        ("/mnt/other/two/x.wav", "x.wav", "two/x.wav"),
        ("D:\\field\\two\\x.wav", "", "two/x.wav"),
        ("", "a.wav", "a.wav"),
        ("/mnt/A.WAV", "a.wav", "a.wav"),
        ("", "a.flac", "a.wav"),
        ("", "gone.wav", None),
    ],
)
def test_a_row_names_its_recording(path, file, recording):
    names = RecordingNames("/r", ["one/x.wav", "two/x.wav", "a.wav"])
    assert names.of_row(path, file, "t.txt, line 2") == recording


def test_a_row_that_may_be_of_two_recordings_is_refused():
    with pytest.raises(UsageError, match=r"t\.txt, line 2 may be of one/x\.wav or of two/x\.wav"):
        RecordingNames("/r", ["one/x.wav", "two/x.wav"]).of_row("/mnt/x.wav", "x.wav", "t.txt, line 2")


def test_the_files_of_a_folder(tmp_path):
    for name in ("b.txt", "a/c.TXT", ".hidden.txt", "d.wav", ".x/e.txt", "f.tsv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [name for _, name in annotation_files(str(tmp_path))] == ["b.txt", "f.tsv", "a/c.TXT"]


READ = """
import json, pathlib, shutil
import crowsetta
# Files of people that come with crowsetta, beside those that the test has written.
examples = pathlib.Path(crowsetta.__file__).parent / "examples"
for name, copy in (("Recording_1_Segment_02.Table.1.selections.txt", "species.txt"), ("spinetail.txt", "spinetail.txt"),
                   ("405_marron1_June_14_2016_69640887.audacity.txt", "marron.txt")):
    shutil.copy(examples / name, copy)
raven, box = crowsetta.formats.bbox.Raven, crowsetta.formats.bbox.AudBBox
seq = crowsetta.formats.seq.AudSeq
found = {"raven": raven.from_file("raven.txt").to_bbox()}
found["species"] = raven.from_file("species.txt", "Species").to_bbox()
for name in ("box", "spinetail"):
    found[name] = box.from_file(f"{name}.txt").to_bbox()
    box.from_file(f"{name}.txt").to_file(f"{name}-written.txt")
said = {name: [[one.onset, one.offset, one.label] for one in boxes] for name, boxes in found.items()}
for name in ("seq", "marron"):
    read = seq.from_file(f"{name}.txt")
    read.to_file(f"{name}-written.txt")
    read = read.to_seq(round_times=False)
    said[name] = [list(row) for row in zip(map(float, read.onsets_s), map(float, read.offsets_s), read.labels)]
print(json.dumps(said))
"""


@pytest.mark.trial
@pytest.mark.peers("crowsetta")
def test_crowsetta_reads_the_same_and_what_it_writes_is_read(tmp_path):
    write(tmp_path / "raven.txt", ROWS)
    write(tmp_path / "seq.txt", [(row[3], row[4], row[7]) for row in ROWS], None)
    write(
        tmp_path / "box.txt",
        [line for row in ROWS for line in ((row[3], row[4], row[7]), ("\\", row[5], row[6]))],
        None,
    )
    python = ENVIRONMENTS / "crowsetta" / "bin" / "python"
    result = subprocess.run([python, "-I", "-c", READ], cwd=tmp_path, capture_output=True, text=True, check=True)
    theirs = json.loads(result.stdout)
    written = [f"{name}-written" for name in ("box", "seq", "spinetail", "marron")]
    assert len(theirs["species"]) > 5 and len(theirs["spinetail"]) > 10 and len(theirs["marron"]) > 50
    for name in [*theirs, *written]:
        assert [list(one) for one in read(tmp_path / f"{name}.txt")[0]] == theirs[name.removesuffix("-written")]
