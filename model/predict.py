"""Labels a few files and shows why: python -m model.predict."""

import argparse
import contextlib
import itertools
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.audio.decode import probe
from features.errors import ClipError, Reason, Reject, RunError, UsageError
from features.frontend.spec import FeatureSpec
from features.frontend.windows import num_windows, window_waveforms
from features.pictures.drawing import check_picture
from features.runtime import command
from features.runtime.log import LOG
from features.sources.paths import clip_file, csv_path, escape_path
from model.inference.artifact import read_description
from model.inference.executor import load_executor
from model.inference.litert import BATCH_CLIPS
from model.scoring.label_windows import label_windows
from model.scoring.labels_csv import Score, WindowUnit, csv_header, score_lines

EXAMPLE = "python -m model.predict --model RUN yes.wav no.wav --plot predictions.png"
_MOST_ROWS = 12


@dataclass(frozen=True)
class Request:
    """What a prediction is asked for.

    Attributes:
        run: the run folder whose model labels.
        paths: of the files, escaped as `features.sources.folder.escape_path` does.
        top: labels a window.
        plot: the picture, or None.
    """

    run: str
    paths: tuple[str, ...]
    top: int = 1
    plot: str | None = None


def check(request: Request, classes: list[str]) -> None:
    """Raises `UsageError` for what cannot be done."""
    if not 1 <= request.top <= len(classes):
        raise UsageError(f"--top is 1 to {len(classes)}, the number of classes, not {request.top}")
    for path in request.paths:
        if os.path.isdir(clip_file("", path)):
            raise UsageError(f"{path} is a folder; label its files with python -m pipelines.score --input {path}")
        if os.path.exists(clip_file("", path)) and not os.path.isfile(clip_file("", path)):
            raise UsageError(f"{path} is a pipe or a device, which cannot be read twice; write it to a file")


def plan_files(paths: tuple[str, ...], spec: FeatureSpec) -> Iterator[tuple[str, list[WindowUnit] | Reject]]:
    """Cuts files into windows and deals these into batches, as scoring does with a file that is alone.

    Yields:
        Path and batches of each file, or its reject where the header cannot be read.
    """
    for path in paths:
        try:
            count = num_windows(probe(clip_file("", path)), spec)
        except ClipError as error:
            yield path, Reject(path, error.stage, str(error.reason), error.message)
            continue
        firsts = range(0, count, BATCH_CLIPS)
        yield path, [WindowUnit(path, first, min(BATCH_CLIPS, count - first)) for first in firsts]


def predict(request: Request) -> dict[str, Any]:
    """Prints the labels of every window of the files, and draws the first windows where a picture is asked for.

    Returns:
        The figures of the run.

    Raises:
        UsageError: the run or an option cannot be used.
        RunError: no file can be used.
    """
    started = time.monotonic()
    description = read_description(request.run)
    classes, spec = description["classes"], description["spec"]
    check(request, classes)
    planned = list(plan_files(request.paths, spec))
    rejects: list[Reject] = []
    scores: list[Score] = []
    windows = scored = 0
    network = None
    for path, units in planned:
        if isinstance(units, Reject):
            _refuse(units, rejects)
            continue
        network = network or load_executor(request.run)
        labels = [label_windows(network, "", [unit], len(classes)) for unit in units]
        refused = [reject for label in labels for reject in label.rejects]
        if refused:  # a file is labelled as a whole or not at all
            _refuse(refused[0], rejects)
            continue
        said = [warning for label in labels for warning in label.warnings]
        whole = len(said) == len(units)  # a file is silent if all of it is
        for warning in dict.fromkeys(said if whole else [odd for odd in said if odd.reason != Reason.SILENT]):
            LOG.warning("%s: %s, %s; used all the same", csv_path(path), warning.reason, warning.message)
        if not scored:
            print(csv_header(request.top), end="")
        of_file = [score for label in labels for score in label.scores]
        asked_for = (score for score in of_file if score.rank <= request.top)
        print(score_lines(asked_for, request.top), end="", flush=True)
        room = _MOST_ROWS * len(classes) - len(scores)
        scores += of_file[: room if request.plot else 0]
        windows += len(of_file) // len(classes)
        scored += 1
    if not scored:
        raise RunError(f"no file can be used, of {len(rejects):,}; the reasons stand above")
    if request.plot:
        _draw(scores, windows, classes, spec, request.plot)
    return {
        "seconds": time.monotonic() - started,
        "files": len(request.paths),
        "scored": scored,
        "rejected": len(rejects),
        "rejects": dict(sorted(Counter(reject.reason for reject in rejects).items())),
        "windows": windows,
        "drawn": len(scores) // len(classes),
    }


def _refuse(reject: Reject, rejects: list[Reject]) -> None:
    LOG.error("%s: %s, %s", csv_path(reject.path), reject.reason, reject.message)
    rejects.append(reject)


def true_label(path: str, classes: list[str]) -> str | None:
    """Returns the name of the nearest folder above a file that is one of the classes, None where there is none."""
    folders = Path(os.path.abspath(clip_file("", path))).parents
    names = (escape_path(os.fsencode(folder.name)) for folder in folders)
    return next((name for name in names if name in classes), None)


def _draw(scores: list[Score], windows: int, classes: list[str], spec: FeatureSpec, plot: str) -> None:
    from features.frontend.spectrogram import compute_features
    from features.pictures.drawing import save
    from model.pictures.run_pictures import LabelledWindow, windows_figure

    by_window: dict[tuple[str, float, float], dict[str, float]] = {}
    for score in scores:
        place = (score.path, score.start_seconds, score.end_seconds)
        by_window.setdefault(place, {})[score.label] = score.probability
    wanted = Counter(path for path, _, _ in by_window)
    waveforms = {}
    for path, count in wanted.items():
        file = clip_file("", path)
        info = probe(file)
        found = window_waveforms(file, info, spec, 0, num_windows(info, spec))  # of which a damaged file lacks some
        for waveform, start, end, _ in itertools.islice(found, count):
            waveforms[path, start, end] = waveform
    drawn = [
        LabelledWindow(*place, waveforms[place], compute_features([waveforms[place]], spec)[0], probabilities,
                       true_label(place[0], classes))
        for place, probabilities in by_window.items()
    ]  # fmt: skip
    title = f"The first {len(drawn)} of {windows:,} windows" if len(drawn) < windows else _windows(windows)
    save(windows_figure(drawn, spec, title), plot)


def _windows(count: int) -> str:
    return f"{count:,} window{'s' if count > 1 else ''}"


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = command.parser("Prints the labels of a few files as CSV, and draws what was heard and said.", EXAMPLE)
    result.add_argument("files", nargs="+", metavar="FILE", help="recordings; a long one is cut into windows")
    result.add_argument("--model", required=True, metavar="RUN", help="run folder made by model.train")
    result.add_argument("--top", type=int, default=1, metavar="K", help="labels a window (%(default)s)")
    result.add_argument("--plot", metavar="PICTURE.png", help=f"draw the first {_MOST_ROWS} windows; replaced if there")
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Labels the files and says what came of it."""
    if options.plot is not None:
        check_picture("--plot", options.plot)
    paths = tuple(dict.fromkeys(escape_path(os.fsencode(file)) for file in options.files))
    figures = predict(Request(options.model, paths, options.top, options.plot))
    rejected = f" {figures['rejected']:,} could not be used, as said above." if figures["rejected"] else ""
    files = f"{figures['scored']:,} file{'s' if figures['scored'] > 1 else ''}"
    paragraph = f"Labelled {_windows(figures['windows'])} of {files}.{rejected}"
    if options.plot:
        some = f", which shows the first {figures['drawn']}" if figures["drawn"] < figures["windows"] else ""
        paragraph += f" Look at {options.plot}{some}."
    else:
        paragraph += " --plot PICTURE.png shows what was heard; for whole folders: python -m pipelines.score"
    # Standard output is a CSV, so that it can be written to a file.
    with contextlib.redirect_stdout(sys.stderr):
        command.finish(options, paragraph, figures)
    return 0


if __name__ == "__main__":
    command.run(main, parser())
