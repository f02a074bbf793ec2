#!/usr/bin/env bash
# Expected: a column of bytes comes back as the bytes that were stored, whatever the format; `with_format("numpy")` gives them to `np.frombuffer`.
# Seen (datasets 5.2.0, NumPy 2.4.6, pyarrow 26.0.1, Python 3.11.7): with "numpy" every value is `numpy.bytes_` without its zero bytes at the end,
# one row at a time, in batches and streamed. Plain rows, Arrow, pandas and polars have all bytes. So a tensor of float32 that ends in zeros,
# as a clip that was padded does, is shorter, and one of zeros is empty. Nothing is said.
# Who meets it: whoever keeps tensors, pictures or tokens as bytes in Parquet and takes them out as arrays.
# Where from: the formatter makes `np.array(value)` of each `bytes`, whose dtype `S` pads with zero bytes, and so takes those at the end for padding.
# Way out: typed columns (`List(Value("float32"), length=N)`, `Array2D`), or bytes from plain rows or from Arrow.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check datasets==5.2.0 pandas==3.1.1 numpy==2.4.6 pyarrow==26.0.1 \
  polars==2.1.0 huggingface_hub==2.4.0
HF_HOME=$folder/cache HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 "$folder/env/bin/python" - "$folder" 2>"$folder/log" <<'PYTHON' || { tail -n 20 "$folder/log"; exit 1; }
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

datasets.disable_progress_bars()
tensors = np.array([[1, 2, 3, 4], [1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1.1]], np.float32)
stored = [row.tobytes() for row in tensors]
path = Path(sys.argv[1], "rows.parquet")
pq.write_table(pa.table({"tensor": pa.array(stored, pa.binary())}), path)

rows = datasets.load_dataset("parquet", data_files=str(path), split="train")
streamed = datasets.load_dataset("parquet", data_files=str(path), split="train", streaming=True)
read = {
    "plain rows": [row["tensor"] for row in rows],
    "arrow": rows.with_format("arrow")[:]["tensor"].to_pylist(),
    "pandas": list(rows.with_format("pandas")[:]["tensor"]),
    "polars": rows.with_format("polars")[:]["tensor"].to_list(),
    "numpy, row by row": [bytes(row["tensor"]) for row in rows.with_format("numpy")],
    "numpy, a batch": [bytes(value) for value in rows.with_format("numpy")[:]["tensor"]],
    "numpy, streamed": [bytes(row["tensor"]) for row in streamed.with_format("numpy")],
}
packages = ("datasets", "numpy", "pyarrow", "pandas", "polars")
print(", ".join(f"{name} {version(name)}" for name in packages) + f", Python {platform.python_version()}")
print(f"stored: {[len(value) for value in stored]} bytes")
as_described = True
for name, values in read.items():
    print(f"{name}: {[len(value) for value in values]} bytes")
    cut = [value.rstrip(b"\0") for value in stored]
    as_described &= values == (cut if name.startswith("numpy") else stored)
sys.exit(not as_described)
PYTHON
