"""How far workers are with the units at work: small files that they write and the driver of a job reads.

A worker says it once a second at most, of the unit that it is at, and takes the file away with the unit's end. What
comes of a unit that is finished stands in what it leaves; these files only show the way there, so none is made durable
and none that cannot be written or read ends anything.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from features.errors import RunError
from features.io.atomic import write_file

_SECONDS = 1.0
_ENDING = ".progress"


class UnitProgress:
    """What a worker says of one unit while it is at it."""

    _written = threading.local()  # when each thread has written last, of any unit

    def __init__(self, path: Path | None) -> None:
        """Writes nothing yet.

        Args:
            path: of the file, from `progress_path`; None where nobody reads it.
        """
        self._path, self._is_there = path, False
        self._due = getattr(self._written, "due", 0.0)

    def say(self, done: float, reasons: Iterable[str | None]) -> None:
        """Says how far the unit is, if that was not said just now.

        Args:
            done: how much of what the job counts is done: clips, or seconds of sound.
            reasons: why those were rejected that were, None of the others; looked at only where it is said.
        """
        now = time.monotonic()
        if now < self._due or self._path is None:
            return
        self._written.due = self._due = now + _SECONDS
        rejects = Counter(reason for reason in reasons if reason is not None)
        with contextlib.suppress(OSError, RunError):
            write_file(self._path, json.dumps({"worker": _worker(), "done": done, "rejects": rejects}), durable=False)
            self._is_there = True

    def __enter__(self) -> "UnitProgress":
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Takes the file away."""
        if self._is_there and self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()


UNSEEN = UnitProgress(None)
"""That of a unit which nobody follows."""


@dataclass(frozen=True)
class UnitAtWork:
    """What a worker said last of a unit.

    Attributes:
        worker: its process and host.
        done: how much is done.
        rejects: how many of them were rejected, by reason.
    """

    worker: str
    done: float
    rejects: Mapping[str, int]


def progress_path(job: Path, unit: str) -> Path:
    """Returns the file in which a worker says how far it is with a unit.

    Args:
        job: what is the job's alone, as its work list.
        unit: name of the unit.
    """
    return job.with_name(f"{job.stem}-{unit}{_ENDING}")


def units_at_work(job: Path) -> Iterator[tuple[str, UnitAtWork]]:
    """Yields what workers say of the units of a job that they are at, by the name of the unit."""
    begin = f"{job.stem}-"
    for path in _files(job):
        try:
            said = json.loads(path.read_bytes())
            unit = path.name.removeprefix(begin).removesuffix(_ENDING)
            yield unit, UnitAtWork(str(said["worker"]), float(said["done"]), dict(said["rejects"]))
        except (OSError, ValueError, KeyError, TypeError):  # it has just gone
            continue


def remove_progress(job: Path) -> None:
    """Removes what workers that were ended have left of a job."""
    for path in _files(job):
        with contextlib.suppress(OSError):
            path.unlink()


def _files(job: Path) -> list[Path]:
    try:
        names = os.listdir(job.parent)
    except OSError:
        return []
    return [job.with_name(name) for name in sorted(names) if name.startswith(f"{job.stem}-") and name.endswith(_ENDING)]


def _worker() -> str:
    return f"process {os.getpid()} on host {socket.gethostname()}"
