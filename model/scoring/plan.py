"""The plan of scoring: the windows of files, dealt into batches in the order of the CSV."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from features.audio.decode import probe
from features.errors import ClipError, Reject
from features.frontend.spec import FeatureSpec
from features.frontend.windows import num_windows
from features.sources.paths import clip_file
from model.inference.litert import BATCH_CLIPS

_SCHEMA = pa.schema({"path": pa.string(), "first_window": pa.int64(), "num_windows": pa.int64()})


@dataclass(frozen=True, slots=True)
class WindowUnit:
    """One unit of scoring: some windows of one file.

    Attributes:
        path: of the file, relative to the root, as `features.sources.paths.escape_path` writes it.
        first_window: number of the first window.
        num_windows: how many follow one another from there.
    """

    path: str
    first_window: int
    num_windows: int


Batch = list[WindowUnit]


class Plan(NamedTuple):
    """What is to be done.

    Attributes:
        batches: of `BATCH_CLIPS` windows at most each.
        rejects: the files whose header cannot be read.
        shortened: paths of the files of which a last window is left out, as it is too short.
    """

    batches: list[Batch]
    rejects: list[Reject]
    shortened: list[str]


def plan_batches(root: str, paths: Iterable[str], spec: FeatureSpec, least_seconds: float) -> Plan:
    """Deals the windows of files into batches, in the order of the files.

    A file is split only where its windows alone are more than a batch.

    Args:
        root: where the paths begin.
        paths: of the files, escaped.
        spec: the front end.
        least_seconds: how long the last of several windows is at least.
    """
    rejects = []
    shortened = []
    batches: list[Batch] = []
    room = 0
    for path in paths:
        try:
            info = probe(clip_file(root, path))
        except ClipError as error:
            rejects.append(Reject(path, error.stage, str(error.reason), error.message))
            continue
        count = num_windows(info, spec, least_seconds)
        if count < num_windows(info, spec):
            shortened.append(path)
        for first in range(0, count, BATCH_CLIPS):
            unit = WindowUnit(path, first, min(BATCH_CLIPS, count - first))
            if unit.num_windows > room:
                batches.append([])
                room = BATCH_CLIPS
            batches[-1].append(unit)
            room -= unit.num_windows
    return Plan(batches, rejects, shortened)


def shortened_sentence(count: int, least_seconds: float) -> str:
    """Returns what the last paragraph says of last windows that were left out."""
    if not count:
        return ""
    windows = "1 last window" if count == 1 else f"{count:,} last windows"
    return f" Left out: {windows} of less than {least_seconds:g} s."


def write_batches(path: Path, batches: Iterable[Sequence[WindowUnit]]) -> None:
    """Writes a work list: a Parquet file with one row group per batch and one row per unit."""
    with pq.ParquetWriter(path, _SCHEMA) as writer:
        for batch in batches:
            rows = pa.Table.from_pylist([asdict(unit) for unit in batch], schema=_SCHEMA)
            writer.write_table(rows, row_group_size=len(batch))


def read_batch(path: Path, number: int) -> Batch:
    """Reads one batch of a work list."""
    with pq.ParquetFile(path) as file:
        return [WindowUnit(**row) for row in file.read_row_group(number).to_pylist()]


def plan_text(batches: Iterable[Sequence[WindowUnit]]) -> str:
    """Returns a plan as text that no other plan has."""
    return json.dumps([[(unit.path, unit.first_window, unit.num_windows) for unit in batch] for batch in batches])
