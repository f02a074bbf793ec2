"""What may stand where a file of sound was listed, and a limit for what would wait for it forever."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from features.errors import Reason

# What puts it there, the reason for which it cannot be used, and what the message says.
NOT_FILES: dict[str, tuple[Callable[[Path], object], Reason, str]] = {
    "nothing": (lambda path: None, Reason.MISSING, "No such file"),
    "no bytes": (lambda path: path.write_bytes(b""), Reason.EMPTY, "the file has no bytes"),
    "a folder": (Path.mkdir, Reason.UNREADABLE, "Is a directory"),
    "a pipe": (os.mkfifo, Reason.UNREADABLE, "it is not a regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), Reason.UNREADABLE, "it is not a regular file"),
    "a link to itself": (lambda path: path.symlink_to(path), Reason.UNREADABLE, "symbolic links"),
}


@contextlib.contextmanager
def within_seconds(seconds: float) -> Iterator[None]:
    """Raises `AssertionError` in a block that takes longer, be it in a call that waits."""

    def stop(*_: object) -> None:
        raise AssertionError(f"it took longer than {seconds} s")  # no OSError, which the code under test may catch

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
