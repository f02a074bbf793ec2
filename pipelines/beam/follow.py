"""Follows a pipeline from outside, by the files that its units leave and those that workers write while at one.

So it tells the same of every runner, of whose workers nothing else may come back before the end.
"""

import contextlib
import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from features.errors import SoundmillError
from features.io.filesystem import Location, filesystem_of, place
from features.io.parallel import map_ahead
from features.runtime.log import LOG
from features.runtime.progress import Progress
from features.runtime.quantities import counted
from features.runtime.unit_progress import UnitAtWork, remove_progress, units_at_work

_POLL_SECONDS = 0.5
_POLL_STORE_SECONDS = 5.0  # a listing is a request for each thousand files
# From so many seconds on without a sign of a worker something is said, and so often after that.
_SILENT_SECONDS, _STILL_SILENT_SECONDS = 15.0, 60.0
_AGAIN_SECONDS = 10.0


@dataclass(frozen=True)
class Units:
    """What can be seen of the units of a job.

    Attributes:
        folder: where each unit leaves a file when it is finished.
        ending: of the names of these files, behind the unit's.
        weights: what each unit counts, by its name.
        rejects: returns the reasons of the rejects of a finished unit, by its name.
        job: see `features.runtime.unit_progress.progress_path`; None where workers say nothing of a unit at work, as
            those of other hosts do not where all that they share is a store: it would be a request a second.
        elsewhere: whether a runner has the workers, and may have none that is free.
    """

    folder: Location
    ending: str
    weights: Mapping[str, float]
    rejects: Callable[[str], Iterable[str]]
    job: Location | None = None
    elsewhere: bool = False


@contextlib.contextmanager
def follow(progress: Progress, units: Units) -> Iterator[None]:
    """Keeps a progress line up to date while the block runs, and tells where nothing begins or is begun again."""
    follower = _Follower(progress, units)

    def poll() -> None:
        while not follower.ended.wait(_POLL_SECONDS if isinstance(units.folder, Path) else _POLL_STORE_SECONDS):
            # A look reads what was finished since the last one: where nothing of it is told, workers need the time.
            if units.elsewhere or progress.is_due:
                follower.look()

    thread = threading.Thread(target=poll, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        follower.ended.set()
        thread.join()
        if isinstance(units.job, Path):
            remove_progress(units.job)
        progress.close()


class _Follower:
    """What is known of the units so far.

    Attributes:
        ended: set when nobody follows any more: a look that goes on then asks a store for nothing more.
    """

    def __init__(self, progress: Progress, units: Units) -> None:
        self.ended = threading.Event()
        self._progress, self._units = progress, units
        self._finished: set[str] = set()
        self._rejects: Counter[str] = Counter()  # of the finished ones
        self._said: dict[str, UnitAtWork] = {}  # of each unit that is not finished, by who is at it
        self._told = self._again = 0
        self._silent_at = time.monotonic() + _SILENT_SECONDS
        self._again_at = 0.0

    def look(self) -> None:
        """Looks at the files and brings the line up to date."""
        with contextlib.suppress(OSError, SoundmillError):  # a store that does not answer may do so again
            self._look_at_finished()
        done = sum(self._units.weights[name] for name in self._finished)
        rejects = Counter(self._rejects)
        for name, unit in units_at_work(self._units.job) if isinstance(self._units.job, Path) else ():
            if name in self._units.weights and name not in self._finished:
                self._again += name in self._said and self._said[name].worker != unit.worker
                self._said[name] = unit
        # What is computed and not yet seen to be finished, as in a store for some seconds, counts as it was said last.
        for unit in self._said.values():
            done += unit.done
            rejects.update(unit.rejects)
        self._tell(time.monotonic())
        self._progress.update(done, _note(rejects))

    def _look_at_finished(self) -> None:
        listed = itertools.takewhile(lambda _: not self.ended.is_set(), _names(self._units.folder))
        names = {name.removesuffix(self._units.ending) for name in listed}
        new = list(names & self._units.weights.keys() - self._finished)
        # In a store many are read at once: a cluster may finish more between two looks than come one after the other.
        read = (map if isinstance(self._units.folder, Path) else map_ahead)(self._rejects_of, new)
        for name, reasons in zip(new, read, strict=True):
            if self.ended.is_set():
                return
            self._rejects.update(reasons)
            self._finished.add(name)
            self._said.pop(name, None)

    def _rejects_of(self, name: str) -> Sequence[str]:
        with contextlib.suppress(Exception):  # it is read again by who needs it
            return list(self._units.rejects(name))
        return ()

    def _tell(self, now: float) -> None:
        if self._units.elsewhere and not self._said and not self._finished and now >= self._silent_at:
            # Only where workers say it is it known that none is at a unit.
            LOG.info("waiting for a worker: none has begun yet" if isinstance(self._units.job, Path) else
                     "waiting for the first unit to be finished")  # fmt: skip
            self._silent_at = now + _STILL_SILENT_SECONDS
        if self._again > self._told and now >= self._again_at:
            units = counted(self._again - self._told, "unit")
            LOG.warning("warning: %s begun again in another process: a worker was lost, or the runner has restarted "
                        "the job", units)  # fmt: skip
            self._told, self._again_at = self._again, now + _AGAIN_SECONDS


def _names(folder: Location) -> Iterable[str]:
    if isinstance(folder, Path):
        return os.listdir(folder)
    return (place(entry.path).name for entry in filesystem_of(folder).list(folder, recursive=False))


def _note(rejects: Mapping[str, int]) -> str:
    """Returns what a progress line says of rejects behind the time left."""
    if not (total := sum(rejects.values())):
        return ""
    most_first = sorted(rejects.items(), key=lambda one: (-one[1], one[0]))
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in most_first)
    return f", {total:,} rejected ({reasons})"
