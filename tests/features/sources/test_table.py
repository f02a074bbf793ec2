import collections
import json
import os
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from features.errors import Reason, UsageError
from features.io.csv_text import csv_label
from features.sources import table_files
from features.sources.partition import assign
from features.sources.paths import clip_file, unescape_path
from features.sources.separators import OWN_SEPARATORS
from features.sources.table import list_clips, scan_table
from features.sources.table_layout import TableLayout
from features.sources.table_rows import TABLE_ENDINGS, read_rows
from tests.signals import noise, sine, write_wav

BEEP = sine(440, 16)
DEFAULT = TableLayout()


def write_table(path, columns):
    """Writes {column: values} in the format that the name says."""
    rows = list(zip(*columns.values(), strict=True))
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix in (".jsonl", ".ndjson"):
        path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows))
    else:
        separator = "\t" if path.suffix == ".tsv" else ","
        path.write_text("".join(separator.join(map(str, row)) + "\n" for row in [tuple(columns), *rows]))
    return path


def write_lines(path, *lines, newline="\n", encoding="utf-8"):
    path.write_bytes(newline.join([*lines, ""]).encode(encoding))
    return str(path)


@pytest.fixture
def root(tmp_path):
    """Four recordings beside which a test puts its table."""
    for number, name in enumerate(("a.wav", "b.wav", "c.wav", "deep/d.wav")):
        write_wav(tmp_path / name, sine(440 + number, 16 + number))
    return tmp_path


def column(source, name):
    return source.clips[name].to_pylist()


def rejects_of(source):
    return [(reject.path, reject.stage, reject.reason, reject.message) for reject in source.rejects]


@pytest.mark.parametrize("ending", [*TABLE_ENDINGS, ".CSV"])
def test_all_formats_say_the_same(root, ending):
    columns = {
        "label": ["yes", "007", "0", "true"],
        "path": ["deep/d.wav", "b.wav", "./c.wav", "a.wav"],
        "fold": ["1", "02", "fold3", "10"],
        "group": ["x", "", "y", "x"],
        "other": ["1", "2", "3", "4"],
    }
    table = write_table(root / f"t{ending}", columns)
    source = scan_table(str(table), DEFAULT)
    assert (source.kind, source.root, source.table) == ("table", str(root), str(table))
    assert column(source, "path") == ["a.wav", "b.wav", "c.wav", "deep/d.wav"]
    assert column(source, "label") == ["true", "007", "0", "yes"]
    assert column(source, "partition") == ["fold-10", "fold-2", "fold-3", "fold-1"]
    assert column(source, "group") == ["x", None, "y", "x"]
    assert source.columns == {"path": "path", "label": "label", "fold": "fold", "group": "group"}
    assert source.rejects == []
    assert source.notes == []
    for row in source.clips.to_pylist():
        status = os.stat(root / row["path"])
        assert (row["start"], row["duration"]) == (0, None)
        assert (row["size"], row["mtime_ns"]) == (status.st_size, status.st_mtime_ns)


@pytest.mark.parametrize("ending", [".parquet", ".jsonl"])
def test_numbers_become_text_as_one_would_write_them(root, ending):
    columns = {
        "path": ["a.wav", "b.wav", "c.wav", "deep/d.wav"],
        "label": [0, 7, -0, 12345678901234567],
        "fold": [1.0, 2.0, 10.0, 1.0],
        "group": [True, False, None, True],
        "x": [0.5, 1e22, float("nan"), 2.0],
    }
    table = write_table(root / f"t{ending}", columns)
    source = scan_table(str(table), DEFAULT)
    assert column(source, "label") == ["0", "7", "0", "12345678901234567"]
    assert column(source, "partition") == ["fold-1", "fold-2", "fold-10", "fold-1"]
    assert column(source, "group") == ["true", "false", None, "true"]
    assert read_rows(str(table), ["x"]).values == {"x": ["0.5", "10000000000000000000000", "", "2"]}


def test_categories_and_bytes_of_parquet(root):
    columns = {"path": pa.array([b"a.wav", b"b.wav"]), "label": pa.array(["x", "y"]).dictionary_encode()}
    source = scan_table(str(write_table(root / "t.parquet", columns)), DEFAULT)
    assert column(source, "path") == ["a.wav", "b.wav"]
    assert column(source, "label") == ["x", "y"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_lines_are_those_that_an_editor_shows(root, newline, encoding):
    lines = ['"path",label,"note', 'of two lines"', "", "a.wav,x,", 'b.wav,y,"one', "", 'two"', "  ", "none.wav,ä,"]
    source = scan_table(write_lines(root / "t.csv", *lines, newline=newline, encoding=encoding), DEFAULT)
    assert column(source, "label") == ["x", "y"]
    assert rejects_of(source) == [
        ("none.wav", "scan", Reason.MISSING, "t.csv, line 9: No such file or directory"),
    ]


@pytest.mark.parametrize("kind", [(pa.binary(), pa.string()), (pa.large_binary(), pa.large_string())], ids=str)
def test_texts_of_parquet_that_are_not_utf8(root, kind):
    def text(*values):
        array = pa.array(values, kind[0])
        return pa.Array.from_buffers(kind[1], len(values), array.buffers())

    os.rename(root / "a.wav", os.fsencode(root) + b"/\xff.wav")
    paths, table = text(b"\xff.wav", b"b.wav"), root / "t.parquet"
    pq.write_table(pa.table({"path": paths, "label": text(b"a", b"\xc3\xa4")}), table)
    source = scan_table(str(table), DEFAULT)
    assert (column(source, "path"), column(source, "label")) == (["b.wav", "\\xff.wav"], ["ä", "a"])
    labels = text(b"a", b"a\xff")
    pq.write_table(pa.table({"path": paths, "label": labels}), table)
    with pytest.raises(UsageError, match=r"t\.parquet, row 2: a label is UTF-8, but 'label' is 'a\\udcff'"):
        scan_table(str(table), DEFAULT)
    pq.write_table(pa.table({"path": paths, "label": pa.DictionaryArray.from_arrays(pa.array([0, 1]), labels)}), table)
    with pytest.raises(UsageError, match=r"cannot read .*t\.parquet: .*UTF8"):
        scan_table(str(table), DEFAULT)


def test_rows_of_parquet_and_lines_of_json_are_named(root):
    columns = {"path": ["a.wav", "none.wav"], "label": ["x", "y"]}
    source = scan_table(str(write_table(root / "t.parquet", columns)), DEFAULT)
    assert source.rejects[0].message.startswith("t.parquet, row 2: ")
    table = write_lines(
        root / "t.jsonl", "", '{"path": "a.wav", "label": "x"}', "", '{"label": "y", "path": "none.wav"}'
    )
    assert scan_table(table, DEFAULT).rejects[0].message.startswith("t.jsonl, line 4: ")


def test_quoted_fields_and_unusual_names(root):
    names = [
        'comma, "quote".wav',
        "line\nbreak.wav",
        " space .wav",
        "back\\slash \\xff.wav",
        "=1.wav",
        "no ending",
        "ä☃",
    ]
    for name in names:
        write_wav(root / "odd" / name, BEEP)
    lines = ["label,path", *('x,"odd/' + name.replace('"', '""') + '"' for name in names)]
    source = scan_table(write_lines(root / "t.csv", *lines), DEFAULT)
    assert [os.fsdecode(unescape_path(path)) for path in column(source, "path")] == sorted(
        (f"odd/{name}" for name in names), key=os.fsencode
    )
    assert all(os.path.isfile(clip_file(source.root, path)) for path in column(source, "path"))


def test_names_of_files_that_are_not_utf8(root):
    with open(os.fsencode(root) + b"/\xe4.wav", "wb") as file:
        file.write(b"abc")
    (root / "t.csv").write_bytes(b"path,label\n\xe4.wav,x\n")
    source = scan_table(str(root / "t.csv"), DEFAULT)
    assert column(source, "path") == [r"\xe4.wav"]
    assert column(source, "size") == [3]


def test_paths_begin_in_the_root_and_are_made_plain(root):
    elsewhere = root / "tables"
    elsewhere.mkdir()
    lines = ["path,label", "./a.wav,x", "deep/../b.wav,x", f"{root}/c.wav,x", "deep//d.wav,x"]
    source = scan_table(write_lines(elsewhere / "t.csv", *lines), TableLayout(root=str(root)))
    assert source.root == str(root)
    assert column(source, "path") == ["a.wav", "b.wav", "c.wav", "deep/d.wav"]
    assert scan_table(str(elsewhere / "t.csv"), TableLayout(root=f"{elsewhere}/..")).root == str(root)
    outside = write_lines(elsewhere / "o.csv", "path,label", "../a.wav,x")
    assert column(scan_table(outside, DEFAULT), "path") == ["../a.wav"]


def test_a_relative_table(root, monkeypatch):
    write_lines(root / "t.csv", "path,label", "a.wav,x")
    monkeypatch.chdir(root)
    source = scan_table("t.csv", DEFAULT)
    assert (source.root, source.table) == (str(root), str(root / "t.csv"))


def test_columns_are_those_that_are_named(root):
    lines = ["path,label,partition,group,file,class,set,part of", "a.wav,1,testing,1,b.wav,x,Train,g"]
    layout = TableLayout(path_column="file", label_column="class", partition_column="set", group_column="part of")
    source = scan_table(write_lines(root / "t.csv", *lines), layout)
    (row,) = source.clips.to_pylist()
    assert (row["path"], row["label"], row["partition"], row["group"]) == ("b.wav", "x", "training", "g")
    assert source.columns == {"path": "file", "label": "class", "partition": "set", "group": "part of"}


def test_a_template_puts_paths_together(root):
    for fold in (1, 2):
        write_wav(root / "audio" / f"fold{fold}" / "x{y}.wav", BEEP)
    table = write_lines(root / "t.csv", "name,fold,label", "x{y},1,x", "x{y},2,x")
    source = scan_table(table, TableLayout(path_template="audio/fold{fold}/{name}.wav"))
    assert column(source, "path") == ["audio/fold1/x{y}.wav", "audio/fold2/x{y}.wav"]
    assert source.columns == {"path_template": "audio/fold{fold}/{name}.wav", "label": "label", "fold": "fold"}
    one = write_lines(root / "one.csv", "ending,label", "wav,x")
    source = scan_table(one, TableLayout(path_template="audio/fold1/x{{y}}.{ending}"))
    assert column(source, "path") == ["audio/fold1/x{y}.wav"]


@pytest.mark.parametrize("template", ["", "a.wav", "{", "}", "{}", "{a!r}", "{a:>3}", "{0}{}", "x{a"])
def test_templates_that_are_none(template):
    with pytest.raises(UsageError, match="--path-template is a path with the names of columns in braces") as raised:
        TableLayout(path_template=template)
    assert repr(template) in str(raised.value)


def test_options_that_exclude_each_other():
    with pytest.raises(UsageError, match="--path-column or --path-template, not both"):
        TableLayout(path_column="a", path_template="{a}")
    with pytest.raises(UsageError, match="--partition-column or --fold-column, not both"):
        TableLayout(partition_column="a", fold_column="b")


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (DEFAULT, "t.csv has no column 'path'; --path-column names one of 'file', 'class', 'class'"),
        (TableLayout(path_column="file"), "no column 'label'; --label-column names one of 'file'"),
        (TableLayout(path_column="file", label_column="class"), "2 columns named 'class'"),
        (TableLayout(path_column="file", label_column="file", group_column="no"), "'no'; --group-column"),
        (TableLayout(path_column="file", label_column="file", fold_column="no"), "'no'; --fold-column"),
        (TableLayout(path_column="file", label_column="file", partition_column="no"), "'no'; --partition-column"),
        (TableLayout(path_column="file", label_column="file", start_column="no"), "'no'; --start-column"),
        (TableLayout(path_column="file", label_column="file", duration_column="no"), "'no'; --duration-column"),
        (TableLayout(path_template="{no}", label_column="file"), "'no'; --path-template"),
        (TableLayout(root="/nowhere/at/all"), "no folder /nowhere/at/all"),
    ],
)
def test_columns_and_folders_that_are_not_there(root, layout, message):
    with pytest.raises(UsageError) as raised:
        scan_table(write_lines(root / "t.csv", "file,class,class", "a.wav,x,y"), layout)
    assert message in str(raised.value)


BAD_TABLES = {
    "too few fields": (["path,label", "b.wav"], "t.csv, line 2: bad_row, a row has a field for each of the 2"),
    "too many fields": (["path,label", "", "a.wav,x,y"], "line 3: bad_row, a row has a field for each of the 2 "
                        "columns, not 3"),
    "a quote without end": (["path,label", "a.wav,x", '"b.wav,x', "c.wav,x"], "t.csv, line 3: the row that begins"),
    "empty": ([], "t.csv is empty"),
    "no rows": (["path,label", ""], "it has no rows"),
    "an empty path": (["path,label", ",x", " ,y"], "all 2 rows were rejected; the first: t.csv, line 2: bad_row, a row "
                      "names a file, but 'path' is empty"),
    "a zero byte": (["path,label", "a\0.wav,x"], "line 2: bad_row, no file can have the name 'a\\x00.wav'"),
    "no partition": (["path,label,partition", "a.wav,x,train", "b.wav,x,some"], "line 3: a partition is training, "),
    "an empty partition": (["path,label,partition", "a.wav,x,"], "line 2: a partition is training, validation, "),
    "no fold": (["path,label,fold", "a.wav,x,1", "b.wav,x,1.5"], "line 3: a partition is training, validation, "),
    "twice": (
        ["path,label", "a.wav,x", "b.wav,x", "./a.wav,y", "b.wav,x"],
        "t.csv has twice a.wav in lines 2 and 4; b.wav in lines 3 and 5; take one",
    ),
    "often": (["path,label", *["a.wav,x"] * 9], "a.wav in lines 2 and 7; and 3 more"),
    "nothing usable": (["path,label", "x.wav,x", "y.wav,x"], "no audio in t.csv: all 2 rows were rejected; the first: "
                       "x.wav: missing, t.csv, line 2: No such file or directory (--root"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TABLES)
def test_tables_that_cannot_be_used(root, monkeypatch, case):
    lines, message = BAD_TABLES[case]
    monkeypatch.chdir(root)
    (root / "t.csv").write_text("\n".join(lines))
    with pytest.raises(UsageError) as raised:
        scan_table("t.csv", DEFAULT)
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_text_in_another_encoding(root):
    (root / "t.csv").write_bytes("path,label\na.wav,x\nb.wav,ä\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"line 3: a label is UTF-8, but .*save the table as UTF-8"):
        scan_table(str(root / "t.csv"), DEFAULT)
    (root / "t.csv").write_bytes("path,label\na.wav,x\nm\xf6we.wav,y\n".encode("latin-1"))
    with pytest.raises(
        UsageError, match=r"line 3: m\\xf6we\.wav is not there, and is not UTF-8; save the table as UTF-8"
    ):
        scan_table(str(root / "t.csv"), DEFAULT)
    (root / "t.csv").write_bytes("path,label\na.wav,x\n".encode("utf-16")[:-1])
    with pytest.raises(UsageError, match=r"cannot read .*t\.csv"):
        scan_table(str(root / "t.csv"), DEFAULT)


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
def test_tables_of_windows_programs(root, ending, encoding):
    table = write_table(root / f"t{ending}", {"path": ["a.wav", "b.wav"], "label": ["x", "ä"]})
    table.write_bytes(table.read_text(encoding="utf-8").encode(encoding))
    source = scan_table(str(table), DEFAULT)
    assert list(zip(column(source, "path"), column(source, "label"), strict=True)) == [("a.wav", "x"), ("b.wav", "ä")]


def test_paths_as_another_system_has_written_them_are_the_files_that_are_there(root):
    name = unicodedata.normalize("NFD", "möwe")
    write_wav(root / name / "1.wav", BEEP)
    write_wav(root / "b" / "x\\y.wav", BEEP)
    lines = [unicodedata.normalize("NFC", "möwe\\1.WAV"), "deep\\D.wav", "c.wav ", "b/x\\y.wav", ".\\gone.wav"]
    source = scan_table(write_lines(root / "t.csv", "path,label", *(f"{line},x" for line in lines)), DEFAULT)
    assert column(source, "path") == ["b/x\\\\y.wav", "c.wav", "deep/d.wav", f"{name}/1.wav"]
    assert [row["size"] for row in source.clips.to_pylist()][2] == (root / "deep/d.wav").stat().st_size
    assert rejects_of(source) == [
        (".\\\\gone.wav", "scan", Reason.MISSING, "t.csv, line 6: No such file or directory")
    ]  # fmt: skip
    template = TableLayout(path_template="{path}.WAV")
    source = scan_table(write_lines(root / "t.csv", "path,label", "a,x", "./b,x"), template)
    assert column(source, "path") == ["a.wav", "b.wav"]


def test_a_file_that_is_named_twice_in_two_ways_is_named_twice(root):
    with pytest.raises(UsageError, match=r"has twice deep/d\.wav in lines 2 and 3"):
        scan_table(write_lines(root / "t.csv", "path,label", "deep/d.wav,x", "deep\\d.wav,y"), DEFAULT)


def test_a_path_that_may_be_two_files_is_refused(root):
    write_wav(root / "A.wav", BEEP)
    source = scan_table(write_lines(root / "t.csv", "path,label", "a.wav,x", "A.wav,y"), DEFAULT)
    assert column(source, "label") == ["y", "x"]
    with pytest.raises(UsageError, match=r"line 2: no file is named a\.WAV, and A\.wav and a\.wav are named alike"):
        scan_table(write_lines(root / "t.csv", "path,label", "a.WAV,x"), DEFAULT)


def test_a_path_through_a_link_is_the_file_that_the_system_opens(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_wav(elsewhere / "deep" / "a.wav", BEEP)
    write_wav(elsewhere / "a.wav", BEEP)
    (root / "current").symlink_to(elsewhere / "deep")
    lines = ["path,label", "current/a.wav,x", "current/../a.wav,y", f"{root}/current/../../{elsewhere.name}/a.wav,z"]
    source = scan_table(write_lines(root / "t.csv", *lines[:3]), DEFAULT)
    assert dict(zip(column(source, "label"), column(source, "path"), strict=True)) == {
        "x": "current/a.wav", "y": f"../{elsewhere.name}/a.wav"
    }  # fmt: skip
    with pytest.raises(UsageError, match=rf"has twice \.\./{elsewhere.name}/a\.wav in lines 3 and 4"):
        scan_table(write_lines(root / "t.csv", *lines), DEFAULT)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"path": ["a.wav"], "label": "x"}', "line 2: a value is text or a number, not"),
        ('{"path": "b.wav", "label": "\\ud800"}', "line 2: a label is UTF-8"),
    ],
)
def test_lines_that_are_no_json(root, line, message):
    with pytest.raises(UsageError, match=message):
        scan_table(write_lines(root / "t.jsonl", '{"path": "a.wav", "label": "x"}', line), DEFAULT)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "a line is one JSON object, and this is not one: "),
        ('["a.wav", "x"]', "a line is one JSON object, not '["),
    ],
)
def test_a_line_that_is_no_json_object_is_a_reject(root, line, fault):
    table = write_lines(root / "t.jsonl", '{"path": "a.wav", "label": "x"}', line, '{"path": "b.wav", "label": "x"}')
    source = scan_table(table, DEFAULT)
    assert column(source, "path") == ["a.wav", "b.wav"]
    assert [(reject.path, reject.reason) for reject in source.rejects] == [("t.jsonl, line 2", Reason.BAD_ROW)]
    assert source.rejects[0].message.startswith(fault)


def test_files_that_are_no_table(root):
    (root / "t.parquet").write_text("path,label\n")
    with pytest.raises(UsageError, match=r"cannot read .*t\.parquet"):
        scan_table(str(root / "t.parquet"), DEFAULT)
    for name in ("none.csv", "none.parquet"):
        with pytest.raises(UsageError, match="no such file or folder"):
            scan_table(str(root / name), DEFAULT)


@pytest.mark.parametrize(
    ("column_name", "value", "partition"),
    [
        ("partition", "training", "training"),
        ("partition", "Train", "training"),
        ("partition", "VAL", "validation"),
        ("partition", "dev", "validation"),
        ("partition", " test ", "testing"),
        ("partition", "fold-2", "fold-2"),
        ("fold", "1", "fold-1"),
        ("fold", "01", "fold-1"),
        ("fold", "fold1", "fold-1"),
        ("fold", "fold-1", "fold-1"),
        ("fold", "fold_1", "fold-1"),
        ("fold", "Fold 12", "fold-12"),
    ],
)
def test_partitions_and_folds(root, column_name, value, partition):
    source = scan_table(write_lines(root / "t.csv", f"path,label,{column_name}", f"a.wav,x,{value}"), DEFAULT)
    assert column(source, "partition") == [partition]
    assert source.columns[column_name] == column_name


def test_space_around_a_label_is_not_of_it(root):
    lines = ["path,label", "a.wav,Owl", "b.wav, Owl\u00a0", "c.wav,\u00a0 ", "deep/d.wav,a  b"]
    source = scan_table(write_lines(root / "t.csv", *lines), DEFAULT)
    assert column(source, "label") == ["Owl", "Owl", "a  b"]
    gone = scan_table(write_lines(root / "g.csv", "path,label", "a.wav,Owl", "gone.wav,ow l "), DEFAULT).rejects
    assert [(reject.path, reject.label) for reject in gone] == [("gone.wav", "ow l")]
    assert rejects_of(source) == [("c.wav", "scan", Reason.BAD_LABEL, "t.csv, line 4: the label is empty")]


@pytest.mark.parametrize("ending", TABLE_ENDINGS)
def test_labels_of_our_own_tables_come_back(root, ending):
    """In CSV with the apostrophe that ours have; files with types hold the label itself."""
    labels = ["-5dB", "+1", "=1+1", "@home", "'-5dB", "'tis", "''", "a\nb", "\x1b[2J", "\u202ea"]
    names = [f"{number}.wav" for number in range(len(labels))]
    for name in names:
        write_wav(root / name, BEEP)
    written = [f'"{csv_label(label)}"' for label in labels] if ending in OWN_SEPARATORS else labels
    table = write_table(root / f"t{ending}", {"path": names, "label": written})
    assert column(scan_table(table, DEFAULT), "label") == labels


@pytest.mark.parametrize("values", [("eval", "test"), ("Testing", " EVALUATION ")])
def test_of_an_evaluation_and_a_test_the_column_decides(root, values):
    lines = ["path,label,split", f"a.wav,x,{values[0]}", f"b.wav,x,{values[1]}", "c.wav,x,train"]
    table, layout = write_lines(root / "t.csv", *lines), TableLayout(partition_column="split")
    with pytest.raises(UsageError, match=r"in its column 'split', and either may be what is tested.*--split") as raised:
        scan_table(table, layout)
    assert all(repr(value) in str(raised.value) for value in values)
    assert len(scan_table(table, layout, partitioned=False).clips) == 3
    source = scan_table(write_lines(root / "t.csv", *lines[:2], lines[3]), layout)
    assert column(source, "partition") == ["testing", "training"]


def test_of_a_partition_and_a_fold_the_partition_counts_and_a_note_says_so(root):
    table = write_lines(root / "t.csv", "path,label,partition,fold", "a.wav,x,testing,3")
    source = scan_table(table, DEFAULT)
    assert column(source, "partition") == ["testing"]
    (note,) = source.notes
    assert "'partition' and 'fold'" in note
    assert "--fold-column" in note
    assert "fold" not in source.columns
    source = scan_table(table, TableLayout(fold_column="fold"))
    assert (column(source, "partition"), source.notes) == (["fold-3"], [])
    source = scan_table(table, TableLayout(partition_column="partition"))
    assert (column(source, "partition"), source.notes) == (["testing"], [])


def test_partitions_that_are_not_asked_for_are_not_read(root):
    table = write_lines(root / "t.csv", "path,label,partition,fold", "a.wav,x,nonsense,nonsense")
    source = scan_table(table, DEFAULT, partitioned=False)
    assert "partition" not in source.clips.column_names
    assert (source.columns, source.notes) == ({"path": "path", "label": "label"}, [])


def test_rows_whose_file_cannot_be_used_are_rejects(root):
    os.mkfifo(root / "pipe.wav")
    os.symlink("gone.wav", root / "link.wav")
    lines = ["path,label", "a.wav,x", "pipe.wav,x", "deep,x", "link.wav,x", "a.wav/b.wav,x", "b.wav,", "c.wav, ", ".,x"]
    source = scan_table(write_lines(root / "t.csv", *lines), DEFAULT)
    assert column(source, "path") == ["a.wav"]
    assert rejects_of(source) == [
        (".", "scan", Reason.UNREADABLE, "t.csv, line 9: it is a folder"),
        ("a.wav/b.wav", "scan", Reason.MISSING, "t.csv, line 6: Not a directory"),
        ("b.wav", "scan", Reason.BAD_LABEL, "t.csv, line 7: the label is empty"),
        ("c.wav", "scan", Reason.BAD_LABEL, "t.csv, line 8: the label is empty"),
        ("deep", "scan", Reason.UNREADABLE, "t.csv, line 4: it is a folder"),
        ("link.wav", "scan", Reason.MISSING, "t.csv, line 5: No such file or directory"),
        ("pipe.wav", "scan", Reason.UNREADABLE, "t.csv, line 3: it is not a regular file"),
    ]


def test_a_file_that_may_not_be_looked_at_is_a_reject(root, monkeypatch):
    look = os.stat

    def refuse(path, *arguments, **options):
        if os.fsencode(path).endswith(b"b.wav"):
            raise PermissionError(13, "Permission denied")
        return look(path, *arguments, **options)

    table = write_lines(root / "t.csv", "path,label", "a.wav,x", "b.wav,x")
    monkeypatch.setattr(os, "stat", refuse)
    assert rejects_of(scan_table(table, DEFAULT)) == [
        ("b.wav", "scan", Reason.PERMISSION, "t.csv, line 3: Permission denied")
    ]


def test_times_become_samples_of_the_files_own_rate(root, monkeypatch):
    write_wav(root / "8k.wav", noise(80_000, seed=1), 8_000)
    soundfile.write(root / "44k.flac", noise(44_100 * 3), 44_100)
    probed = []
    probe = table_files.probe_at
    monkeypatch.setattr(table_files, "probe_at", lambda path: probed.append(path) or probe(path))
    lines = [
        "path,label,from,lasts",
        "8k.wav,x,1.5,0.1",
        "44k.flac,x,0.1,1e0",
        "8k.wav,y,0.25,0.00001",
        "8k.wav,z,1e300,2",
    ]
    layout = TableLayout(start_column="from", duration_column="lasts")
    source = scan_table(write_lines(root / "t.csv", *lines), layout)
    rows = [(row["path"], row["start"], row["duration"], row["label"]) for row in source.clips.to_pylist()]
    assert rows == [
        ("44k.flac", 4_410, 44_100, "x"),
        ("8k.wav", 2_000, 1, "y"),
        ("8k.wav", 12_000, 800, "x"),
        ("8k.wav", 2**62, 16_000, "z"),
    ]
    assert sorted(map(os.path.basename, probed)) == ["44k.flac", "8k.wav"]
    assert source.columns == {"path": "path", "label": "label", "start": "from", "duration": "lasts"}


def test_a_start_or_a_duration_alone(root):
    write_wav(root / "8k.wav", noise(80_000), 8_000)
    table = write_lines(root / "t.csv", "path,label,s", "8k.wav,x,1", "8k.wav,y,2")
    source = scan_table(table, TableLayout(start_column="s"))
    assert (column(source, "start"), column(source, "duration")) == ([8_000, 16_000], [None, None])
    source = scan_table(write_lines(root / "u.csv", "path,label,s", "8k.wav,x,1"), TableLayout(duration_column="s"))
    assert (column(source, "start"), column(source, "duration")) == ([0], [8_000])


@pytest.mark.parametrize("names", ["start,end", "start,duration"])
def test_times_are_read_only_where_they_are_named(root, names):
    source = scan_table(write_lines(root / "t.csv", f"path,label,{names}", "a.wav,x,100,nonsense"), DEFAULT)
    assert (column(source, "start"), column(source, "duration")) == ([0], [None])


def test_clips_that_begin_at_the_same_sample_are_one(root):
    write_wav(root / "8k.wav", noise(80_000), 8_000)
    lines = ["path,label,t", "8k.wav,x,1", "8k.wav,x,1.00001", "gone.wav,x,1", "gone.wav,x,1.0"]
    with pytest.raises(UsageError, match=r"8k\.wav in lines 2 and 3; gone\.wav in lines 4 and 5; take"):
        scan_table(write_lines(root / "t.csv", *lines), TableLayout(start_column="t"))


def test_a_header_that_cannot_be_read_rejects_all_clips_of_its_file(root):
    (root / "text.wav").write_text("no sound")
    table = write_lines(root / "t.csv", "path,label,t", "text.wav,x,0", "text.wav,x,1", "a.wav,x,0")
    source = scan_table(table, TableLayout(start_column="t"))
    assert [(reject.path, reject.reason, reject.message[:13]) for reject in source.rejects] == [
        ("text.wav", Reason.NOT_AUDIO, "t.csv, line 2"),
        ("text.wav", Reason.NOT_AUDIO, "t.csv, line 3"),
    ]
    assert column(source, "path") == ["a.wav"]


def test_without_labels_each_file_counts_once(root):
    lines = ["path,start,partition,fold", "b.wav,x,x,x", "a.wav,,,", "./b.wav,,,", "gone.wav,,,", "gone.wav,,,"]
    source = scan_table(write_lines(root / "t.csv", *lines), DEFAULT, labelled=False)
    assert column(source, "path") == ["a.wav", "b.wav"]
    assert column(source, "label") == [None, None]
    assert [reject.message for reject in source.rejects] == ["t.csv, line 5: No such file or directory"]
    assert source.columns == {"path": "path"}


def test_whichever_the_input_is(root):
    table = write_lines(root / "t.csv", "path,label", "a.wav,x")
    assert list_clips(table, DEFAULT, labelled=True).kind == "table"
    assert list_clips(str(root), DEFAULT, labelled=False).kind == "folder"
    assert list_clips(str(root / "a.wav"), DEFAULT, labelled=False).kind == "file"
    write_wav(root / "folder.csv" / "x" / "a.wav", BEEP)
    assert list_clips(str(root / "folder.csv"), DEFAULT, labelled=True).kind == "folder"
    assert list_clips(str(root), DEFAULT, labelled=True, pattern="(?P<label>.)").pattern == "(?P<label>.)"


@pytest.mark.parametrize("name", sorted(TableLayout.__dataclass_fields__))
def test_options_of_a_table_are_refused_for_a_folder(root, name):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} is for a table"):
        list_clips(str(root), TableLayout(**{name: "{x}"}), labelled=True)


def test_a_pattern_is_refused_for_a_table(root):
    with pytest.raises(UsageError, match="--label-pattern is for a folder"):
        list_clips(write_lines(root / "t.csv", "path,label", "a.wav,x"), DEFAULT, labelled=True, pattern="(?P<label>.)")


@pytest.mark.data
def test_the_real_tables(data):
    layout = TableLayout(root=str(data / "esc10/audio"), path_column="filename", label_column="category",
                         group_column="src_file")  # fmt: skip
    source = list_clips(str(data / "esc10/esc10.csv"), layout, labelled=True)
    clips, notes = assign(source.clips, source.root, None, None)
    assert (len(clips), notes, source.notes, source.rejects) == (400, [], [], [])
    assert collections.Counter(clips["partition"].to_pylist()) == {f"fold-{number}": 80 for number in range(1, 6)}
    assert len(set(clips["group"].to_pylist())) == 304
    source = list_clips(str(data / "fsdd/fsdd.csv"), TableLayout(label_column="digit"), labelled=True)
    clips, _ = assign(source.clips, source.root, None, None)
    assert collections.Counter(clips["partition"].to_pylist()) == {"training": 2_700, "testing": 300}
    assert sorted(set(clips["label"].to_pylist())) == list("0123456789")
    assert np.all(np.array(clips["size"].to_pylist()) > 44)
