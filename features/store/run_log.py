"""The run log of a feature set, `runs.jsonl`: a line per run. It is not part of the state and may be missing."""

import contextlib
import json
import os
from typing import Any

from features.io.filesystem import Uri, filesystem_of
from features.io.store_errors import ChangedError
from features.runtime.log import LOG
from features.store.layout import Layout


def append_run(layout: Layout, run: dict[str, Any]) -> None:
    """Adds a line; one that was cut off before it, by a crash, is ended first, so that it damages no other.

    A line that cannot be written is a warning: its run is done.
    """
    path, line = layout.run_log, json.dumps(run, sort_keys=True).encode() + b"\n"
    try:
        if isinstance(path, Uri):
            _append(path, line)
            return
        with open(path, "ab+") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                file.write(b"" if file.read(1) == b"\n" else b"\n")
            file.write(line)
    except OSError as error:
        LOG.warning("warning: this run is not noted in %s: %s", path, error.strerror)


def _append(path: Uri, line: bytes) -> None:
    """Adds a line to an object, which is written anew; once more where another run did so at the same time."""
    files = filesystem_of(path)
    while True:
        with contextlib.suppress(ChangedError, FileExistsError):
            try:
                content, there = files.fetch(path)
                files.replace(path, content + line, there.version)
            except FileNotFoundError:
                files.create(path, line)
            return


def read_runs(layout: Layout) -> list[dict[str, Any]]:
    """Returns all runs that can be read, the earliest first; lines that were cut off are left out."""
    runs = []
    with contextlib.suppress(OSError):
        for line in layout.files.read(layout.run_log).decode(errors="replace").split("\n"):
            with contextlib.suppress(ValueError):
                run = json.loads(line)
                if isinstance(run, dict):
                    runs.append(run)
    return runs


def last_scan_ns(layout: Layout, state: int) -> int | None:
    """Returns when the last scan that found a state began, None where the run log does not say."""
    scans = [run.get("scan_started_ns") for run in read_runs(layout) if run.get("state") == state]
    return next((scan for scan in reversed(scans) if isinstance(scan, int)), None)
