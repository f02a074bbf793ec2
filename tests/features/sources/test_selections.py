"""Tables of selections as Raven writes them."""

import pytest

from features.errors import UsageError
from features.sources.table import scan_table
from features.sources.table_layout import TableLayout
from tests.signals import sine, write_wav

RATE = 16_000
RAVEN = TableLayout(path_column="Begin File", label_column="Species", start_column="Begin Time (s)",
                    end_column="End Time (s)")  # fmt: skip
BY_OFFSET = TableLayout(path_column="Begin File", label_column="Species", start_column="File Offset (s)",
                        duration_column="Delta Time (s)")  # fmt: skip
COLUMNS = ("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Begin File", "File Offset (s)",
           "Delta Time (s)", "Species")  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name, sine(440, 10 * RATE))
    return tmp_path


def table(folder, *rows):
    path = folder / "selections.txt"
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in (COLUMNS, *rows)))
    return str(path)


def selection(number, view, begin, end, file, offset, species):
    return number, view, 1, begin, end, file, offset, round(end - begin, 3), species


def clips_of(source):
    names = ("path", "start", "duration", "label")
    return list(zip(*(source.clips[name].to_pylist() for name in names), strict=True))


ONE_FILE = [(1, 0.5, 1.5, "a.wav", 0.5, "owl"), (2, 3.0, 4.0, "a.wav", 3.0, "frog")]


@pytest.mark.parametrize(
    "views", [("Waveform 1", "Spectrogram 1"), ("Spectrogram 1",), ("Spectrogram 1", "Spectrogram 2")]
)
def test_a_selection_in_several_views_is_one(folder, views):
    rows = [selection(number, view, *rest) for number, *rest in ONE_FILE for view in views]
    source = scan_table(table(folder, *rows), RAVEN)
    assert clips_of(source) == [("a.wav", 8_000, 16_000, "owl"), ("a.wav", 48_000, 16_000, "frog")]
    repeated = 2 * (len(views) - 1)
    said = [note for note in source.notes if "view" in note]
    assert said == ([f"selections.txt has {repeated} selections once more in another view; each counts once"]
                    if repeated else [])  # fmt: skip


@pytest.mark.parametrize(
    "second",
    [
        pytest.param((1, "Spectrogram 1", 0.5, 1.5, "a.wav", 0.5, "owl"), id="twice in one view"),
        pytest.param((2, "Waveform 1", 0.5, 1.5, "a.wav", 0.5, "owl"), id="another number"),
        pytest.param((1, "Waveform 1", 0.5, 1.5, "a.wav", 0.5, "frog"), id="another label"),
    ],
)
def test_what_is_no_other_view_of_it_is_a_second_clip(folder, second):
    first = (1, "Spectrogram 1", 0.5, 1.5, "a.wav", 0.5, "owl")
    with pytest.raises(UsageError, match=r"twice a\.wav in lines 2 and 3"):
        scan_table(table(folder, selection(*first), selection(*second)), RAVEN)


# Two files of ten seconds, opened as one sound.
SEQUENCE = [selection(1, "Spectrogram 1", 2.0, 3.0, "a.wav", 2.0, "owl"),
            selection(2, "Spectrogram 1", 12.5, 13.0, "b.wav", 2.5, "frog")]  # fmt: skip


@pytest.mark.parametrize(
    "layout",
    [
        RAVEN,
        TableLayout(path_column="Begin File", label_column="Species", start_column="Begin Time (s)"),
        TableLayout(path_column="Begin File", label_column="Species", start_column="File Offset (s)",
                    end_column="End Time (s)"),
    ],
)  # fmt: skip
def test_times_of_a_sound_of_several_files_are_not_taken_for_times_of_the_files(folder, layout):
    with pytest.raises(
        UsageError, match=r"line 3: .* give --start-column 'File Offset \(s\)' --duration-column 'Delta"
    ):
        scan_table(table(folder, *SEQUENCE), layout)


def test_the_way_out_finds_them(folder):
    source = scan_table(table(folder, *SEQUENCE), BY_OFFSET)
    assert clips_of(source) == [("a.wav", 32_000, 16_000, "owl"), ("b.wav", 40_000, 8_000, "frog")]


@pytest.mark.parametrize(
    "layout", [TableLayout(path_template="{Selection}_{View}.wav"), TableLayout(label_column="View")]
)
@pytest.mark.parametrize("labelled", [True, False])
def test_a_view_that_says_what_a_clip_is_makes_no_row_another_one(folder, layout, labelled):
    rows = [(number, view, "x") for number in (1, 2) for view in "AB"]
    for number, view, _ in rows:
        write_wav(folder / f"{number}_{view}.wav", sine(440, RATE))
    lines = [f"{number},{view},{label},{number}_{view}.wav" for number, view, label in rows]
    (folder / "v.csv").write_text("\n".join(["Selection,View,label,path", *lines, ""]))
    source = scan_table(str(folder / "v.csv"), layout, labelled=labelled)
    assert source.clips["path"].to_pylist() == ["1_A.wav", "1_B.wav", "2_A.wav", "2_B.wav"]


def test_columns_that_nobody_asked_for_may_hold_anything(folder):
    (folder / "t.jsonl").write_text('{"path": "a.wav", "label": "x", "View": {"a": 1}, "Selection": [1]}\n')
    assert scan_table(str(folder / "t.jsonl"), TableLayout()).clips["path"].to_pylist() == ["a.wav"]


@pytest.mark.parametrize("offset", ["", "n/a"])
def test_an_offset_that_is_no_number_says_nothing(folder, offset):
    row = (1, "Spectrogram 1", 1, 0.5, 1.5, "a.wav", offset, 1.0, "owl")
    assert clips_of(scan_table(table(folder, row), RAVEN)) == [("a.wav", 8_000, 16_000, "owl")]
