"""Hugging Face's datasets, DuckDB, polars and pandas open publications, offline: the rows of the set, to the bit."""

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from features.interchange.publication import publish
from features.store import shards
from tests.features.interchange.sets import HALF, ODD, POOLED, TINY, odd_rows, rows_of, table_set
from tests.peers.library import ENVIRONMENTS, ROOT

pytestmark = [pytest.mark.trial, pytest.mark.peers("datasets")]
OPENED = """
import json, sys
import datasets
import numpy as np

folder, dtype = sys.argv[1:]
found = datasets.load_dataset(folder)
streamed = datasets.load_dataset(folder, streaming=True)
said = {"names": found[next(iter(found))].features["label"].names, "rows": {}}
for split, rows in found.items():
    assert rows.features == streamed[split].features
    for kind in (None, "numpy", "arrow", "pandas", "polars", "streamed"):
        if kind == "streamed":
            read = [row["features"] for row in streamed[split].with_format("numpy")]
            labels = [row["label"] for row in streamed[split]]
        elif kind == "arrow":
            read = rows.with_format(kind)[:]["features"].to_pylist()
        elif kind in ("pandas", "polars"):
            lists = [list(row) for row in rows.with_format(kind)[:]["features"]]
            read = [np.array([*map(list, row)] if np.ndim(row[0]) else row) for row in lists]
        else:
            read = [row["features"] for row in (rows.with_format(kind) if kind else rows)]
        if kind == "numpy":
            assert {row.dtype for row in read} == {np.dtype("float32")}
            assert rows.with_format("numpy")[:]["features"].shape == (len(rows), *read[0].shape)
        np.save(f"{split}-{kind}.npy", np.array(read).astype(dtype))
    assert labels == rows["label"][:]
    said["rows"][split] = [[rows.features["label"].int2str(row["label"]), row["path"], row["start"], row["group"]]
                           for row in rows.remove_columns("features")]
print(json.dumps(said))
"""


def run(environment: str, code: str, folder: Path, *arguments: object) -> str:
    """Runs code in the environment of a library, without a network; returns what it prints."""
    settings = {
        "HF_HOME": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HOME": str(folder),
    }
    python = ENVIRONMENTS / environment / "bin" / "python"
    done = subprocess.run(
        [python, "-I", "-c", code, *map(str, arguments)],
        cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("spec", "form", "partitions"),
    [
        (TINY, "parquet", ("fold-1", "fold-2")),
        (HALF, "tfrecord", ("training", "validation")),
        (POOLED, "tfrecord", ("training", "testing")),
    ],
    ids=["float32", "float16", "pooled"],
)
def test_datasets_reads_the_rows_to_the_bit_in_every_form(tmp_path, monkeypatch, spec, form, partitions):
    monkeypatch.setattr(shards, "MAX_ROWS", 8)
    features = table_set(tmp_path / "set", odd_rows(30, partitions), spec, form)
    publish(features, str(tmp_path / "out"), "huggingface")
    said = json.loads(run("datasets", OPENED, tmp_path, tmp_path / "out", spec.storage_dtype))
    assert said["names"] == sorted(ODD)
    expected = rows_of(features)
    assert set(said["rows"]) == set(expected)
    for split, rows in expected.items():
        assert said["rows"][split] == [[row.label, row.path, row.start, row.group] for row in rows]
        whole = np.stack([row.features for row in rows])
        for kind in ("None", "numpy", "arrow", "pandas", "polars", "streamed"):
            read = np.load(tmp_path / f"{split}-{kind}.npy")
            assert read.shape == whole.shape, kind
            assert read.tobytes() == whole.tobytes(), kind


def test_the_lines_of_the_card_are_true(tmp_path):
    features = table_set(tmp_path / "set", odd_rows(30, ("training", "testing")))
    publish(features, str(tmp_path / "out"), "huggingface")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    lines = card.split("```python\n")[1].split("```")[0].splitlines()
    whole = np.stack([row.features for row in rows_of(features)["train"]])
    code = (
        "import sys, datasets, pandas, polars, numpy as np\nDIR = sys.argv[1]\n"
        f"np.save('datasets.npy', {lines[0].split('  #')[0]})\n"
        f"print(len({lines[1]}))\n"
        f"np.save('polars.npy', {lines[2].split('  #')[0]})\n"
        "np.save('pandas.npy', np.stack([np.stack(row) for row in "
        "pandas.read_parquet(f'{DIR}/data/train-00000-of-00001.parquet')['features']]))\n"
    )
    first = sorted(ODD)[0]
    rows = [row for held in rows_of(features).values() for row in held]
    assert run("datasets", code, tmp_path, tmp_path / "out").split() == [str(sum(row.label == first for row in rows))]
    for name in ("datasets", "polars", "pandas"):
        read = np.load(tmp_path / f"{name}.npy")
        assert (read.dtype, read.shape) == (whole.dtype, whole.shape), name
        assert read.tobytes() == whole.tobytes(), name
    code = f"import duckdb, json, sys\nDIR = sys.argv[1]\nprint(json.dumps({lines[3]}.fetchall()))"
    counted = dict(json.loads(run("duckdb", code, tmp_path, tmp_path / "out")))
    assert counted == {label: sum(row.label == label for row in rows_of(features)["train"]) for label in ODD}


def test_the_lines_of_the_page_are_true(tmp_path):
    page = (ROOT / "features" / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    [published] = [block for block in blocks if "import datasets" in block]
    [of_set] = [block for block in blocks if "bin.reinterpret" in block]
    queries = re.findall(r"^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    features = table_set(tmp_path / "speech-parquet", odd_rows(30, ("training", "testing")), TINY, "parquet")
    publish(features, str(tmp_path / "speech"), "huggingface")
    values = int(np.prod(TINY.shape))
    assert run("datasets", of_set.replace("124 * 129", str(values)), tmp_path) == f"(15, {values})\n"
    said = run("datasets", published, tmp_path)
    assert said.count(f"(15, {', '.join(map(str, TINY.shape))})") == 2
    assert said.count(" 6\n") == len(ODD)
    code = "import duckdb, json, sys\nprint(json.dumps([duckdb.sql(query).fetchall() for query in sys.argv[1:]]))"
    found = [dict(rows) for rows in json.loads(run("duckdb", code, tmp_path, *queries))]
    assert found == [dict.fromkeys(ODD, 3), dict.fromkeys(ODD, 6)]


AUDIO = """
import json, os, sys
import datasets
from huggingface_hub import DatasetCard

folder = sys.argv[1]
card = DatasetCard.load(os.path.join(folder, "README.md")).data
builder = datasets.load_dataset_builder(folder)
features = builder.config.features
assert type(builder).__name__.lower().startswith("audiofolder")
assert features == builder.info.features
# Its Audio needs PyTorch even to keep the path of a file: the other columns are read here.
features = datasets.Features({**features, "audio": datasets.Value("string")})
found = datasets.load_dataset(folder, features=features)
names = features["label"].names
print(json.dumps({
    "sizes": card.size_categories, "names": names, "audio": str(builder.info.features["audio"]),
    "rows": {split: [[names[row["label"]], row["group"], row["path"], row["start"]] for row in rows]
             for split, rows in found.items()},
}))
"""


@pytest.mark.parametrize("labels", [("001", "1", *ODD), ("NA", "None", "=x")], ids=["csv", "parquet"])
def test_datasets_opens_an_audiofolder_with_labels_and_splits(tmp_path, labels):
    rows: list[dict[str, object]] = [
        {"path": f"{'_' * (n % 3)}a {n}/[{n}]%.wav", "label": labels[n % len(labels)], "group": f"0{n // 2}",
         "partition": ("fold-1", "fold-2", "fold-3")[n % 3]}
        for n in range(21)
    ]  # fmt: skip
    features = table_set(tmp_path / "set", rows)
    publish(features, str(tmp_path / "out"), "audiofolder")
    said = json.loads(run("datasets", AUDIO, tmp_path, tmp_path / "out"))
    assert said["names"] == sorted(labels)
    assert said["sizes"] == ["n<1K"]
    assert said["audio"].startswith("Audio(")
    for split, held in rows_of(features).items():
        expected = sorted([row.label, row.group, row.path, row.start] for row in held)
        assert sorted(said["rows"][split]) == expected
