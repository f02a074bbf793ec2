"""The two forms of a file of labels say the same of the same scores, however these are dealt into parts."""

import csv

import pyarrow.parquet as pq
import pytest

from features.errors import RunError
from features.io.atomic import writer_name
from features.io.csv_text import read_csv_label
from model.scoring import label_forms
from model.scoring.label_forms import FORMS, CsvForm, ParquetForm, labels_form
from model.scoring.labels_csv import Score

LABELS = ["-5dB", "+1", "=1", "@x", "'", "''=", "01", "NA", "1e5", "a,b", "a\nb", "\x1b", "日本"]


def scores(number: int) -> list[Score]:
    """Scores with labels that other programs read as something else, of four recordings."""
    return [Score(f"={row // 4}\\xff.wav" if row % 8 < 4 else f"{row // 4}.wav", row / 3, row / 3 + 1,
                  LABELS[row % len(LABELS)], 1 / (row + 3), 1 + row % 2) for row in range(number)]  # fmt: skip


def written(form, folder, found, part_rows=3, top=2, without=frozenset()):
    path = folder / f"labels{form.ending}"
    parts = [form.part(found[first : first + part_rows], top) for first in range(0, len(found), part_rows)]
    any_score = form.join(str(path), parts, top, without)
    assert any_score == bool([score for score in found if score.path not in without])
    return path


@pytest.mark.parametrize("top", [1, 2])
@pytest.mark.parametrize("number", [0, 1, 5, 6, 7, 30])
def test_both_forms_say_the_same(tmp_path, monkeypatch, number, top):
    monkeypatch.setattr(label_forms, "_ROW_GROUP_ROWS", 6)
    found = scores(number)
    for without in (frozenset(), {"1.wav", "=2\\xff.wav", "none.wav"}):
        kept = [score for score in found if score.path not in without]
        table = pq.read_table(written(ParquetForm(), tmp_path, found, top=top, without=without))
        assert table.column_names == [*vars(found[0])][: 6 if top > 1 else 5] if found else True
        assert [tuple(row.values()) for row in table.to_pylist()] == [
            tuple(vars(score).values())[: 6 if top > 1 else 5] for score in kept
        ]
        with open(written(CsvForm(), tmp_path, found, top=top, without=without), newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["path"].removeprefix("./") for row in rows] == [score.path for score in kept]
        assert [read_csv_label(row["label"]) for row in rows] == [score.label for score in kept]
        assert [row["probability"] for row in rows] == [f"{score.probability:.6f}" for score in kept]


@pytest.mark.parametrize("form", FORMS)
def test_the_bytes_do_not_depend_on_the_parts(tmp_path, monkeypatch, form):
    monkeypatch.setattr(label_forms, "_ROW_GROUP_ROWS", 6)
    found = scores(31)
    first = written(form, tmp_path, found, 1).read_bytes()
    for part_rows in (5, 6, 7, 12, 31):
        assert written(form, tmp_path, found, part_rows).read_bytes() == first


def test_row_groups_are_full_but_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(label_forms, "_ROW_GROUP_ROWS", 6)
    file = pq.ParquetFile(written(ParquetForm(), tmp_path, scores(15), 2))
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [6, 6, 3]


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_finds_no_room_is_one_sentence_and_leaves_nothing(tmp_path, form):
    path = tmp_path / f"labels{form.ending}"
    # What is written to this device finds no room.
    (tmp_path / f"{path.name}.{writer_name()}.partial").symlink_to("/dev/full")
    with pytest.raises(RunError, match=f"^no space is left on the device for {path}; make room"):
        written(form, tmp_path, scores(5))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["x.csv", "x.CSV", "a.parquet/x.csv", ".csv"])
def test_names_that_ask_for_a_csv(path):
    assert isinstance(labels_form(path), CsvForm)


@pytest.mark.parametrize("path", ["x.parquet", "x.PARQUET", "x.csv.parquet"])
def test_names_that_ask_for_parquet(path):
    assert isinstance(labels_form(path), ParquetForm)
