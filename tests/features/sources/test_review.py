import codecs
import csv
import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import UsageError
from features.sources.review import COLUMNS, read_review
from tests.features.sources.reviews import write_review

ROWS = [
    ("yes/a.wav", 0, 1, "yes", "right"),
    ('no/"b", c\r\n\t.wav', 1.5, 2.25, "no", "wrong", "yes"),
    ("=1+1/\\xff\\\\.wav", 0.000001, 3600.5, "-5dB", "wrong", "=x"),
    ("+é.wav", 0, 0.5, "'quoted", "wrong"),
]


def told(review):
    return [(one.path, one.start_seconds, one.end_seconds, one.label, one.is_right, one.correct_label)
            for one in review.judgements]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ROWS) + 1))
def test_what_pages_write_is_read(tmp_path, number):
    path = write_review(tmp_path / "review.csv", ROWS[:number])
    review = read_review(str(path))
    expected = [(*row[:4], row[4] == "right", row[5] if len(row) > 5 else None) for row in ROWS[:number]]
    assert told(review) == expected
    assert (review.place, review.sha256) == (str(path), hashlib.sha256(path.read_bytes()).hexdigest())
    assert [one.outcome for one in review.judgements] == ["yes", "yes", "=x", None][:number]
    # A field of two lines counts as the line on which its row begins.
    assert [one.where for one in review.judgements] == [f"{path}, line {line}" for line in (2, 3, 5, 6)][:number]


def test_a_spreadsheet_may_have_saved_it(tmp_path):
    expected = told(read_review(str(write_review(tmp_path / "review.csv", ROWS))))
    with open(tmp_path / "review.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    with open(tmp_path / "saved.csv", "w", encoding="utf-8", newline="") as file:
        file.write(codecs.BOM_UTF8.decode())
        csv.writer(file, delimiter=";").writerows(
            [["note", *reversed(rows[0])]]
            + [["x", *reversed([*row[:4], row[4].title(), row[5]])] for row in rows[1:]]
        )  # fmt: skip
    assert told(read_review(str(tmp_path / "saved.csv"))) == expected
    columns = dict(zip(COLUMNS, zip(*ROWS[:1], strict=True), strict=False)) | {"correct_label": [""]}
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), tmp_path / "saved.parquet")
    (tmp_path / "saved.jsonl").write_text(json.dumps({name: values[0] for name, values in columns.items()}) + "\n")
    for name in ("saved.parquet", "saved.jsonl"):
        assert told(read_review(str(tmp_path / name))) == expected[:1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (",0,1,yes,right,", "line 3: a judgement names a recording, but 'path' is ''"),
        ("a.wav,0,1, ,right,", "line 3: a judgement names the label that was judged, but 'label' is ' '"),
        ("a.wav,0,1,yes,,", "line 3: a verdict is right or wrong, but 'verdict' is ''"),
        ("a.wav,0,1,yes,maybe,", "line 3: a verdict is right or wrong, but 'verdict' is 'maybe'; judge it anew"),
        ("a.wav,0,1,yes,right,no", "line 3: a label that is right has no other that is correct"),
        ("a.wav,0,1,yes,wrong, yes", "line 3: a label that is wrong is not the correct one as well"),
        ("a.wav,-1,1,yes,right,", "line 3: the start is a number of seconds not below 0, but 'start_seconds' is '-1'"),
        ("a.wav,1,1,yes,right,", "line 3: the end is a number of seconds above the start, but 'end_seconds' is '1'"),
        ("a.wav,nan,1,yes,right,", "line 3: the start is a number of seconds"),
        ("a.wav,0,inf,yes,right,", "line 3: the end is a number of seconds"),
        ("a.wav,0,1,yes", "line 3: a row has a field for each of the 6 columns, not 4"),
        ('a.wav,0,1,yes,right,"', "line 3: the row that begins here cannot be read"),
        ("\xff.wav,0,1,yes,right,", "line 3: a path is UTF-8"),
        ("a.wav,0,1,\xff,right,", "line 3: a label is UTF-8"),
    ],
)
def test_a_row_that_is_no_judgement_is_named(tmp_path, line, message):
    path = tmp_path / "review.csv"
    path.write_bytes(f"{','.join(COLUMNS)}\na.wav,0,1,yes,right,\n{line}\n".encode("latin-1"))
    with pytest.raises(UsageError) as error:
        read_review(str(path))
    assert f"review.csv, {message}" in str(error.value)


def test_files_that_are_no_reviews(tmp_path):
    (tmp_path / "labels.csv").write_text("path,start_seconds,end_seconds,label,probability\n")
    (tmp_path / "twice.csv").write_text(",".join([*COLUMNS, "label"]) + "\n")
    (tmp_path / "empty.csv").write_text("")
    for name, message in {
        "none.csv": "no such file or folder: ",
        "review": "a review is a table that ends in .csv .tsv ",
        "labels.csv": "a review has one column 'verdict', and .*labels.csv has 0 of the name; its columns are path,",
        "twice.csv": "a review has one column 'label', and .*twice.csv has 2 of the name",
        "empty.csv": "is empty",
    }.items():
        with pytest.raises(UsageError, match=message):
            read_review(str(tmp_path / name))
