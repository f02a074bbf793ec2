"""The forms of a table say the same of the same rows, however these come in pieces."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import RunError, UsageError
from features.io.atomic import writer_name
from features.io.csv_text import read_csv_label
from model.labels import table_output
from model.labels.table_output import TABLE_FORMS, TableOutput, check_table_name

LABELS = ["-5dB", "+1", "=1", "@x", "'", "''=", "01", "NA", "1e5", "a,b", "a\nb", "\x1b", "日本", "\x85\u2028", '"%s"']
SCHEMA = pa.schema({
    "path": pa.string(), "start_seconds": pa.float64(), "label": pa.string(), "rank": pa.int32(), "100 %": pa.float64(),
    "note": pa.string(),
})  # fmt: skip


def rows(number: int) -> pa.Table:
    """Rows with texts that other programs read as something else, of four recordings."""
    return pa.table([
        [f"={row // 4}\\xff.wav" if row % 8 < 4 else f"{row // 4}.wav" for row in range(number)],
        [row / 3 for row in range(number)],
        [LABELS[row % len(LABELS)] for row in range(number)],
        [row % 2 for row in range(number)],
        [None if row % 5 == 0 else 1 / row for row in range(number)],
        [None if row % 3 == 0 else "=, as it is" for row in range(number)],
    ], schema=SCHEMA)  # fmt: skip


def written(folder: Path, form: str, table: pa.Table, sizes: Sequence[int]) -> Path:
    """Writes the table in pieces whose sizes go round."""
    path = folder / f"x{form}"
    path.unlink(missing_ok=True)
    with TableOutput(path, SCHEMA) as output:
        first = turn = 0
        while first < len(table):
            output.append(table.slice(first, sizes[turn % len(sizes)]))
            first, turn = first + sizes[turn % len(sizes)], turn + 1
        output.complete()
        assert not path.exists()
        output.finish()
    assert output.rows == len(table)
    return path


@pytest.mark.parametrize("number", [0, 1, 5, 6, 7, 45])
def test_all_forms_say_the_same(tmp_path, monkeypatch, number):
    monkeypatch.setattr(table_output, "_ROW_GROUP_ROWS", 6)
    table = rows(number)
    expected = table.to_pylist()
    assert pq.read_table(written(tmp_path, ".parquet", table, [4])).equals(table)
    content = written(tmp_path, ".jsonl", table, [4]).read_text(encoding="utf-8")
    assert [json.loads(line) for line in content.splitlines()] == expected
    with open(written(tmp_path, ".csv", table, [4]), newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert header == SCHEMA.names
    assert lines == [
        [f"./{row['path']}" if row["path"].startswith("=") else row["path"], f"{row['start_seconds']:.6f}", label,
         str(row["rank"]), "" if row["100 %"] is None else f"{row['100 %']:.6f}", row["note"] or ""]
        for row, label in zip(expected, [line[2] for line in lines], strict=True)
    ]  # fmt: skip
    assert [read_csv_label(line[2]) for line in lines] == table["label"].to_pylist()


@pytest.mark.parametrize("form", TABLE_FORMS)
def test_the_bytes_do_not_depend_on_the_pieces(tmp_path, monkeypatch, form):
    monkeypatch.setattr(table_output, "_ROW_GROUP_ROWS", 6)
    first = written(tmp_path, form, rows(31), [1]).read_bytes()
    for sizes in ([5], [6], [7, 0, 2], [12], [31]):
        assert written(tmp_path, form, rows(31), sizes).read_bytes() == first


def test_row_groups_are_full_but_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(table_output, "_ROW_GROUP_ROWS", 6)
    file = pq.ParquetFile(written(tmp_path, ".parquet", rows(15), [2]))
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [6, 6, 3]


@pytest.mark.parametrize("form", TABLE_FORMS)
def test_nothing_is_left_of_a_table_that_is_not_finished(tmp_path, form):
    with TableOutput(tmp_path / f"x{form}", SCHEMA) as output:
        output.append(rows(3))
        output.complete()
    with pytest.raises(KeyError), TableOutput(tmp_path / f"x{form}", SCHEMA) as output:
        output.append(rows(3))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", TABLE_FORMS)
def test_a_file_that_finds_no_room_is_one_sentence_and_leaves_nothing(tmp_path, form):
    path = tmp_path / f"x{form}"
    # What is written to this device finds no room.
    (tmp_path / f"{path.name}.{writer_name()}.partial").symlink_to("/dev/full")
    with pytest.raises(RunError, match=f"^no space is left on the device for {path}; make room"):
        written(tmp_path, form, rows(5), [5])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["x.csv", "x.CSV", "a.parquet/x.jsonl", ".csv", "s3://b/x.parquet"])
def test_names_of_tables(path):
    check_table_name("--output", path)


@pytest.mark.parametrize("path", ["x", "csv", "x.csv.gz", "x.parquet/", "x.json"])
def test_a_name_that_asks_for_no_form_is_refused(path):
    with pytest.raises(UsageError, match=r"^--output is a table whose name ends in \.csv, \.parquet or \.jsonl, not"):
        check_table_name("--output", path)
