"""Windows as lines, against a loop over them, and as pieces of a stream."""

import itertools
import math

import numpy as np
import pytest

from model.labels.labels import LabelRules, labels_table
from model.labels.table_output import csv_header, csv_rows
from model.labels.whole_recordings import WholeRecordings
from model.labels.window_rows import WindowRows, concatenate, no_windows

CLASSES = ("left", "-right", "a,b", "x")


def windows(*counts: int, seed: int = 0, classes: int = len(CLASSES)) -> WindowRows:
    """Windows of recordings with some equal probabilities among them."""
    total = sum(counts)
    probabilities = np.random.default_rng(seed).integers(1, 8, (total, classes)).astype(np.float32) / 10
    starts = np.concatenate([np.arange(count) / 3 for count in counts] or [np.empty(0)])
    paths = [f"{number}.wav" for number in range(len(counts))]
    return WindowRows(paths, np.array(counts, np.int64), starts, starts + 1, probabilities, probabilities[:, :2])


def plain_lines(rows: WindowRows, rules: LabelRules) -> list[dict[str, object]]:
    """The same by a loop and Python's own sort, which keeps the order of equals."""
    paths = [path for path, count in zip(rows.paths, rows.counts, strict=True) for _ in range(count)]
    lines = []
    for path, start, end, values in zip(paths, rows.start_seconds, rows.end_seconds, rows.probabilities, strict=True):
        best = sorted(range(len(values)), key=lambda number: -values[number])[: rules.top]
        for rank, number in enumerate(best, start=1):
            if rules.thresholds is not None and float(values[number]) < rules.thresholds[number]:
                continue
            line = {"path": path, "start_seconds": start, "end_seconds": end, "label": rules.classes[number],
                    "probability": float(values[number])}  # fmt: skip
            if rules.top > 1:
                line["rank"] = rank
            if rules.probabilities:
                names = (f"probability_{label}" for label in rules.classes)
                line |= dict(zip(names, map(float, values), strict=True))
            lines.append(line)
    return lines


@pytest.mark.parametrize("counts", [(), (0,), (1,), (0, 1, 0), (20, 0, 3), (0, 0, 40)])
@pytest.mark.parametrize("top", [1, 2, 4])
def test_lines_are_those_of_a_plain_loop(counts, top):
    rows = windows(*counts)
    for thresholds, all_of_them in itertools.product((None, (0.0,) * 4, (0.3, 0.6, math.inf, 0.0)), (False, True)):
        rules = LabelRules(CLASSES, top, thresholds, all_of_them)
        table = labels_table(rows, rules)
        assert table.schema == rules.schema
        assert table.to_pylist() == plain_lines(rows, rules)


def test_a_probability_is_compared_with_all_its_digits():
    """0.7 in single precision is a little less than the threshold that somebody gives."""
    rows = WindowRows(["a"], np.array([1]), np.zeros(1), np.ones(1), np.array([[0.7, 0.2]], np.float32))
    assert len(labels_table(rows, LabelRules("ab", thresholds=(0.7, 0.7)))) == 0
    assert len(labels_table(rows, LabelRules("ab", thresholds=(float(np.float32(0.7)), 0.7)))) == 1


def test_a_line_of_csv():
    rows = WindowRows(['=a,"b".wav'], np.array([1]), np.zeros(1), np.ones(1) / 3,
                      np.array([[0.012345, 0.9876541]], np.float32))  # fmt: skip
    rules = LabelRules(("left", "-right"), 1)
    assert csv_header(rules.schema) == "path,start_seconds,end_seconds,label,probability\n"
    assert csv_rows(labels_table(rows, rules)) == '"./=a,""b"".wav",0.000000,0.333333,\'-right,0.987654\n'
    rules = LabelRules(("left", "-right"), 2, (0.5, 0.0), probabilities=True)
    header = "path,start_seconds,end_seconds,label,probability,rank,probability_left,probability_-right\n"
    assert csv_header(rules.schema) == header
    line = '"./=a,""b"".wav",0.000000,0.333333,\'-right,0.987654,1,0.012345,0.987654\n'
    assert csv_rows(labels_table(rows, rules)) == line


@pytest.mark.parametrize("sizes", [(1,), (2, 5), (7,), (100,)])
def test_recordings_come_whole_however_a_stream_has_them(sizes):
    rows = windows(3, 0, 1, 9, 2)
    pieces = []
    for piece in rows.by_recording():
        first = turn = 0
        while first < len(piece):
            some = slice(first, first + sizes[turn % len(sizes)])
            columns = (column[some] for column in (piece.start_seconds, piece.end_seconds, piece.probabilities,
                                                   piece.embeddings))  # fmt: skip
            pieces.append(WindowRows(piece.paths, np.array([len(piece.start_seconds[some])]), *columns))
            first, turn = first + sizes[turn % len(sizes)], turn + 1
    # Some pieces have the end of one recording and the start of the next.
    joined = [concatenate(pieces[first : first + 3]) for first in range(0, len(pieces), 3)]
    whole = WholeRecordings()
    found = [*map(whole.take, joined), whole.rest()]
    assert [(path, count) for one in found for path, count in zip(one.paths, one.counts.tolist(), strict=True)] == [
        ("0.wav", 3), ("2.wav", 1), ("3.wav", 9), ("4.wav", 2)
    ]  # fmt: skip
    for name in ("start_seconds", "end_seconds", "probabilities"):
        np.testing.assert_array_equal(np.concatenate([getattr(one, name) for one in found]), getattr(rows, name))


def test_recordings_are_left_out_by_their_paths():
    rows = windows(3, 0, 1, 9, 2)
    found = rows.without({"1.wav", "3.wav", "9.wav"})
    assert (list(found.paths), found.counts.tolist(), len(found)) == (["0.wav", "2.wav", "4.wav"], [3, 1, 2], 6)
    np.testing.assert_array_equal(found.probabilities, rows.probabilities[[0, 1, 2, 3, 13, 14]])
    np.testing.assert_array_equal(found.embeddings, rows.embeddings[[0, 1, 2, 3, 13, 14]])
    assert rows.without({"9.wav"}) is rows
    assert len(rows.without(set(rows.paths))) == 0
    assert labels_table(no_windows(CLASSES), LabelRules(CLASSES)).num_rows == 0
