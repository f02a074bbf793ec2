"""Processes that carry a mark in their environment, which all that they start inherit."""

import contextlib
import os
import signal
import time
from pathlib import Path

MARK = "SOUNDMILL_CLUSTER"
_PROC = Path("/proc")
_POLL_SECONDS = 0.05


def is_marked(process: int, mark: str) -> bool:
    """Returns whether a process is alive and carries the mark; one of another user, which cannot be asked, does not."""
    try:
        environment = (_PROC / str(process) / "environ").read_bytes()  # empty where it has ended and is not waited for
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


def marked(mark: str) -> set[int]:
    """Returns the ids of all processes that carry the mark."""
    return {int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal() and is_marked(int(entry.name), mark)}


def end_marked(mark: str, grace_seconds: float, limit_seconds: float) -> set[int]:
    """Asks all processes that carry the mark to end, and kills those that do not, until there is none.

    Args:
        mark: which they carry.
        grace_seconds: between asking and killing.
        limit_seconds: after which it is given up.

    Returns:
        Those that are left, which only a kernel that waits for a device can keep.
    """
    started = time.monotonic()
    asked: set[int] = set()
    while left := marked(mark):
        waited = time.monotonic() - started
        if waited > limit_seconds:
            break
        for process in left if waited > grace_seconds else left - asked:
            _send(process, mark, signal.SIGKILL if waited > grace_seconds else signal.SIGTERM)
        asked |= left
        time.sleep(_POLL_SECONDS)
    return left


def _send(process: int, mark: str, number: signal.Signals) -> None:
    """Sends a signal to a process if it carries the mark, and never to one that was given its id meanwhile."""
    with contextlib.suppress(OSError):  # it has ended
        descriptor = os.pidfd_open(process)
        try:
            if is_marked(process, mark):  # asked of what the descriptor stands for, or that has ended
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
