"""Tables as field tools and spreadsheets write them: separators, decimal signs, ends of clips, rows that are wrong."""

import json
import os
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import NothingUsableError, Reason, UsageError
from features.io.csv_text import csv_lines
from features.sources.paths import clip_file, csv_path, escape_path
from features.sources.table import list_clips, scan_table
from features.sources.table_layout import TableLayout
from features.sources.table_rows import read_rows
from tests.signals import noise, sine, write_wav

DEFAULT = TableLayout()
RATE_HZ = 8_000
RAVEN = TableLayout(path_column="Begin File", label_column="Species", start_column="Begin Time (s)",
                    end_column="End Time (s)")  # fmt: skip
RAVEN_LINES = [
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tBegin File\tSpecies",
    "1\tSpectrogram 1\t1\t0.500000000\t1.500000000\t100.0\tr.wav\tlow",
    "2\tSpectrogram 1\t1\t6.000000000\t6.900000000\t100.0\tr.wav\thigh",
]


@pytest.fixture
def root(tmp_path):
    """A recording of ten seconds and two short ones."""
    write_wav(tmp_path / "r.wav", noise(10 * RATE_HZ, seed=1), RATE_HZ)
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name, sine(440, 80), RATE_HZ)
    return tmp_path


def write(path, *lines, newline="\n", encoding="utf-8"):
    path.write_bytes(newline.join([*lines, ""]).encode(encoding))
    return str(path)


def column(source, name):
    return source.clips[name].to_pylist()


def places(source):
    """Where clips begin and end, in seconds, with their labels."""
    rows = [(row["start"], row["start"] + row["duration"], row["label"]) for row in source.clips.to_pylist()]
    return [(start / RATE_HZ, end / RATE_HZ, label) for start, end, label in rows]


def rejects_of(source):
    return [(reject.path, reject.reason, reject.message) for reject in source.rejects]


@pytest.mark.parametrize("ending", [".txt", ".tsv", ".csv", ".TXT"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_selections_as_raven_writes_them(root, ending, decimal):
    first, *others = RAVEN_LINES
    lines = [first, *(line.replace(".", decimal).replace(f"{decimal}wav", ".wav") for line in others)]
    source = list_clips(write(root / f"t{ending}", *lines), RAVEN, labelled=True)
    assert places(source) == [(0.5, 1.5, "low"), (6.0, 6.9, "high")]
    assert source.rejects == []
    assert source.columns == {
        "path": "Begin File", "label": "Species", "start": "Begin Time (s)", "end": "End Time (s)"
    }  # fmt: skip


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("labelled", [True, False])
def test_the_separator_is_the_one_that_the_names_of_the_columns_have(root, ending, separator, encoding, labelled):
    rows = [["path", "label", "note"], ["b.wav", "x", '"a ""quoted"", one;\tof all"'], ["a.wav", "ä", ""]]
    lines = [separator.join(row) for row in rows]
    source = list_clips(write(root / f"t{ending}", "", *lines, encoding=encoding), DEFAULT, labelled)
    assert column(source, "path") == ["a.wav", "b.wav"]
    assert column(source, "label") == (["ä", "x"] if labelled else [None, None])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ":"])
@pytest.mark.parametrize("first", ["sep={}", '"sep={}"', "SEP={}"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_first_line_says_the_separator(root, separator, first, newline):
    lines = [first.format(separator), f'path{separator}"label, or; so"', f"a.wav{separator}x", f"none.wav{separator}y"]
    table = write(root / "t.csv", *lines, newline=newline)
    source = scan_table(table, TableLayout(label_column="label, or; so"))
    assert (column(source, "path"), column(source, "label")) == (["a.wav"], ["x"])
    assert source.rejects[0].message.startswith("t.csv, line 4: ")


def test_the_separator_of_the_ending_comes_first_and_of_two_others_the_user_decides(root):
    lines = ["path,a;b\tc,label", "a.wav,1;2\t3,x"]
    assert column(scan_table(write(root / "t.csv", *lines), DEFAULT), "label") == ["x"]
    with pytest.raises(UsageError, match=r"t\.csv has semicolons and tabs in the line with .* a first line sep=;"):
        scan_table(write(root / "t.csv", "path;label\tspecies", "a.wav;x\ty"), DEFAULT)
    source = scan_table(write(root / "t.csv", "sep=;", "path;label\tspecies", "a.wav;x\ty"),
                        TableLayout(label_column="label\tspecies"))  # fmt: skip
    assert column(source, "label") == ["x\ty"]
    message = r"no column 'path'; --path-column names one of 'path;label', 'note'; it was read with a comma .*sep=;"
    with pytest.raises(UsageError, match=message):
        scan_table(write(root / "t.csv", "path;label,note", "a.wav;x,y"), DEFAULT)


def test_a_label_track_without_names_of_columns_is_told_what_it_lacks(root):
    track = ["0.500000\t1.500000\tlow", "\\\t100.000000\t2000.000000", "6,000000\t6,900000\thigh"]
    for lines in (track, track[::-1]):
        with pytest.raises(
            UsageError, match=r"rather values, as in label tracks of Audacity: put a line with the names"
        ):
            scan_table(write(root / "t.txt", *lines), DEFAULT)
    layout = TableLayout(start_column="start", end_column="end")
    named = ["start\tend\tlabel\tpath", *(f"{line}\tr.wav" for line in track)]
    assert places(scan_table(write(root / "t.txt", *named), layout)) == [(0.5, 1.5, "low"), (6.0, 6.9, "high")]


def test_space_around_the_names_of_columns_is_not_of_them_unless_it_is_asked_for(root):
    table = write(root / "t.csv", "path, label ,fold ", "a.wav, x,1")
    source = scan_table(table, DEFAULT)
    assert (column(source, "label"), column(source, "partition")) == (["x"], ["fold-1"])
    assert read_rows(table, [" label "]).values == {" label ": [" x"]}


@pytest.mark.parametrize("empty", [",", " , ", ",,,", '"",'])
def test_rows_of_empty_fields_are_no_rows(root, empty):
    source = scan_table(write(root / "t.csv", "path,label", "a.wav,x,,", empty, "none.wav,y", empty, empty), DEFAULT)
    assert (column(source, "path"), column(source, "label")) == (["a.wav"], ["x"])
    assert rejects_of(source) == [("none.wav", Reason.MISSING, "t.csv, line 4: No such file or directory")]


def test_separators_at_the_end_of_a_line_name_no_column(root):
    source = scan_table(write(root / "t.csv", "path;label;;", "a.wav;x", "b.wav;y;;;", "r.wav;z;note"), DEFAULT)
    assert (column(source, "path"), column(source, "label")) == (["a.wav", "b.wav", "r.wav"], ["x", "y", "z"])
    source = scan_table(write(root / "t.csv", "path;label;;", "a.wav;x", "b.wav", "r.wav;z;;;note"), DEFAULT)
    assert [(path, message[:45]) for path, _, message in rejects_of(source)] == [
        ("t.csv, line 3", "a row has a field for each of the 2 columns, "),
        ("t.csv, line 4", "a row has a field for each of the 2 columns, "),
    ]
    source = scan_table(write(root / "t.csv", "label;", "x;a.wav", "y"), TableLayout(path_column=""))
    assert (column(source, "path"), len(source.rejects)) == (["a.wav"], 1)


@pytest.mark.parametrize(("text", "fold"), [("1.0", 1), (" 02.00 ", 2), ("10,0", 10)])
def test_folds_that_a_column_of_decimal_numbers_has(root, text, fold):
    lines = ["path;label;fold", f"a.wav;x;{text}"]
    assert column(scan_table(write(root / "t.csv", *lines), DEFAULT), "partition") == [f"fold-{fold}"]


@pytest.mark.parametrize("text", ["1.5", "1.05", "1.0.0", "1.", ".0", "v1.0"])
def test_other_numbers_are_no_folds(root, text):
    with pytest.raises(UsageError, match=f"line 2: a partition is .* but 'fold' is '{text}'"):
        scan_table(write(root / "t.csv", "path,label,fold", f"a.wav,x,{text}"), DEFAULT)


def test_a_clip_ends_at_the_sample_nearest_to_its_end(root):
    """Clips that adjoin in seconds adjoin in samples, whatever their durations are rounded to."""
    ends = np.cumsum(np.random.default_rng(5).uniform(0.001, 0.01, 50))
    starts = [0, *ends[:-1]]
    lines = [f"r.wav,x,{start:.9f},{end:.9f}" for start, end in zip(starts, ends, strict=True)]
    layout = TableLayout(start_column="from", end_column="to")
    source = scan_table(write(root / "t.csv", "path,label,from,to", *lines), layout)
    begin, frames = np.array(column(source, "start")), np.array(column(source, "duration"))
    assert np.array_equal(begin, np.round(np.array(starts) * RATE_HZ))
    assert np.array_equal((begin + frames)[:-1], begin[1:])
    alone = scan_table(write(root / "u.csv", "path,label,to", "r.wav,x,0.5"), TableLayout(end_column="to"))
    assert places(alone) == [(0, 0.5, "x")]
    tiny = scan_table(write(root / "v.csv", "path,label,from,to", "r.wav,x,1,1.000001"), layout)
    assert (column(tiny, "start"), column(tiny, "duration")) == ([8_000], [1])


def test_an_end_and_a_duration_exclude_each_other():
    with pytest.raises(UsageError, match="--end-column or --duration-column, not both"):
        TableLayout(end_column="a", duration_column="b")


@pytest.mark.parametrize("text", ["", " ", "x", "-1", "-0.11", "nan", "inf", "1e999", "0:30", "1,5,0", "1.234,5"])
@pytest.mark.parametrize("role", ["start", "end", "duration"])
def test_a_row_whose_time_is_none_is_a_reject(root, role, text):
    table = write(root / "t.csv", "path,label,t", "a.wav,x,0.001", f'b.wav,y,"{text}"', "r.wav,x,0.001")
    source = scan_table(table, TableLayout(**{f"{role}_column": "t"}))
    assert column(source, "path") == ["a.wav", "r.wav"]
    (reject,) = source.rejects
    assert (reject.path, reject.stage, reject.reason, reject.label) == ("b.wav", "scan", Reason.BAD_ROW, "y")
    assert reject.message.startswith(f"t.csv, line 3: the {role} is a number of seconds ")
    assert repr(text) in reject.message


@pytest.mark.parametrize("end", ["1", "0.5", "0"])
def test_an_end_is_above_the_start(root, end):
    lines = ["path,label,from,to", f"r.wav,x,1,{end}", "r.wav,y,1,2"]
    source = scan_table(write(root / "t.csv", *lines), TableLayout(start_column="from", end_column="to"))
    assert places(source) == [(1, 2, "y")], "the row that is wrong takes no clip's place"
    assert rejects_of(source) == [
        ("r.wav", Reason.BAD_ROW, f"t.csv, line 2: the end is a number of seconds above the start, but 'to' is '{end}'")
    ]


@pytest.mark.parametrize("text", ["-0.02", "-0,1", "-1e-12", "-0.0", "0"])
def test_a_start_a_little_before_the_recording_is_its_beginning(root, text):
    table = write(root / "t.csv", "path;label;from;to", f"r.wav;x;{text};0.5")
    assert places(scan_table(table, TableLayout(start_column="from", end_column="to"))) == [(0, 0.5, "x")]


def test_a_comma_is_a_decimal_sign_unless_it_may_be_of_thousands(root):
    lines = ["path\tlabel\tt", "r.wav\tx\t0,5", "r.wav\tx\t1,234", "r.wav\tx\t2", "r.wav\tx\t0,750"]
    layout = TableLayout(start_column="t")
    assert column(scan_table(write(root / "t.tsv", *lines), layout), "start") == [4_000, 6_000, 9_872, 16_000]
    source = scan_table(write(root / "t.tsv", *lines, "r.wav\tx\t3.5"), layout)
    assert column(source, "start") == [4_000, 6_000, 16_000, 28_000]
    assert [reject.message for reject in source.rejects] == [
        "t.tsv, line 3: the start is a number of seconds not below 0, but 't' is '1,234'"
    ]


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (",x", "a row names a file, but 'path' is empty"),
        (" ,x", "a row names a file, but 'path' is empty"),
        ("b.wav", "a row has a field for each of the 2 columns, not 1; put fields that hold"),
        ("b.wav,x,y", "a row has a field for each of the 2 columns, not 3; put fields that hold"),
        ("b\0.wav,x", "no file can have the name 'b\\x00.wav'"),
    ],
)
def test_one_row_that_names_no_file_is_a_reject_and_not_the_end(root, row, fault, labelled):
    source = list_clips(write(root / "t.csv", "path,label", "a.wav,x", row, "b.wav,y", row), DEFAULT, labelled)
    assert column(source, "path") == ["a.wav", "b.wav"]
    assert [(path, reason) for path, reason, _ in rejects_of(source)] == [
        ("t.csv, line 3", Reason.BAD_ROW), ("t.csv, line 5", Reason.BAD_ROW)
    ]  # fmt: skip
    assert all(message.startswith(fault) for _, _, message in rejects_of(source))


def test_rows_of_json_that_name_no_file(root):
    rows = [{"path": "a.wav", "label": "x"}, {"path": None, "label": "x"}, {"path": "\ud800", "label": "x"}]
    source = scan_table(write(root / "t.jsonl", *map(json.dumps, rows)), DEFAULT)
    assert column(source, "path") == ["a.wav"]
    assert [path for path, _, _ in rejects_of(source)] == ["t.jsonl, line 2", "t.jsonl, line 3"]


def test_where_every_row_is_wrong_nothing_is_usable(root):
    with pytest.raises(
        NothingUsableError, match=r"all 2 rows were rejected; the first: t\.csv, line 2: bad_row"
    ) as error:
        scan_table(write(root / "t.csv", "path,label,t", "a.wav,0,5,x", "b.wav,1,5,x"), TableLayout(start_column="t"))
    assert len(error.value.rejects) == 2


PIECES = (
    b"a",
    b"\\",
    b"\\\\",
    b"\\x",
    b"41",
    b"e9",
    b"\xe9",
    "é".encode(),
    b"=",
    b"+",
    b"'",
    b" ",
    b",",
    b'"',
    b"\n",
    b"\r",
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map(b"".join), st.booleans(), st.booleans())
def test_a_path_as_our_csv_files_have_it_is_read_back_as_the_same_file(name, labelled, absolute):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(os.fsencode(folder), name + b".wav")
        with open(path, "wb"):
            pass
        text = csv_path(escape_path(path if absolute else name + b".wav"))
        with open(f"{folder}/t.csv", "w", encoding="utf-8", newline="") as file:
            file.write(csv_lines([("path", "label"), (text, "x")]))
        source = list_clips(f"{folder}/t.csv", DEFAULT, labelled)
        (found,) = column(source, "path")
        assert os.fsencode(clip_file(source.root, found)) == path
        if not labelled:
            assert csv_path(found) == text


def test_a_path_that_is_a_file_as_written_and_another_as_escaped_is_refused(root):
    for name in ("one\\.wav", "one\\\\.wav"):
        write_wav(root / name, sine(440, 80), RATE_HZ)
    with pytest.raises(UsageError, match=r"t\.csv, line 2: a file has this name, and soundmill writes .*; rename one"):
        scan_table(write(root / "t.csv", "path,label", "one\\\\.wav,x"), DEFAULT)
    os.remove(root / "one\\.wav")
    assert column(scan_table(str(root / "t.csv"), DEFAULT), "path") == ["one\\\\\\\\.wav"], "as it is written"


def test_absolute_paths_of_a_table_stay_as_they_are_written_where_no_set_is_made(root):
    (root / "tables").mkdir()
    (root / "current").symlink_to(root / "tables")
    paths = [f"{root}/a.wav", f"{root}//tables/../r.wav", f"{root}/current/../b.wav", f"{root}/none.wav"]
    table = write(root / "tables" / "t.csv", "path,label", *(f"{path},x" for path in [*paths, "../r.wav", "../no.wav"]))
    source = list_clips(table, DEFAULT, labelled=False)
    assert column(source, "path") == sorted(paths[:3]), "each file counts once"
    assert [reject.path for reject in source.rejects] == ["../no.wav", paths[3]]
    assert all(os.path.isfile(clip_file(source.root, path)) for path in column(source, "path"))
    assert column(scan_table(table, TableLayout(root=str(root))), "path") == ["a.wav", "b.wav", "r.wav"]
    otherwise = write(root / "tables" / "u.csv", "path", f"{root}/A.WAV ", f"{root}\\b.wav")
    assert column(list_clips(otherwise, DEFAULT, labelled=False), "path") == [f"{root}/a.wav", f"{root}/b.wav"]


@pytest.mark.parametrize(
    ("column", "is_said"),
    [("End Time (s)", True), ("end", True), ("t_end", True), ("stop", True), ("offset_s", True),
     ("duration", False), ("Delta Time (s)", False), ("friend", False), ("endurance", False)],
)  # fmt: skip
def test_an_end_that_is_given_as_a_duration_is_asked_about(root, column, is_said):
    table = write(root / "t.csv", f"path,label,{column}", "a.wav,x,0.5")
    notes = scan_table(table, TableLayout(duration_column=column)).notes
    assert [("--end-column" in note) for note in notes] == [True] * is_said


@pytest.mark.parametrize("quotes", [('"', '"'), ('"A" song', "n"), ('5" wide', '6" wide'), ('"', "n")])
def test_double_quotes_of_field_tools_are_signs_like_others(root, quotes):
    lines = [f"{name}\tx\t{note}" for name, note in zip(("a.wav", "b.wav"), quotes, strict=True)]
    for name in ("t.txt", "t.tsv"):
        source = scan_table(write(root / name, "path\tlabel\tnotes", *lines, "r.wav\tx\tn"), TableLayout())
        assert column(source, "path") == ["a.wav", "b.wav", "r.wav"]
        assert source.rejects == []


def test_fields_in_double_quotes_are_read_without_them_and_may_have_lines_and_tabs(root):
    table = write(root / "t.tsv", '"path"\t"label"\t"notes"', '"a.wav"\t"x"\t"one\ntwo\tthree"', "b.wav\ty\tn")
    source = scan_table(table, TableLayout())
    assert list(zip(column(source, "path"), column(source, "label"), strict=True)) == [("a.wav", "x"), ("b.wav", "y")]


def test_a_row_that_cannot_be_parsed_is_a_reject_and_a_long_field_is_none(root):
    lines = ["path,label,notes", 'a.wav,x,"A" song', f"b.wav,x,{'n' * 200_000}", "r.wav,x,"]
    source = scan_table(write(root / "t.csv", *lines), TableLayout())
    assert column(source, "path") == ["b.wav", "r.wav"]
    assert [(reject.path, reject.reason) for reject in source.rejects] == [("t.csv, line 2", Reason.BAD_ROW)]
    assert "put a double quote within a field twice" in source.rejects[0].message


@pytest.mark.parametrize(
    ("lines", "bad"),
    [
        (["t;e", "950;951", "1,250;1,251"], 1),  # all commas stand as those of thousands do, and 950 has none
        (["t;d", "0;0.5", "1,250;1.5"], 1),  # the other column has points
        (["t;d", "0;0,5", "1,250;1,5"], 0),
        (["t;d", "0,000;0,500", "1,250;1,500"], 0),
        (["t;d", "12;0,5", "1,250;0,5"], 0),
    ],
)
def test_thousands_are_not_read_as_decimals(root, lines, bad):
    first, second = lines[0].split(";")
    table = write(root / "t.csv", f"path;label;{first};{second}", *(f"r.wav;x;{line}" for line in lines[1:]))
    options = {"start_column": first, "end_column" if second == "e" else "duration_column": second}
    source = scan_table(table, TableLayout(**options))
    assert [reject.reason for reject in source.rejects].count(Reason.BAD_ROW) == bad
    assert "1,250" in " ".join(reject.message for reject in source.rejects) or not bad


def test_what_a_reject_says_of_a_value_is_short(root):
    table = write(root / "t.csv", "path,label,t", "a.wav,x,0", f"b.wav,x,{'z' * 200_000}")
    (reject,) = scan_table(table, TableLayout(start_column="t")).rejects
    assert len(reject.message) < 300


def test_a_fold_of_1_0_is_that_of_the_template_too(root):
    (root / "fold1").mkdir()
    write_wav(root / "fold1" / "a.wav", sine(440, 80), RATE_HZ)
    (root / "fold2.0").mkdir()
    write_wav(root / "fold2.0" / "a.wav", sine(440, 80), RATE_HZ)
    table = write(root / "t.csv", "file,label,fold", "a.wav,x,1.0", "a.wav,x,2.0")
    source = scan_table(table, TableLayout(path_template="fold{fold}/{file}"))
    assert column(source, "path") == ["fold1/a.wav", "fold2.0/a.wav"]
    assert column(source, "partition") == ["fold-1", "fold-2"]


def test_an_absolute_path_with_space_around_it_comes_back_without(root):
    (root / "elsewhere").mkdir()
    table = write(root / "t.csv", "path", f" {root / 'a.wav'} ")
    source = scan_table(table, TableLayout(root=str(root / "elsewhere")), labelled=False)
    assert column(source, "path") == [str(root / "a.wav")]
