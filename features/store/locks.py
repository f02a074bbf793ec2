"""Locks of feature sets and of other outputs. The system releases those of dead processes: they block no other.

Who holds one also renews a lease, see `features.store.lease`: by it workers know that their driver lives, and commands
of other hosts that somebody is at work where the locks of their file system reach no other host.
"""

import contextlib
import errno
import fcntl
import functools
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from features.errors import RunError, UsageError
from features.io.atomic import naming_full_disk
from features.io.filesystem import Location, Uri
from features.runtime.log import LOG
from features.store.layout import WORK, Layout
from features.store.lease import Lease, claim_object, hold, hold_object, holder_of, living_holder
from features.store.lease_objects import ALONE, COMMIT, LEASE_SECONDS, held_object, store_now_ns, wait_while_alone

CLAIM = ".writer"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
_LONGEST_NAME = 400
_ATTEMPTS = 1_000


@contextlib.contextmanager
def running(layout: Layout) -> Iterator[Lease]:
    """Marks that a run has finished shards here that no state names yet; any number of runs may do so at once.

    Yields:
        The lease of the run, which lies in the folder of work.
    """
    if isinstance(layout.root, Uri):
        place = Uri(layout.lease(f"{os.getpid()}-{secrets.token_hex(4)}"))
        # Who works alone takes the lock first and looks for leases then, so one of the two sees the other.
        with hold_object(place, functools.partial(wait_while_alone, layout.root, Uri(layout.commit_lock))) as of_run:
            yield of_run
        return
    # Over NFS a shared lock takes a file that may be read, and one for a process alone a file that may be written.
    with open(layout.running_lock, "a+", encoding="utf-8") as lock:
        _take(lock, fcntl.LOCK_SH, layout)
        path = Path(layout.lease(f"{os.getpid()}-{secrets.token_hex(4)}"))
        try:
            with contextlib.ExitStack() as held:
                with naming_full_disk(layout.root):
                    file = held.enter_context(_new_file(path))
                    lease = held.enter_context(hold(file, path))
                yield lease
        finally:
            path.unlink(missing_ok=True)
            layout.remove_work_folder()


def _new_file(path: Path) -> TextIO:
    for _ in range(_ATTEMPTS):
        path.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another run has ended and taken the folder away
            return open(path, "x", encoding="utf-8")
    raise RunError(f"{path.parent} appears and goes all the time; end the other commands that write there")


@contextlib.contextmanager
def committing(layout: Layout) -> Iterator[None]:
    """Holds the lock under which a set changes its state; of a set in an object store, a lease."""
    if isinstance(layout.root, Uri):
        with held_object(layout.root, Uri(layout.commit_lock), COMMIT):
            yield
        return
    with open(layout.commit_lock, "w", encoding="utf-8") as file:
        _take(file, fcntl.LOCK_EX, layout)
        yield


@contextlib.contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """Holds both locks; a run that begins waits for their end.

    Raises:
        RunError: a run is in progress, here or on another host.
    """
    if isinstance(layout.root, Uri):
        with held_object(layout.root, Uri(layout.commit_lock), ALONE):
            if holder := _running(layout, elsewhere=False):
                raise _runs(layout, f" ({holder})")
            yield
        return
    with committing(layout), open(layout.running_lock, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _runs(layout) from error
        if holder := _running(layout, elsewhere=True):
            raise _runs(layout, f" ({holder})")
        yield


def _runs(layout: Layout, holder: str = "") -> RunError:
    return RunError(
        f"a featurize is running into {layout.root}{holder}, and its finished shards are in no state yet; wait for its "
        f"end{_where_killed(layout.root)}"
    )


def _where_killed(place: Location) -> str:
    """Returns what there is to say of a holder that was killed; in a folder it is known to be gone."""
    return f", or {LEASE_SECONDS:.0f} s where it was killed" if isinstance(place, Uri) else ""


def _running(layout: Layout, elsewhere: bool) -> str | None:
    return next(filter(None, (living_holder(path, elsewhere) for path in layout.leases())), None)


def _take(file: TextIO, kind: int, layout: Layout) -> None:
    """Takes a lock, and logs where it has to be waited for: to prune or to repair a large set takes minutes."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        LOG.info("waiting for another command to end its work on %s", layout.root)
        fcntl.flock(file, kind)


def now_ns(layout: Layout) -> int:
    """Returns the time that the ages of a set's files are told by: this machine's, or the store's."""
    return store_now_ns(layout.root) if isinstance(layout.root, Uri) else time.time_ns()


def is_running(layout: Layout) -> bool:
    """Returns whether a run is in progress, here or on another host; changes nothing."""
    if isinstance(layout.root, Uri):
        return _running(layout, elsewhere=False) is not None
    locked = True
    try:
        with open(layout.running_lock, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or it is another user's
        locked = False
    try:
        return _running(layout, elsewhere=locked) is not None
    except OSError:  # another user's folder of work: then it is not known
        return False


@contextlib.contextmanager
def claim(folder: Location, command: str, output: str) -> Iterator[Lease]:
    """Holds a folder for this process alone while the block fills it; of a second process it does not wait for the end.

    The lock is on a file in the folder, which says who holds it. The folder is made where it is missing. With the
    block the file goes, and the folder where it is empty then. In an object store it is a lease with an age.

    Args:
        folder: in which the command works; nothing but `is_claimed` may be asked of it before.
        command: what the command does, as the message names it: `score` or `training`.
        output: what the user gave as `--output`.

    Yields:
        The lease of this process, which is the same file.

    Raises:
        UsageError: another process holds it.
    """
    if isinstance(folder, Uri):
        with contextlib.ExitStack() as claimed:
            place = folder / WORK / CLAIM
            try:
                lease = claimed.enter_context(claim_object(folder, place))
            except FileExistsError as error:
                raise _in_use(command, place, output, living_holder(place, elsewhere=False)) from error
            yield lease
        return
    try:
        with _claimed(folder, command, output) as file:
            try:
                with contextlib.ExitStack() as held:
                    with naming_full_disk(output):
                        lease = held.enter_context(hold(file, folder / CLAIM))
                    yield lease
            finally:
                if _is_at(file, folder / CLAIM):  # else the folder was removed, and this may be another's by now
                    (folder / CLAIM).unlink()
    finally:
        # After the file is closed, since over NFS it lies there under another name until then. That is safe without the
        # lock: where another process has claimed the folder since, its file lies in it.
        with contextlib.suppress(OSError):
            folder.rmdir()


def _in_use(command: str, place: Location, output: str, holder: str | None) -> UsageError:
    return UsageError(f"one {command} at a time may write {output}, and another ({holder or 'process unknown'}) is at "
                      f"it; wait for its end{_where_killed(place)}, or give another --output")  # fmt: skip


def is_claimed(folder: Path) -> bool:
    """Returns whether a process holds a folder, or was killed while it did; changes nothing."""
    return (folder / CLAIM).exists()


def _claimed(folder: Path, command: str, output: str) -> TextIO:
    path = folder / CLAIM
    for attempt in range(_ATTEMPTS):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Not "w": that would empty the file of the process that holds the lock. A lock for a process alone takes,
            # over NFS, a file that may be written.
            file = open(path, "a+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by the caller
        except (FileNotFoundError, FileExistsError):  # who held the folder removed it just now
            if attempt == _ATTEMPTS - 1:
                raise
            continue
        except OSError as error:  # such as of a disk that is read-only: it is not our file that the user knows
            with naming_full_disk(output):
                raise OSError(error.errno, error.strerror, output) from error
        with contextlib.ExitStack() as closing:
            closing.callback(file.close)
            locked, holder = True, None
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = holder_of(file.read(_LONGEST_NAME))
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                LOG.warning("warning: the file system of %s has no locks (%s): see to it that no other %s writes it at "
                            "the same time", folder, error.strerror, command)  # fmt: skip
                locked = False
            if holder := holder or living_holder(path, elsewhere=locked):
                raise _in_use(command, path, output, holder)
            # The file goes while its lock is held. Who opened it before that gets the lock on a file without a name,
            # which keeps no other process out.
            if not locked or _is_at(file, path):
                closing.pop_all()
                return file
    raise RunError(f"{path} appears and goes all the time; end the other commands that write {output}")


def _is_at(file: TextIO, path: Path) -> bool:
    """Returns whether an open file is the one that has a path now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
