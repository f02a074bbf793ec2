"""Stops a featurize before a line, chosen by its number, of the code that touches the disk.

As a command: python -m tests.pipelines.instants NOTE PART NUMBER SIGNAL MODULE OPTION...
"""

import json
import multiprocessing
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from features.errors import SoundmillError
from features.io import atomic, tfrecord, unit_file
from features.store import commit, contents, locks, part_writer, run_log, shards, unit_report
from features.update import shard_builder, update, work_list
from features.update.request import Request
from pipelines import featurize as pipeline
from tests.conftest import wait_until
from tests.pipelines.sets import featurize, small_parts

NEVER = -1
PARTS = WORK, COMMIT = "work", "commit"
# What opens, writes, syncs, names or removes files of a set, or decides which.
_MODULES = (
    atomic, shard_builder, commit, contents, part_writer, run_log, locks, unit_report, shards, tfrecord, unit_file,
    work_list, update, pipeline,
)  # fmt: skip
_FILES = frozenset(str(module.__file__) for module in _MODULES)
_COMMIT: CodeType = commit.commit.__code__
_PROJECT = Path(__file__).parents[2]
_PROCESSES = multiprocessing.get_context("forkserver")


class Instants:
    """Counts the lines of that code that a process runs, and sends it a signal before one of them.

    The commit begins with `features.store.commit.commit` and lasts to the end of the process, so that what comes after
    the swap of the manifest is in it; all before is work, the files of a clips table that is several too.

    Attributes:
        counts: lines that have run, by part.
    """

    def __init__(self, note: Path, part: str, which: int | str, what: int) -> None:
        """Takes a line by its number in a part, from 0, or by its function, and a file that will say where it was."""
        self.counts = dict.fromkeys(PARTS, 0)
        self._first: dict[str, dict[tuple[CodeType, int], int]] = {part: {} for part in PARTS}
        self._note, self._chosen, self._what = note, part, what
        self._which: int | str | None = which
        self._part = WORK
        # Threads that read ahead count too: without it one sets the number back to where another was long ago.
        self._counting = threading.Lock()

    @property
    def first(self) -> dict[str, dict[str, int]]:
        """By part, which line of the code ran under which number for the first time."""
        return {part: {_place(*line): number for line, number in lines.items()} for part, lines in self._first.items()}

    def start(self) -> None:
        """Begins to count, in this thread and in those that begin from now on."""
        threading.settrace(self._called)
        sys.settrace(self._called)

    def stop(self) -> None:
        """Ends counting."""
        threading.settrace(None)
        sys.settrace(None)

    def _called(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in _FILES or frame.f_code.co_name == "<module>":
            return None
        if frame.f_code is _COMMIT:
            self._part = COMMIT
        return self._line

    def _line(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        if event == "line":
            with self._counting:
                part, line = self._part, (frame.f_code, frame.f_lineno)
                number = self.counts[part]
                if part == self._chosen and self._which in (number, frame.f_code.co_name):
                    self._which = None
                    self._note.write_text(_place(*line), encoding="utf-8")
                    os.kill(os.getpid(), self._what)
                self._first[part].setdefault(line, number)
                self.counts[part] = number + 1
        return self._line


def _place(code: CodeType, line: int) -> str:
    return f"{Path(code.co_filename).relative_to(_PROJECT)}:{line} {code.co_name}"


def featurize_in_parts_until(asked: Request, *stop: Any) -> None:
    """As `featurize_until`, with clips tables that are many files."""
    with small_parts():
        featurize_until(asked, *stop)


def featurize_until(asked: Request, note: Path, part: str, which: int | str, what: int) -> None:
    """Featurizes without Beam, is stopped at an instant, and notes what came of it where it comes to its end."""
    instants = Instants(note, part, which, what)
    instants.start()
    error, figures = None, None
    try:
        _, figures = featurize(asked)
    except SoundmillError as raised:
        error = str(raised)
    finally:
        instants.stop()
    found = {"counts": instants.counts, "first": instants.first, "error": error, "figures": figures}
    note.write_text(json.dumps(found), encoding="utf-8")


class Run:
    """A featurize without Beam in a process of its own, that shares neither threads nor locks with this one."""

    def __init__(
        self,
        asked: Request,
        note: Path,
        part: str = WORK,
        which: int | str = NEVER,
        what: int = signal.SIGKILL,
        in_parts: bool = False,
    ) -> None:
        """Starts it; see `Instants`."""
        # It counts for the first process of this kind only.
        _PROCESSES.set_forkserver_preload(["pytest", "pandas", __name__])
        note.unlink(missing_ok=True)
        self._note = note
        self.process = _PROCESSES.Process(
            target=featurize_in_parts_until if in_parts else featurize_until,
            args=(asked, note, part, which, what),
            daemon=True,
        )
        self.process.start()

    @property
    def place(self) -> str:
        """Where it was stopped."""
        return self._note.read_text(encoding="utf-8")

    def wait_until_stopped(self) -> None:
        """Waits for the signal that stops it, and for the kernel to have done so."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")

    def go_on(self) -> None:
        """Lets it continue."""
        os.kill(self.process.pid, signal.SIGCONT)

    def ends_within(self, seconds: float) -> bool:
        """Returns whether it comes to its end."""
        self.process.join(seconds)
        return self.process.exitcode is not None

    def end(self) -> dict[str, Any]:
        """Waits for its end, which is not an exception that a command would not know; returns what it noted."""
        assert self.ends_within(60)
        assert self.process.exitcode == 0, self.process.exitcode
        return json.loads(self._note.read_text(encoding="utf-8"))

    def kill(self) -> None:
        """Ends it, stopped or not."""
        self.process.kill()
        self.process.join()


if __name__ == "__main__":
    _to, _part, _number, _what, _module, *_options = sys.argv[1:]
    sys.argv = [_module, *_options]
    Instants(Path(_to), _part, int(_number), int(_what)).start()
    runpy.run_module(_module, run_name="__main__", alter_sys=True)
