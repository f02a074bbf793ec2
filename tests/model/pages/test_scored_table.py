"""Tables of labels: the forms that score writes are read alike, whole recordings at a time, and others are refused."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import UsageError
from model.labels.table_output import TableOutput
from model.pages import table_batches
from model.pages.scored_table import NO_TIME, ScoredTable

PATHS = ["-a,b.wav", '=x"y".wav', "c/<script>.wav", "d\\xff.wav", "e\nf.wav", "ünï.wav"]
LABELS = ["'quoted", "+plus", "<b>&", "NA", "a,b", "01"]


def table_of(windows: int = 4, **more) -> pa.Table:
    """A table as score has it: recordings in their order, each with windows of all labels in turn."""
    paths = [path for path in PATHS for _ in range(windows)]
    start = np.tile(np.arange(windows) * 0.123456789, len(PATHS))
    labels = [LABELS[(number * 5 + number // 7) % len(LABELS)] for number in range(len(paths))]
    probabilities = np.random.default_rng(0).uniform(size=len(paths))
    columns = {"path": paths, "start_seconds": start, "end_seconds": start + 1, "label": labels}
    return pa.table(columns | {"probability": probabilities} | more)


def written(place: Path, table: pa.Table) -> Path:
    with TableOutput(place, table.schema) as output:
        output.append(table)
        output.complete()
        output.finish()
    return place


def read(place: Path):
    with ScoredTable(str(place)) as table:
        pieces = list(table.recordings())
        rows = []
        for piece in pieces:
            rows += zip([piece.paths[number] for number in piece.recordings], piece.start_seconds.tolist(),
                        piece.end_seconds.tolist(), [table.labels[number] for number in piece.labels],
                        piece.probabilities.tolist(), piece.hours.tolist(), strict=True)  # fmt: skip
        return rows, pieces


@pytest.mark.parametrize("form", [".csv", ".parquet", ".jsonl"])
def test_all_forms_are_read_to_the_digits_of_a_csv(form, tmp_path):
    times = ["2024-05-01T23:59:59.500+02:00", None] * 12
    table = table_of(start_time=pa.array(times, pa.string()), rank=pa.array([1, 2] * 12, pa.int32()))
    rows, _ = read(written(tmp_path / f"labels{form}", table))
    hour = (datetime(2024, 5, 1, 23) - datetime(1970, 1, 1)).total_seconds() / 3600
    assert rows == [
        (row["path"], float(f"{row['start_seconds']:.6f}"), float(f"{row['end_seconds']:.6f}"), row["label"],
         float(f"{row['probability']:.6f}"), NO_TIME if row["start_time"] is None else hour)
        for row in table.to_pylist()
    ]  # fmt: skip


@pytest.mark.parametrize("form", [".csv", ".parquet", ".jsonl"])
def test_recordings_stay_whole_however_the_file_is_read(form, tmp_path, monkeypatch):
    place = written(tmp_path / f"labels{form}", table_of(windows=9))
    rows, pieces = read(place)
    monkeypatch.setattr(table_batches, "BLOCK_BYTES", 400)
    monkeypatch.setattr(table_batches, "BATCH_ROWS", 5)
    again, more = read(place)
    assert again == rows
    assert len(more) > len(pieces)
    for piece in more:
        assert set(piece.counts.tolist()) == {9}


def test_what_a_window_has_besides_its_label_is_found(tmp_path):
    more = {f"probability_{label}": np.linspace(0, 1, 24) for label in LABELS[:2]}
    table = table_of(**more)
    with ScoredTable(str(written(tmp_path / "labels.csv", table))) as opened:
        assert opened.has_others
        window = PATHS[1], 0.123457
        [(_, found)] = opened.other_labels([window], 2).items()
    row = table.to_pylist()[5]
    names = {row["label"]: row["probability"], **{label: row[f"probability_{label}"] for label in LABELS[:2]}}
    assert dict(found).keys() <= names.keys()
    assert found[0][1] == pytest.approx(max(names.values()), abs=1e-6)


@pytest.mark.parametrize("form", [".csv", ".parquet", ".jsonl"])
def test_a_table_without_a_line_is_one(form, tmp_path):
    assert read(written(tmp_path / f"labels{form}", table_of().slice(0, 0)))[0] == []


def bad(tmp_path: Path, content: str | bytes, name: str = "labels.csv") -> str:
    place = tmp_path / name
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as error:
        read(place)
    return str(error.value)


HEADER = "path,start_seconds,end_seconds,label,probability\n"


def test_what_is_no_table_of_labels_is_refused(tmp_path):
    assert "no column probability" in bad(tmp_path, "path,start_seconds,end_seconds,label\na,0,1,x\n")
    assert "it is empty" in bad(tmp_path, "")
    assert "row 2" in bad(tmp_path, f"{HEADER}a.wav,0,1,x,0.5\na.wav,1,2,x,1.5\n")
    assert "row 1" in bad(tmp_path, f"{HEADER}a.wav,2,1,x,0.5\n")
    assert "lie apart" in bad(tmp_path, f"{HEADER}a.wav,0,1,x,0.5\nb.wav,0,1,x,0.5\na.wav,1,2,x,0.5\n")
    assert "labels.csv" in bad(tmp_path, f"{HEADER}a.wav,0,1,x\n")
    assert "labels.csv" in bad(tmp_path, f"{HEADER}a.wav,zero,1,x,0.5\n")
    assert "labels.csv" in bad(tmp_path, f"{HEADER}a.wav,,1,x,0.5\n")
    assert "labels.csv" in bad(tmp_path, HEADER.encode() + b"\xff.wav,0,1,x,0.5\n")
    assert "labels.jsonl" in bad(tmp_path, "no json\n", "labels.jsonl")
    assert "labels.parquet" in bad(tmp_path, "no parquet", "labels.parquet")
    assert "ends in" in bad(tmp_path, HEADER, "labels.txt")
    with pytest.raises(UsageError, match=r"none\.csv"):
        read(tmp_path / "none.csv")


def test_a_number_that_is_missing_is_refused(tmp_path):
    table = table_of().set_column(4, "probability", pa.array([None] * 24, pa.float64()))
    pq.write_table(table, tmp_path / "labels.parquet")
    with pytest.raises(UsageError, match="missing"):
        read(tmp_path / "labels.parquet")
