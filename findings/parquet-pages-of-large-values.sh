#!/usr/bin/env bash
# Expected: `data_page_size`, 1 MiB by default, bounds the pages of a Parquet file; a value of 64 KB is far below it, so that a page has 16 of them.
# Seen (pyarrow 25.0.1, NumPy 2.4.6, Python 3.11.7): a row group of 128 tensors of 63,984 bytes is one page of 8,190,464 bytes, and
# `data_page_size=65536` changes nothing. `write_batch_size=16` makes it four pages of 2 MB (a page ends with the batch in which it passes
# the limit), `write_batch_size=1` ends them at 1.1 MB; so written, the same rows take less CPU time here, as what is in
# work fits into a core's cache.
# Who meets it: whoever stores tensors, pictures or sounds as binary values. A reader holds a page at a time, and finds single rows by pages.
# Where from: the writer looks at the size of a page after each batch of `write_batch_size` values, 1,024 by default, which is meant for numbers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check pyarrow==25.0.1 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import platform
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, GROUPS, BYTES = 128, 8, 63_984
tensors = np.random.default_rng(0).integers(0, 256, (ROWS, BYTES), np.uint8)
offsets = np.arange(ROWS + 1, dtype=np.int32) * BYTES
column = pa.Array.from_buffers(pa.binary(), ROWS, [None, pa.py_buffer(offsets), pa.py_buffer(tensors)])
table = pa.table([column], schema=pa.schema([pa.field("tensor", pa.binary(), nullable=False)]))


class Sink:
    """Notes how long each write is: a page is one, and its header another."""

    closed = False

    def __init__(self):
        self.lengths = []

    def write(self, content):
        self.lengths.append(len(content))
        return len(content)

    def flush(self):
        pass


def written(**options):
    best, pages = float("inf"), []
    for _ in range(5):
        sink, began = Sink(), time.process_time()
        settings = dict(compression="none", use_dictionary=False, write_statistics=False, store_schema=False)
        with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), table.schema, **settings, **options) as writer:
            for _ in range(GROUPS):
                writer.write_table(table, row_group_size=ROWS)
        best = min(best, time.process_time() - began)
        pages = [length for length in sink.lengths if length >= BYTES]
    return pages, best / ROWS / GROUPS * 1e6


whole = ROWS * (4 + BYTES)
expected = {
    "as it comes": ({}, [whole] * GROUPS),
    "data_page_size=65536": ({"data_page_size": 65_536}, [whole] * GROUPS),
    "write_batch_size=16": ({"write_batch_size": 16}, [whole // 4] * 4 * GROUPS),
    "write_batch_size=1": ({"write_batch_size": 1}, ([17 * (4 + BYTES)] * 7 + [9 * (4 + BYTES)]) * GROUPS),
}
print(f"pyarrow {pa.__version__}, Python {platform.python_version()}")
as_described = True
for name, (options, sizes) in expected.items():
    pages, microseconds = written(**options)
    as_described &= pages == sizes
    print(f"{name}: {len(pages)} pages, the largest of {max(pages):,} bytes; {microseconds:.0f} us of CPU time a row")
sys.exit(not as_described)
PYTHON
