"""Leases in object stores, which have no locks: an object with an age, which its holder writes anew while it lives.

One that is older than `LEASE_SECONDS`, by the store's clock, is of a process that died: it holds nothing any more.
"""

import contextlib
import errno
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator

from features.errors import RunError, UsageError
from features.io.atomic import writer_name
from features.io.entry import Entry
from features.io.filesystem import Uri, filesystem_of
from features.io.parallel import start
from features.io.store_errors import ChangedError
from features.runtime.log import LOG
from features.runtime.threads import beside
from features.store.layout import CLOCK, WORK

LEASE_SECONDS = 60.0
RENEWAL_SECONDS = LEASE_SECONDS / 4
ALONE, COMMIT = "alone", "commit"
_POLL_SECONDS = 1.0
# What was seen is believed for so long: workers look before each unit, and a driver while it waits.
_SEEN_SECONDS = 2.0
# By place: when it was looked at last, by the clock of this machine, and what was seen.
_SEEN: dict[str, tuple[float, tuple[bytes, int] | None]] = {}
_noting = threading.Lock()
_LOOKING: set[str] = set()  # places that a thread looks at now
# By place: the time of the last renewal that was seen, when it was seen, and how old it was then.
_RENEWED: dict[str, tuple[int, float, float]] = {}


@contextlib.contextmanager
def kept_young(place: Uri, content: bytes, before: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Writes a lease and keeps it young while the block runs; others may add to it. It goes with the block.

    Args:
        place: of the lease.
        content: of the lease.
        before: called when it is there and before the block, while the store is asked when it was written.

    Yields:
        When it was taken, by the store's clock, in nanoseconds since 1970.

    Raises:
        FileExistsError: there is one.
    """
    files, began = filesystem_of(place), time.monotonic()
    files.create(place, content)
    with _renewed(place, content, is_only=True):
        written = start(files.status, place)
        before()
        began_ns = written.result().mtime_ns
        _note(place, began, (content, began_ns))
        _RENEWED[place] = began_ns, began, 0.0
        yield began_ns


@contextlib.contextmanager
def held_object(root: Uri, place: Uri, purpose: str) -> Iterator[None]:
    """Holds a lease that one process has at a time, and waits for it.

    Args:
        root: of the set.
        place: of the lease.
        purpose: `ALONE` or `COMMIT`.
    """
    content = f"{purpose}: process {os.getpid()} on host {socket.gethostname()}, {secrets.token_hex(8)}".encode()
    is_told = False
    while not _taken(root, place, content):
        is_told = is_told or _tell(root)
        time.sleep(_POLL_SECONDS)
    with _renewed(place, content):
        yield


@contextlib.contextmanager
def claimed_object(root: Uri, place: Uri, content: bytes) -> Iterator[int]:
    """Holds a lease that one process has at a time, and does not wait for it; see `held_object`.

    Yields:
        When it was taken, by the store's clock, in nanoseconds since 1970.

    Raises:
        FileExistsError: another process holds it.
    """
    if not _taken(root, place, content):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), place)
    with _renewed(place, content):
        yield filesystem_of(place).status(place).mtime_ns


def wait_while_alone(root: Uri, place: Uri) -> None:
    """Waits while the lease at a place is held for a command that works on a set alone."""
    files, is_told = filesystem_of(place), False
    while True:
        try:
            content, there = files.fetch(place)
            if not content.startswith(ALONE.encode()) or _is_old(root, there):
                return
        except FileNotFoundError:
            return
        is_told = is_told or _tell(root)
        time.sleep(_POLL_SECONDS)


def look_at(place: Uri) -> tuple[bytes, int] | None:
    """Returns what a lease holds and when it was renewed, None where there is none; some seconds old at most."""
    at, found = _SEEN.get(place, (-math.inf, None))
    age_seconds = time.monotonic() - at
    if found is None or age_seconds >= _SEEN_SECONDS:
        return _look_again(place)
    if age_seconds >= _SEEN_SECONDS / 2 and place not in _LOOKING:  # who asks next need not wait for it
        _LOOKING.add(place)
        start(_look_again, place)
    return found


def _look_again(place: Uri) -> tuple[bytes, int] | None:
    at = time.monotonic()
    try:
        content, there = filesystem_of(place).fetch(place)
        found = content, there.mtime_ns
    except FileNotFoundError:
        found = None
    finally:
        _LOOKING.discard(place)
    _note(place, at, found)
    return found


def _note(place: Uri, at: float, found: tuple[bytes, int] | None) -> None:
    """Keeps what was seen, where nothing is known that is later."""
    with _noting:
        if place not in _SEEN or _SEEN[place][0] <= at:
            _SEEN[place] = at, found


def age_seconds(root: Uri, place: Uri, renewed_ns: int) -> float:
    """Returns how long ago a lease was renewed; the store is asked for its time once, then this machine's passes."""
    known = _RENEWED.get(place)
    if known is None or known[0] != renewed_ns:
        then = (store_now_ns(root) - renewed_ns) / 1e9 if known is None else 0.0
        known = _RENEWED[place] = renewed_ns, time.monotonic(), then
    return known[2] + time.monotonic() - known[1]


def add_line(place: Uri, line: bytes) -> None:
    """Adds a line to a lease, which others may change at the same time; raises `FileNotFoundError` where it is gone."""
    files = filesystem_of(place)
    while True:
        content, there = files.fetch(place)
        with contextlib.suppress(ChangedError):
            files.replace(place, content + line, there.version)
            _note(place, time.monotonic(), None)
            return


def store_now_ns(root: Uri) -> int:
    """Returns the time by the clock of the store that holds a set, in nanoseconds since 1970.

    Who may only read holds no lease, and looks at those of others by the clock of this machine.
    """
    try:
        return filesystem_of(root).now_ns(root / WORK / f"{CLOCK}-{writer_name()}-{secrets.token_hex(4)}")
    except PermissionError:
        return time.time_ns()


def _taken(root: Uri, place: Uri, content: bytes) -> bool:
    files = filesystem_of(place)
    try:
        files.create(place, content)
    except FileExistsError:
        try:
            there = files.status(place)
            if not _is_old(root, there):
                return False
            files.replace(place, content, there.version)
        except (FileNotFoundError, ChangedError):
            return False
    return True


@contextlib.contextmanager
def _renewed(place: Uri, content: bytes, is_only: bool = False) -> Iterator[None]:
    """Writes a lease anew in turns, as it stands, while the block runs, and removes it where it is still this one.

    Args:
        place: of the lease.
        content: that it was taken with.
        is_only: whether no other process takes a lease at this place.
    """
    files = filesystem_of(place)

    def renew(ended: threading.Event) -> None:
        while not ended.wait(RENEWAL_SECONDS):
            try:
                now, there = files.fetch(place)
                if not now.startswith(content):
                    raise ChangedError(place)
                files.replace(place, now, there.version)
            except (ChangedError, FileNotFoundError):
                LOG.debug("%s was changed while it was renewed", place)
            except (OSError, RunError, UsageError) as error:  # it may pass; if not, others take it over
                LOG.debug("%s is not renewed: %s", place, error)

    try:
        with beside(renew, "lease"):
            yield
    finally:
        with contextlib.suppress(OSError, RunError, UsageError):  # then it ends by its age
            if is_only or files.read(place).startswith(content):
                files.delete(place)
        _note(place, time.monotonic(), None)  # after it, so that a thread that has looked meanwhile is overruled


def _is_old(root: Uri, there: Entry) -> bool:
    return (store_now_ns(root) - there.mtime_ns) / 1e9 >= LEASE_SECONDS


def _tell(root: Uri) -> bool:
    LOG.info(
        "waiting for another command to end its work on %s (where it was killed, up to %.0f s)", root, LEASE_SECONDS
    )
    return True
