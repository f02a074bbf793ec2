import csv

import numpy as np
import pytest

from features.io.csv_text import csv_lines, read_csv_label
from features.sources.paths import unescape_path
from model.evaluation.evaluation_folder import choose_examples, mistakes_first, prediction_rows, write_confusion
from model.evaluation.false_alarms import Tally, Windows
from model.evaluation.predictions import measure
from tests.model.evaluation.guesses import guess


def test_the_surest_mistakes_come_first_among_the_examples():
    predictions = guess(("a", "a", 0.9), ("a", "b", 0.6), ("b", "b", 0.7), ("c", "a", 0.95), ("b", "a", 0.8))
    assert choose_examples(predictions, ["a", "b"]) == [3, 4, 1, 2, 0]


@pytest.mark.parametrize(
    ("wrong", "right", "mistakes"), [(0, 30, 0), (5, 30, 5), (30, 30, 12), (30, 2, 14), (30, 0, 16), (1, 1, 1)]
)
def test_mistakes_leave_room_for_a_few_right_ones(wrong, right, mistakes):
    predictions = guess(*[("a", "a", 0.8)] * right, *[("a", "b", 0.8)] * wrong)
    shown = choose_examples(predictions, ["a", "b"])
    assert len(shown) == min(16, wrong + right) == len(set(shown))
    correct = predictions.correct(["a", "b"])
    assert [bool(correct[row]) for row in shown] == [False] * mistakes + [True] * (len(shown) - mistakes)


def test_equally_sure_predictions_are_in_the_order_of_the_paths_bytes():
    predictions = guess(*[("a", "a", 0.8), ("b", "a", 0.8)] * 3)
    paths = ["é.wav", "\\\\x.wav", "Z.wav", "\\xff.wav", "a.wav", "\\xe9.wav"]
    predictions.paths[:] = paths
    rows = mistakes_first(predictions, ["a", "b"])
    wrong, right = ([paths[row] for row in part] for part in (rows[:3], rows[3:]))
    assert (set(wrong), set(right)) == (set(paths[1::2]), set(paths[::2]))
    assert (wrong, right) == (sorted(wrong, key=unescape_path), sorted(right, key=unescape_path))


def test_lines_keep_their_clips_whatever_their_order():
    predictions = guess(("a", "a", 0.9), ("c", "b", 0.6), ("b", "b", 0.7), ("b", "a", 0.95))
    header, *lines = prediction_rows(predictions, ["a", "b"], ("fold", ["one", "two", "three", "four"]))
    assert header == ("path", "true", "predicted", "probability", "fold")
    assert lines == [
        ("3.wav", "b", "a", "0.950000", "four"),
        ("1.wav", "c", "b", "0.600000", "two"),
        ("2.wav", "b", "b", "0.700000", "three"),
        ("0.wav", "a", "a", "0.900000", "one"),
    ]


def test_labels_that_spreadsheets_take_for_formulas_come_back_from_every_table(tmp_path):
    a, b = labels = ["-5dB", "'=1"]
    predictions = guess(("-5dB", "a", 0.9), ("'=1", "b", 0.6), ("@c", "b", 0.7))
    write_confusion(tmp_path, measure(predictions, labels))
    windows = Windows(np.arange(2.0), np.arange(1.0, 3.0), np.array([0, 1]), np.ones(2, np.float32))
    tables = {
        "confusion": (tmp_path / "confusion.csv").read_text(encoding="utf-8"),
        "predictions": csv_lines(prediction_rows(predictions, labels)),
        "alarms": Tally(labels, np.zeros(2)).add("x.wav", windows),
    }
    cells = {name: [[*map(read_csv_label, row)] for row in csv.reader(text.splitlines())]
             for name, text in tables.items()}  # fmt: skip
    assert not any(cell.startswith(("=", "+", "-", "@"))
                   for text in tables.values() for row in csv.reader(text.splitlines()) for cell in row)  # fmt: skip
    assert cells["confusion"][0][1:] == [row[0] for row in cells["confusion"][1:]] == [a, b, "@c"]
    assert [row[1:3] for row in cells["predictions"][1:]] == [["@c", b], [b, b], [a, a]]
    assert [row[3] for row in cells["alarms"]] == labels
