#!/usr/bin/env bash
# Expected: `ParquetFile.iter_batches(65536)` gives batches of 65,536 rows, or of a row group that is smaller, whatever the columns are read as.
# Seen (pyarrow 25.0.1, Python 3.11.7; row groups of 1,020 rows): plain columns come in batches of 65,536 rows, across row groups. As soon as one
# column is read as a dictionary (`read_dictionary=["label"]`) each batch ends with its row group: 100 batches instead of 2. That holds for all
# columns of the batch, and for files whose row groups all have the same dictionary. Where the file has the column in plain encoding
# (`use_dictionary=False`), or the column is not among those that are asked for, batches are large again. `pyarrow.dataset` gives
# batches of a row group in any case, be there dictionaries or not.
# Who meets it: whoever reads labels as dictionaries to save memory from files of many small row groups, and does something for each batch: the
# loop takes fifty times as many turns.
# Where from: a batch has one dictionary a column, and a column chunk of the file brings its own: the reader cuts where the next one begins.
# Way out: concatenate and `unify_dictionaries`, or larger row groups.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check pyarrow==25.0.1
"$folder/env/bin/python" - "$folder" <<'PYTHON'
import platform
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

ROWS, GROUP, ASKED = 100_000, 1_020, 65_536
table = pa.table({"label": ["yes", "no", "up", "down"] * (ROWS // 4), "number": range(ROWS)})
encoded, plain = (Path(sys.argv[1], f"{name}.parquet") for name in ("encoded", "plain"))
pq.write_table(table, encoded, row_group_size=GROUP)
pq.write_table(table, plain, row_group_size=GROUP, use_dictionary=False)


def batches(path, dictionaries, columns=None):
    with pq.ParquetFile(path, read_dictionary=dictionaries) as file:
        return [len(batch) for batch in file.iter_batches(ASKED, columns=columns)]


def between(*steps):
    borders = sorted({ROWS, *(border for step in steps for border in range(0, ROWS, step))})
    return [end - begin for begin, end in zip(borders, borders[1:])]


large = between(ASKED)
dataset = ds.dataset(encoded, format="parquet")
seen = {
    "as text": (batches(encoded, []), large),
    "label as a dictionary": (batches(encoded, ["label"]), between(ASKED, GROUP)),
    "label as a dictionary, number alone asked for": (batches(encoded, ["label"], ["number"]), large),
    "label as a dictionary, written in plain encoding": (batches(plain, ["label"]), large),
    "pyarrow.dataset, as text": ([len(batch) for batch in dataset.to_batches(batch_size=ASKED) if len(batch)], between(GROUP)),
}
print(f"pyarrow {pa.__version__}, Python {platform.python_version()}; {ROWS:,} rows in groups of {GROUP:,}, asked for {ASKED:,} at a time")
for name, (found, _) in seen.items():
    print(f"{name}: {len(found)} batches, the largest of {max(found):,} rows")
sys.exit(any(found != expected for found, expected in seen.values()))
PYTHON
