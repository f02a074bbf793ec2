"""Small sets to publish, and what is in them by soundmill's own reader."""

import csv
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.io.entry import AnyPath
from features.sources.partition import assign
from features.sources.table import scan_table
from features.sources.table_layout import TableLayout
from features.store.clips_table import read_clips
from features.store.layout import Layout
from features.store.manifest import load_manifest
from features.store.shards import read_shard
from features.update.update import CacheRules, prepare
from tests.features.examples import TINY, build_units, changed, committed, provenance_of
from tests.signals import noise, write_wav

# A class that YAML, Markdown, HTML or a shell takes for something else, and one that CSV readers do.
ODD = ('a, "b": <i>#|*`\\ c', "日本", "- no", "true", "0")
POOLED = FeatureSpec(
    front_end="stft", sample_rate_hz=16_000, window_samples=16, hop_samples=16, fft_samples=16, pool="mean"
)
HALF = changed(TINY, storage_dtype="float16")


def table_set(
    folder: Path,
    rows: list[dict[str, object]],
    spec: FeatureSpec = TINY,
    storage_format: str = "tfrecord",
    **provenance: object,
) -> Path:
    """Featurizes the clips of a table: `path`, `label`, and `start`, `duration` in seconds, `group`, `partition`.

    Files that are not there are made of noise, a fifth of a second long.
    """
    base = folder.with_name(f"{folder.name}-sounds")
    for number, row in enumerate(rows):
        path = base / str(row["path"])
        if not path.exists():
            write_wav(path, noise(3_200, seed=number))
    with open(base / "clips.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    timed = "start" in rows[0]
    layout = TableLayout(start_column="start", duration_column="duration") if timed else TableLayout()
    source = scan_table(str(base / "clips.csv"), layout)
    clips, _ = assign(source.clips, source.root, None, None)
    update = prepare(Layout(folder, storage_format), None, source, clips, spec, provenance_of(source), time.time_ns(),
                     CacheRules())  # fmt: skip
    build_units(update)
    committed(update, **provenance)
    return folder


def odd_rows(count: int = 30, partitions: tuple[str, ...] = ("fold-1", "fold-2")) -> list[dict[str, object]]:
    """Clips of classes with odd names, dealt out to partitions."""
    return [
        {
            "path": f"{number}.wav",
            "label": ODD[number % len(ODD)],
            "group": f"g{number // 2}",
            "partition": partitions[number % len(partitions)],
        }
        for number in range(count)
    ]


class Row(NamedTuple):
    """A row of a set."""

    features: NDArray[np.floating]
    label: str
    path: str
    start: int
    group: str


def rows_of(folder: AnyPath) -> dict[str, list[Row]]:
    """The rows of a set by split, in their order."""
    manifest = load_manifest(folder)
    layout = manifest.layout(folder)
    starts = read_clips(layout, manifest)["start"].to_pylist()
    names = {"training": "train", "testing": "test"}
    found: dict[str, list[Row]] = {}
    for partition, shards in manifest.partitions.items():
        for shard in shards:
            rows = read_shard(layout, shard, manifest.spec)
            zipped = zip(rows.tensors, rows.labels, rows.paths, [starts.pop(0) for _ in rows.paths], rows.groups,
                         strict=True)  # fmt: skip
            found.setdefault(names.get(partition, partition.replace("-", "_")), []).extend(Row(*row) for row in zipped)
    return found
