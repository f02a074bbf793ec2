"""False alarms an hour: what a network names on recordings in which there is nothing to name."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import Reject, RunError
from features.frontend.windows import Windowing, windowing_of
from features.io.atomic import AtomicFile, atomic_folder, write_file
from features.io.csv_text import csv_label, csv_lines
from features.runtime.log import LOG
from features.runtime.progress import Progress
from features.sources.clips import Source
from features.sources.paths import csv_path
from features.sources.table import list_clips
from features.sources.table_layout import TableLayout
from model.evaluation.trained_set import name_of_other
from model.inference.artifact import read_description
from model.inference.classes import NOT_NAMED
from model.inference.executor import Executor, load_executor
from model.labels.window_rows import WindowRows, concatenate
from model.scoring.label_windows import label_windows
from model.scoring.plan import Plan, plan_batches

ALARMS_HEADER = ("path", "start_seconds", "end_seconds", "label", "probability", "windows")
DEFAULT_THRESHOLD = 0.5
_WORST = 10
_SECONDS_AN_HOUR = 3600.0


@dataclass(frozen=True)
class Windows:
    """The windows of one recording in their order.

    Attributes:
        starts_seconds: where each begins, float64 of shape (windows,).
        ends_seconds: where each ends, float64 of shape (windows,).
        classes: id of the most probable class of each, int64 of shape (windows,).
        probabilities: of that class, float32 of shape (windows,).
    """

    starts_seconds: NDArray[np.float64]
    ends_seconds: NDArray[np.float64]
    classes: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    @property
    def seconds(self) -> float:
        """How long they are together."""
        return float((self.ends_seconds - self.starts_seconds).sum())


@dataclass(frozen=True)
class Alarms:
    """Runs of adjacent windows of one class, each a false alarm: arrays of shape (alarms,).

    Attributes:
        first: number of the first window.
        last: number of the last window.
        classes: id of the class.
        probabilities: the highest of the windows.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    classes: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def find_alarms(windows: Windows, thresholds: NDArray[np.float64]) -> Alarms:
    """Finds the runs of windows that follow one another without a gap and are of one class at or above its threshold.

    Args:
        windows: of a recording.
        thresholds: of each class, inf for one that raises no alarm: (classes,).
    """
    raised = windows.probabilities >= thresholds[windows.classes]
    goes_on = np.zeros(len(raised), bool)  # whether a window is of the run of the one before
    goes_on[1:] = (
        raised[1:]
        & raised[:-1]
        & (windows.classes[1:] == windows.classes[:-1])
        & (windows.starts_seconds[1:] == windows.ends_seconds[:-1])
    )
    first = np.flatnonzero(raised & ~goes_on)
    last = np.flatnonzero(raised & ~np.append(goes_on[1:], False))
    peaks = windows.probabilities[raised]
    if len(first):
        peaks = np.maximum.reduceat(peaks, np.flatnonzero(~goes_on[raised]))
    return Alarms(first, last, windows.classes[first], peaks)


def alarm_thresholds(classes: Sequence[str], fitted: Mapping[str, float | None] | None) -> NDArray[np.float64]:
    """Returns the threshold of each class: (classes,).

    Args:
        classes: in the order of their ids.
        fitted: a run's threshold of each class, None for one that has none and raises no alarm; None where none were
            fitted, for `DEFAULT_THRESHOLD` of each.
    """
    chosen = dict.fromkeys(classes, DEFAULT_THRESHOLD) if fitted is None else fitted
    numbers = [None if name in NOT_NAMED else chosen.get(name) for name in classes]
    return np.array([np.inf if number is None else number for number in numbers])


@dataclass
class Tally:
    """What is counted, recording by recording.

    Attributes:
        classes: in the order of their ids.
        thresholds: see `alarm_thresholds`.
        recordings: path, seconds and number of alarms of each.
        counts: alarms by class id.
        windows: how many there were.
        alarm_windows: how many of them were in an alarm.
    """

    classes: Sequence[str]
    thresholds: NDArray[np.float64]
    recordings: list[tuple[str, float, int]] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)
    windows: int = 0
    alarm_windows: int = 0

    def add(self, path: str, windows: Windows) -> str:
        """Counts the alarms of a recording and returns their lines of CSV."""
        alarms = find_alarms(windows, self.thresholds)
        self.counts.update(alarms.classes.tolist())
        self.recordings.append((path, windows.seconds, len(alarms.first)))
        self.windows += len(windows.classes)
        self.alarm_windows += int((alarms.last - alarms.first + 1).sum())
        columns = (alarms.first, alarms.last, alarms.classes, alarms.probabilities)
        return csv_lines(
            (
                csv_path(path),
                f"{windows.starts_seconds[first]:.6f}",
                f"{windows.ends_seconds[last]:.6f}",
                csv_label(self.classes[number]),
                f"{probability:.6f}",
                last - first + 1,
            )
            for first, last, number, probability in zip(*(column.tolist() for column in columns), strict=True)
        )

    def figures(self) -> dict[str, Any]:
        """Returns what was counted, ready for JSON."""
        seconds = sum(recording[1] for recording in self.recordings)
        worst = sorted(self.recordings, key=lambda recording: (-recording[2] / max(recording[1], 1e-9), recording[0]))
        return {
            "recordings": len(self.recordings),
            "hours": seconds / _SECONDS_AN_HOUR,
            "windows": self.windows,
            "alarm_windows": self.alarm_windows,
            "alarms": sum(self.counts.values()),
            "alarms_per_hour": _an_hour(sum(self.counts.values()), seconds),
            "classes": {
                label: {
                    "threshold": None if np.isinf(threshold) else float(threshold),
                    "alarms": self.counts[number],
                    "alarms_per_hour": _an_hour(self.counts[number], seconds),
                }
                for number, (label, threshold) in enumerate(zip(self.classes, self.thresholds, strict=True))
                if label not in NOT_NAMED
            },
            "worst": [
                {"path": path, "hours": length / _SECONDS_AN_HOUR, "alarms": alarms,
                 "alarms_per_hour": _an_hour(alarms, length)}
                for path, length, alarms in worst[:_WORST] if alarms
            ],
        }  # fmt: skip


def _digest(source: Source) -> str:
    """Returns a digest of which recordings there are and in which state, as far as their sizes and times show it."""
    clips = source.clips
    names = ["path", "size", "mtime_ns", *(["version"] if clips["version"].null_count < len(clips) else [])]
    listed = [source.root, *(clips[name].to_pylist() for name in names)]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def count_false_alarms(run: str, negatives: str) -> dict[str, Any]:
    """Labels every window of recordings that hold no class, and writes RUN/evaluation/negatives@NAME-DIGEST.

    The folder names the recordings and their state, so that it takes the place of no results on others.

    Args:
        run: a run folder.
        negatives: folder of recordings, one recording, or a table that names some.

    Returns:
        The content of metrics.json.

    Raises:
        UsageError: the run or the recordings cannot be used.
        RunError: no recording can be used.
    """
    # Alarms are written as they are found: of a noisy year there are millions.
    started = time.monotonic()
    description = read_description(run)
    source = list_clips(negatives, TableLayout(), labelled=False)
    windowing = windowing_of(description.spec)
    paths = source.clips["path"].to_pylist()
    plan = plan_batches(source.root, paths, description.spec, windowing)
    rejects = [*source.rejects, *plan.rejects]
    network = load_executor(run)
    tally = Tally(network.classes, alarm_thresholds(network.classes, description.calibration.thresholds))
    name = name_of_other("negatives", negatives, _digest(source))
    with atomic_folder(Path(run) / "evaluation" / name) as folder:
        with AtomicFile(folder / "alarms.csv", durable=False) as file:  # the folder is
            file.write(csv_lines([ALARMS_HEADER]).encode())
            for path, windows in _recordings(network, source.root, plan, windowing, rejects):
                file.write(tally.add(path, windows).encode())
        for reject in rejects:
            LOG.warning("%s: %s, %s", csv_path(reject.path), reject.reason, reject.message)
        if not tally.recordings:
            raise RunError(f"no recording of {negatives} can be used, of {len(rejects):,}; the reasons stand above")
        metrics = tally.figures() | {
            "rejected": len(rejects),
            "rejects": dict(sorted(Counter(str(reject.reason) for reject in rejects).items())),
            "left_out": source.left_out,
            "short_windows": plan.num_shortened(reject.path for reject in rejects),
            "min_window_seconds": windowing.least_seconds,
            "negatives": negatives,
            "folder": name,
            "seconds": time.monotonic() - started,
            "network": description.network_sha256,
        }
        write_file(folder / "metrics.json", json.dumps(metrics, indent=1, ensure_ascii=False) + "\n")
    return metrics


def _recordings(
    network: Executor, root: str, plan: Plan, windowing: Windowing, rejects: list[Reject]
) -> Iterator[tuple[str, Windows]]:
    """Labels recordings one after the other and yields each that is labelled whole; adds the others to the rejects."""
    parts: dict[str, list[WindowRows]] = {}  # of recordings that may go on in the next batch
    rejected: set[str] = set()
    progress = Progress("label", int(plan.num_windows.sum()), "windows")
    done = 0
    for batch in plan.batches():
        labels = label_windows(network, root, batch, windowing)
        in_batch = {unit.path for unit in batch}
        for path in [path for path in parts if path not in in_batch]:
            yield path, _windows(parts.pop(path))
        for reject in labels.rejects:
            if reject.path not in rejected:
                rejected.add(reject.path)
                rejects.append(reject)
        for rows in labels.rows([unit.path for unit in batch]).by_recording():
            parts.setdefault(rows.paths[0], []).append(rows)
        for path in rejected & parts.keys():
            del parts[path]
        done += sum(unit.num_windows for unit in batch)
        progress.update(done)
    progress.close()
    for path, found in parts.items():
        yield path, _windows(found)


def _windows(parts: Sequence[WindowRows]) -> Windows:
    rows = concatenate(parts)
    best = rows.probabilities.argmax(axis=1)
    return Windows(rows.start_seconds, rows.end_seconds, best, rows.probabilities[np.arange(len(rows)), best])


def _an_hour(alarms: int, seconds: float) -> float:
    return alarms / seconds * _SECONDS_AN_HOUR if seconds else 0.0
