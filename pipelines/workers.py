"""Checks on how a pipeline shall run that do not load Beam unless they must."""

import os
from collections.abc import Sequence

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


def check_beam_options(beam_options: Sequence[str]) -> None:
    """Raises `UsageError` for options that are neither soundmill's nor Beam's; loads Beam only where there are any."""
    if beam_options:
        from pipelines.runners import parse_options

        parse_options(beam_options)
