"""Labels a few files, as scoring does, and draws their windows."""

import itertools
import os
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from features.audio.recording import open_recording
from features.errors import Reject, RunError
from features.frontend.windows import PAD, Windowing, num_windows, window_waveforms, windowing_of
from features.runtime.log import LOG
from features.runtime.quantities import counted
from features.runtime.visible import visible
from features.sources.paths import clip_file, csv_path, escape_path
from model.inference.artifact import networks_folder, read_description
from model.inference.artifact_description import ArtifactDescription
from model.inference.executor import load_executor
from model.labels.labels import LabelRules, check_top, labels_table
from model.labels.table_output import csv_header, csv_rows
from model.scoring.label_files import check_files, label_batches
from model.scoring.plan import plan_batches

MOST_DRAWN = 12
"""Windows that a picture shows at most."""
_Labelled = tuple[str, float, float, NDArray[np.float32]]  # path, start, end, probabilities


@dataclass(frozen=True)
class Request:
    """What to label, and how.

    Attributes:
        run: the run folder whose model labels.
        paths: of the files, escaped as `features.sources.folder.escape_path` does.
        top: labels per window.
        plot: the picture, or None.
        hop_seconds: from the start of a window to that of the next; a window where None.
        tail: what becomes of what remains behind the last whole window, one of `features.frontend.windows.TAILS`.
        min_window_seconds: how long the last of several windows is at least; a twentieth of a window where None.
    """

    run: str
    paths: tuple[str, ...]
    top: int = 1
    plot: str | None = None
    hop_seconds: float | None = None
    tail: str = PAD
    min_window_seconds: float | None = None


def check(request: Request, classes: list[str]) -> None:
    """Raises `UsageError` where a request cannot be carried out."""
    check_top(request.top, classes)
    check_files(request.paths)


def predict(request: Request, output: TextIO) -> dict[str, Any]:
    """Writes the labels of every window of the files, and draws the first windows where a picture is requested.

    Args:
        request: what to label.
        output: where the lines of the CSV go, file by file.

    Returns:
        The figures of the run.

    Raises:
        UsageError: the run or an option cannot be used.
        RunError: no file can be used.
    """
    started = time.monotonic()
    description = read_description(request.run)
    classes, spec = description.classes, description.spec
    check(request, classes)
    windowing = windowing_of(spec, request.hop_seconds, request.tail, request.min_window_seconds)
    rules = LabelRules(classes, request.top)
    shown = replace(rules, classes=[visible(label) for label in classes]) if output.isatty() else rules
    # Each file is planned as scoring plans one that is alone.
    planned = [(path, plan_batches("", [path], spec, windowing)) for path in request.paths]
    rejects: list[Reject] = []
    first: list[_Labelled] = []  # to be drawn
    windows = scored = short_windows = 0
    network = None
    for path, plan in planned:
        if plan.rejects:
            _refuse(plan.rejects[0], rejects)
            continue
        network = network or load_executor(request.run)
        labelled = label_batches(network, plan.batches(), windowing)
        if labelled.rejects:
            _refuse(labelled.rejects[0], rejects)
            continue
        for warning in labelled.warnings:
            LOG.warning("%s: %s, %s; used all the same", csv_path(path), warning.reason, warning.message)
        rows = labelled.rows
        output.write("" if scored else csv_header(rules.schema))
        if output.isatty():  # a line of CSV may hold what moves the cursor
            rows = replace(rows, paths=[visible(path) for path in rows.paths])
        output.write(csv_rows(labels_table(rows, shown)))
        output.flush()
        room = MOST_DRAWN - len(first) if request.plot else 0
        places = zip(rows.start_seconds.tolist(), rows.end_seconds.tolist(), rows.probabilities, strict=True)
        first += [(path, *place) for place in itertools.islice(places, room)]
        windows += len(rows)
        scored += 1
        short_windows += plan.num_shortened()
    if not scored:
        raise RunError(f"no file can be used, of {len(rejects):,}; the reasons stand above")
    if request.plot:
        _draw(first, windows, description, windowing, request)
    return {
        "seconds": time.monotonic() - started,
        "files": len(request.paths),
        "scored": scored,
        "rejected": len(rejects),
        "rejects": dict(sorted(Counter(reject.reason for reject in rejects).items())),
        "windows": windows,
        "short_windows": short_windows,
        "min_window_seconds": windowing.least_seconds,
        "hop_seconds": request.hop_seconds,
        "tail": request.tail,
        "drawn": len(first),
    }


def _refuse(reject: Reject, rejects: list[Reject]) -> None:
    LOG.error("%s: %s, %s", csv_path(reject.path), reject.reason, reject.message)
    rejects.append(reject)


def true_label(path: str, classes: list[str]) -> str | None:
    """Returns the name of the nearest folder above a file that is one of the classes, or None."""
    folders = Path(os.path.abspath(clip_file("", path))).parents
    names = (escape_path(os.fsencode(folder.name)) for folder in folders)
    return next((name for name in names if name in classes), None)


def _draw(
    first: list[_Labelled], windows: int, description: ArtifactDescription, windowing: Windowing, request: Request
) -> None:
    from features.frontend.spectrogram import compute_features
    from features.pictures.drawing import save
    from model.pictures.run_pictures import LabelledWindow, windows_figure

    classes, spec, networks = description.classes, description.spec, networks_folder(request.run)
    wanted = Counter(path for path, *_ in first)
    waveforms = {}
    for path, count in wanted.items():
        with open_recording(clip_file("", path), whole=False) as recording:
            info = recording.probe()
            planned = num_windows(info, spec, windowing)
            # A damaged file lacks some.
            found = window_waveforms(recording.source, info, spec, 0, planned, windowing)
            for window in itertools.islice(found, count):
                waveforms[path, window.start_seconds, window.end_seconds] = window.waveform
    drawn = [
        LabelledWindow(
            path=path,
            start_seconds=start,
            end_seconds=end,
            waveform=waveforms[path, start, end],
            features=compute_features([waveforms[path, start, end]], spec, networks)[0],
            probabilities=dict(zip(classes, probabilities.tolist(), strict=True)),
            true=true_label(path, classes),
        )
        for path, start, end, probabilities in first
    ]
    title = f"The first {len(drawn)} of {windows:,} windows" if len(drawn) < windows else counted(windows, "window")
    save(windows_figure(drawn, spec, title), request.plot or "")
