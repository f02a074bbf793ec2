"""How many worker processes a local run takes."""

import os

from features.errors import UsageError


def parse_workers(text: str) -> int | None:
    """Reads `--workers`: a number of processes, or `auto` (None); raises `UsageError` for anything else."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--workers is auto or a number above 0, not {text!r}")
    return int(text)


def choose_workers(requested: int | None, units: int, pays: bool) -> int:
    """Returns the number of worker processes of a local run; 1 means the command's own process.

    Args:
        requested: what `--workers` asks for, None for the cores that this process may use.
        units: number of units of work; more workers than that have nothing to do.
        pays: whether the job is long enough to pay for the start of processes.
    """
    if requested is None:
        requested = len(os.sched_getaffinity(0)) if pays else 1
    return max(1, min(requested, units))
