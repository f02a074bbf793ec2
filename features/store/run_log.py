"""The run log of a feature set, `runs.jsonl`: a line per run. It is not part of the state and may be missing."""

import contextlib
import json
import os
from typing import Any

from features.runtime.log import LOG
from features.store.layout import Layout


def append_run(layout: Layout, run: dict[str, Any]) -> None:
    """Adds a line; one that was cut off before it, by a crash, is ended first, so that it damages no other.

    A line that cannot be written is a warning: its run is done.
    """
    path = layout.run_log
    try:
        with open(path, "ab+") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                file.write(b"" if file.read(1) == b"\n" else b"\n")
            file.write(json.dumps(run, sort_keys=True).encode() + b"\n")
    except OSError as error:
        LOG.warning("warning: this run is not noted in %s: %s", path, error.strerror)


def read_runs(layout: Layout) -> list[dict[str, Any]]:
    """Returns all runs that can be read, the earliest first; lines that were cut off are left out."""
    runs = []
    with contextlib.suppress(OSError), open(layout.run_log, encoding="utf-8", errors="replace") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                run = json.loads(line)
                if isinstance(run, dict):
                    runs.append(run)
    return runs


def last_scan_ns(layout: Layout, state: int) -> int | None:
    """Returns when the last scan that found a state began, None where the run log does not say."""
    scans = [run.get("scan_started_ns") for run in read_runs(layout) if run.get("state") == state]
    return next((scan for scan in reversed(scans) if isinstance(scan, int)), None)
