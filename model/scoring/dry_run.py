"""What a score would do, and about how long it would take, without doing it."""

import time
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from features.frontend.windows import Windowing, windowing_of
from features.runtime.processes import choose_workers, run_jobs
from features.runtime.progress import Progress
from features.runtime.quantities import counted, duration_text, sound_text
from features.sources.clips import Source
from features.sources.table import list_clips
from model.inference.artifact import read_description
from model.inference.artifact_description import ArtifactDescription
from model.inference.executor import load_executor
from model.scoring.known_set import open_known_set
from model.scoring.label_windows import label_windows
from model.scoring.low_rates import low_rates
from model.scoring.plan import HEADERS_SCHEMA, Plan, WindowUnit, deal, read_headers
from model.scoring.request import Request, check, further_outputs, label_rules
from model.scoring.scorer import find_work

_FILES_OF_A_JOB = 1_000
# From so many headers on, several processes are sooner done than one, their start included.
_FILES_THAT_PAY = 20_000
# The time is estimated from windows of units from all over the recordings.
_SAMPLED_UNITS, _SAMPLED_WINDOWS = 8, 32
_SAMPLED_NETWORK_WINDOWS = 8  # a quarter of a second, of each unit


def describe(request: Request, workers: int | None = None) -> tuple[list[str], dict[str, Any]]:
    """Returns what `--dry-run` prints and its figures: files, hours, windows, an estimate of the time, low rates.

    Args:
        request: of the scoring.
        workers: processes, None to choose.

    Raises:
        UsageError: the run, the input or the output cannot be used.
    """
    started = time.monotonic()
    description = read_description(request.run)
    allowed, rules = label_rules(request, description)
    windowing = windowing_of(description.spec, request.hop_seconds, request.tail, request.min_window_seconds)
    open_known_set(request.features, request.run, description.spec)
    further = further_outputs(request, description, allowed, rules)
    check(request, further)
    listed = list_clips(request.input, request.table_layout, labelled=False, keep=request.columns.keep)
    request.columns.reads_headers(listed)  # refuses columns that are nowhere
    _, increment = find_work(request, listed, further, description, windowing)
    source = increment.source
    plan = _plan(source, description, windowing, workers)
    windows, audio_seconds = int(plan.num_windows.sum()), plan.total_seconds()
    window_seconds = _window_seconds(request, plan, source.root, windowing)
    processes = choose_workers(workers, max(1, len(plan.ends)), pays=True)
    estimated_seconds = window_seconds * windows / processes
    figures = {
        "files": len(plan.paths) + len(source.rejects),
        "rejected": len(plan.rejects) + len(source.rejects),
        "left_out": source.left_out,
        "audio_seconds": audio_seconds,
        "windows": windows,
        "kept": len(increment.kept),
        "estimated_seconds": estimated_seconds,
        "seconds": time.monotonic() - started,
    }
    left_out = ", ".join(f"{number} {why}" for why, number in source.left_out.items())
    stay = f"{len(increment.kept):,} stay as {request.output} has them; " if increment.bases else ""
    lines = [
        f"{stay}{counted(len(plan.paths), 'file')} of {source.root}, {sound_text(audio_seconds)}, "
        f"{counted(windows, 'window')}; headers that cannot be read: {len(plan.rejects):,}; other rejects: "
        f"{len(source.rejects):,}; left out: {left_out or 'nothing'}",
        *low_rates(plan, description.spec),
        f"nothing is new, and {request.output} would stay as it is"
        if increment.finished
        else f"would write {request.output} in about {duration_text(estimated_seconds)} of "
        f"{counted(processes, 'process', 'processes')} and some seconds for their start; nothing was written",
    ]
    return lines, figures


def _plan(source: Source, description: ArtifactDescription, windowing: Windowing, workers: int | None) -> Plan:
    paths = source.clips["path"]
    jobs = [paths.slice(first, _FILES_OF_A_JOB).to_pylist() for first in range(0, len(paths), _FILES_OF_A_JOB)]
    processes = choose_workers(workers, max(1, len(jobs)), pays=len(paths) >= _FILES_THAT_PAY)
    read = partial(_read_headers, root=source.root, description=description, windowing=windowing)
    progress, headers, done = Progress("dry run", len(paths), "files"), [], 0
    for part in run_jobs(read, jobs, processes):
        headers.append(part)
        done += len(part)
        progress.update(done)
    progress.close()
    return deal(paths, pa.concat_tables([HEADERS_SCHEMA.empty_table(), *headers]), description.spec)


def _read_headers(paths: list[str], root: str, description: ArtifactDescription, windowing: Windowing) -> pa.Table:
    return read_headers(root, paths, description.spec, windowing)


def _window_seconds(request: Request, plan: Plan, root: str, windowing: Windowing) -> float:
    """Returns how long one process takes for a window of these recordings, of whose units some are labelled here."""
    if not len(plan.files):
        return 0.0
    chosen = np.unique(np.linspace(0, len(plan.files) - 1, _SAMPLED_UNITS).astype(np.int64))
    paths = plan.paths.take(pa.array(plan.files[chosen])).to_pylist()
    of_network = plan.network_windows[plan.files[chosen]]
    of_these = np.maximum(_SAMPLED_NETWORK_WINDOWS // np.maximum(of_network, 1), 1)
    most = np.where(of_network > 0, of_these, _SAMPLED_WINDOWS)
    counts: list[int] = np.minimum(plan.num_windows[chosen], most).tolist()
    units = list(map(WindowUnit, paths, plan.first_windows[chosen].tolist(), counts))
    network = load_executor(request.run, request.executor, request.network_precision)
    label_windows(network, root, units[:1], windowing)  # the first time takes longer
    started = time.perf_counter()
    label_windows(network, root, units, windowing)
    return (time.perf_counter() - started) / sum(counts)
