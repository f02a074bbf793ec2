"""A scoring job that was planned, and has no part yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.errors import Reject
from features.frontend.presets import preset
from features.frontend.windows import Windowing
from features.sources.clips import Source
from features.sources.folder import scan
from features.store.versions import library_versions
from model.scoring.job import JobSettings, Parts, open_parts
from model.scoring.part import Labels
from model.scoring.plan import Batch, Plan, plan_batches


@dataclass(frozen=True)
class PlannedJob:
    source: Source
    plan: Plan
    parts: Parts


def plan_of(batches: list[Batch]) -> Plan:
    """A plan of these batches, whatever they are."""
    units = [unit for batch in batches for unit in batch]
    paths = list(dict.fromkeys(unit.path for unit in units))
    return Plan(
        paths=pa.chunked_array([pa.array(paths, pa.string())]),
        files=np.array([paths.index(unit.path) for unit in units], np.int64),
        first_windows=np.array([unit.first_window for unit in units], np.int64),
        num_windows=np.array([unit.num_windows for unit in units], np.int64),
        ends=np.cumsum([len(batch) for batch in batches], dtype=np.int64),
        rejects=[],
        shortened=np.zeros(len(paths), bool),
        seconds=np.ones(len(paths)),
        rates_hz=np.full(len(paths), 16_000, np.int32),
        in_order=np.zeros(len(paths), bool),
        network_windows=np.zeros(len(paths), np.int64),
    )


SETTINGS = JobSettings(
    network="0a" * 32,
    temperature=1.0,
    executor="litert 2",
    windowing=Windowing(least_seconds=0.05),
    embeddings=None,
    versions=library_versions(),
)


def labels_of(
    windows: list[int],
    rejects: Sequence[Reject] = (),
    starts: Sequence[float] | None = None,
    classes: int = 3,
    embedding_size: int = 0,
) -> Labels:
    """What came of units with so many windows of a second each, a reject without; the first class is the best."""
    found = sum(windows)
    start_seconds = np.arange(found, dtype=np.float64) if starts is None else np.array(starts, np.float64)
    probabilities = np.linspace(1, 0.25, found * classes, dtype=np.float32).reshape(found, classes)
    embeddings = np.arange(found * embedding_size, dtype=np.float16).reshape(found, embedding_size)
    return Labels(
        windows=windows,
        start_seconds=start_seconds,
        end_seconds=start_seconds + 1,
        probabilities=probabilities,
        embeddings=embeddings if embedding_size else None,
        rejects=list(rejects),
        warnings=[],
        scored=len(windows) - len(rejects),
    )


def plan_job(folder: Path, recordings: Path, settings: JobSettings = SETTINGS) -> PlannedJob:
    """Plans the recordings of a folder and opens the job below `folder`."""
    folder.mkdir(exist_ok=True)
    source = scan(str(recordings), labelled=False)
    plan = plan_batches(
        source.root, source.clips["path"].to_pylist(), preset("speech-commands"), Windowing(least_seconds=0.05)
    )
    return PlannedJob(source, plan, open_parts(folder, source, plan, settings))
