"""Locks of a feature set. The system lets go of those of dead processes, so that they block nobody."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from features.errors import RunError
from features.runtime.log import LOG

COMMIT_LOCK, RUNNING_LOCK = LOCKS = (".lock", ".running")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[None]:
    """Says that a run has finished shards here that no state names yet; any number of runs may say so at once."""
    # Over NFS a shared lock takes a file that may be read, and one for a process alone a file that may be written.
    with open(folder / RUNNING_LOCK, "a+", encoding="utf-8") as file:
        _take(file, fcntl.LOCK_SH, folder)
        yield


@contextlib.contextmanager
def committing(folder: Path) -> Iterator[None]:
    """Holds the lock under which a set changes its state."""
    with open(folder / COMMIT_LOCK, "w", encoding="utf-8") as file:
        _take(file, fcntl.LOCK_EX, folder)
        yield


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds both locks; a run that begins waits for their end.

    Raises:
        RunError: a run is going on.
    """
    with committing(folder), open(folder / RUNNING_LOCK, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"a featurize is running into {folder}, and its finished shards are in no state yet; wait for its end"
            ) from error
        yield


def _take(file: TextIO, kind: int, folder: Path) -> None:
    """Takes a lock, and says where it has to be waited for: to prune or to repair a large set takes minutes."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        LOG.info("waiting for another command to end its work on %s", folder)
        fcntl.flock(file, kind)


def is_running(folder: Path) -> bool:
    """Returns whether a run is going on; writes nothing."""
    try:
        with open(folder / RUNNING_LOCK, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or it is another's, and then it cannot be told
        return False
    return False
