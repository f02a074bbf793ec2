"""Labels in CSV, read back."""

import csv
import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.io.csv_text import csv_label, csv_lines, read_csv_label

# What spreadsheets, shells and other readers take for something else, and what breaks lines.
LABELS = [
    "yes", "-5dB", "+1", "=1+1", "@home", "'", "''", "'quoted'", "'-5dB", "''=x", "-", "01", "NA", "null", "1e5", "",
    "a,b", 'a "b"', "a\nb", "a\rb", "a\r\nb", "\ta", "\x00", "\x1b[31mred", "\x7f", "\x85", "\u2028", "\u202eabc",
    "日本", "جرس", "\ufeffa", "a'=b", "./a",
]  # fmt: skip


@pytest.mark.parametrize("label", LABELS)
def test_a_label_is_no_formula_and_comes_back(label):
    written = csv_label(label)
    assert not written.startswith(("=", "+", "-", "@"))
    assert read_csv_label(written) == label
    assert written == label or label[0] in "=+-@'"


@given(st.text())
def test_any_label_comes_back(label):
    assert read_csv_label(csv_label(label)) == label


@pytest.mark.parametrize("label", ["'tis", "'", "'01", "rock 'n' roll", "' -5dB"])
def test_labels_that_others_write_with_an_apostrophe_keep_it(label):
    assert read_csv_label(label) == label


def test_no_label_breaks_a_table():
    rows = [[label, csv_label(label), str(number)] for number, label in enumerate(LABELS)]
    random.Random(1).shuffle(rows)
    text = csv_lines(rows)
    assert list(csv.reader(io.StringIO(text, newline=""))) == rows
    assert "\n".join(csv_lines([row]).removesuffix("\n") for row in rows) + "\n" == text
