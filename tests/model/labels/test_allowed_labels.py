import os

import pytest

from features.errors import UsageError
from features.io.csv_text import csv_label, csv_lines
from model.labels.allowed_labels import read_allowed_labels

CLASSES = ["crow", "Turdus merula", "=x", "'y", "a, b", "#1", "Äsche", "two\nlines", "_silence_"]


def allowed(tmp_path, content):
    (tmp_path / "here.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return [CLASSES[number] for number in read_allowed_labels(str(tmp_path / "here.txt"), CLASSES)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("crow\n", ["crow"]),
        ("crow", ["crow"]),
        ("# of the north\n\n  Turdus merula \r\n\r\ncrow\r\n", ["crow", "Turdus merula"]),
        ("\ufeffcrow\nÄsche", ["crow", "Äsche"]),
        ("crow\rÄsche\r", ["crow", "Äsche"]),
        ("Äsche\n".encode("utf-16"), ["Äsche"]),
        ("=x\ncrow\ncrow\n", ["crow", "=x"]),
        ("'=x\n''y\n", ["=x", "'y"]),
        ('"a, b"\n"#1"\n', ["a, b", "#1"]),
        ("a, b\n", ["a, b"]),
        ('"two\nlines"\ncrow\n', ["crow", "two\nlines"]),
    ],
)
def test_a_label_a_line(tmp_path, content, expected):
    assert allowed(tmp_path, content) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_our_tables_are_read_back(tmp_path, end):
    lines = "".join(csv_lines([[csv_label(label)]]).removesuffix("\n") + end for label in CLASSES if label != "#1")
    assert allowed(tmp_path, lines + f'"#1"{end}') == CLASSES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("crow\nturdus MERLA\n", r"line 2: the model has no label 'turdus MERLA'; near it are Turdus merula"),
        ('"a\nb"\n\nzz\n', r"line 1: the model has no label 'a\\nb'"),
        ('"crow"\n\nzzzzzz\n', r"line 3: the model has no label 'zzzzzz'; there are crow, Turdus merula, "),
        ("# crow\n", "allows no label"),
        (b"", "allows no label"),
        (b"\xff\xfe\xffcrow", "not a text file"),
        (b"crow\n\xe4sche\n", "not a text file in UTF-8"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, content, message):
    with pytest.raises(UsageError, match=message):
        allowed(tmp_path, content)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read --only-labels .*none\.txt: No such file"):
        read_allowed_labels(str(tmp_path / "none.txt"), CLASSES)
    with pytest.raises(UsageError, match="Is a directory"):
        read_allowed_labels(str(tmp_path), CLASSES)
    os.mkfifo(tmp_path / "pipe")  # as a shell makes one of <(...)
    with pytest.raises(UsageError, match="is a pipe or a device, which cannot be read twice"):
        read_allowed_labels(str(tmp_path / "pipe"), CLASSES)
