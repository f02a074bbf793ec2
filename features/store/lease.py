"""The lease of a job: as long as its driver renews it, workers go on, wherever they run.

A lease is a file beside the work, which says who holds it. The driver sets its time once a second and removes it when
it ends in any way that it notices. Workers look at it before each unit: where it is gone, another's, or too old they
write nothing more. Its age goes by the clock of the file system that both see, never by the clocks of two hosts. What
no second try can mend, such as a full disk, a worker writes into the lease: the other workers end by it, and the driver
reads why.

A driver that is stopped (SIGSTOP, a machine asleep) stops renewing. Workers that sleep with it find the lease too old
when they wake, wait for some seconds whether it is renewed, and go on. Workers that are awake end after
`LONGEST_AGE_SECONDS`: what they have finished is kept, and the driver, once it goes on, ends with their message.

What is a file here is read by `_look` and `_now_ns` and written by `hold`, `_renew` and `fail` alone.
"""

import contextlib
import errno
import functools
import json
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

from features.errors import PassingError, RunError, SoundmillError
from features.io.entry import AnyPath
from features.io.filesystem import Uri, is_uri
from features.runtime.log import LOG
from features.runtime.threads import beside
from features.store import lease_objects

RENEWAL_SECONDS = 1.0
LONGEST_AGE_SECONDS = 15.0
# What a worker waits for a lease that is too old: that of a driver that slept with it is renewed by then.
_WAKING_SECONDS = 5 * RENEWAL_SECONDS
_CHECK_SECONDS = 0.2
# With its holder it stays in the first block of a file, which is there already where a disk is full.
_LONGEST_FAILURE = 3_000
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)
# Errors of the system that no second try mends.
_PERMANENT = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR,
              errno.EISDIR, errno.EFBIG, errno.ENAMETOOLONG}  # fmt: skip


class _Look(NamedTuple):
    """A lease as it stands.

    Attributes:
        lines: who holds it, its token, and what has failed.
        renewed_ns: when it was renewed, by the clock of its file system.
    """

    lines: list[str]
    renewed_ns: int

    @property
    def holder(self) -> str:
        """Process and host, as messages name them."""
        return self.lines[0] or "process unknown"

    @property
    def token(self) -> str:
        """What no other lease has."""
        return self.lines[1] if len(self.lines) > 1 else ""

    @property
    def failure(self) -> str | None:
        """What a worker has reported that no second try mends."""
        text = "\n".join(self.lines[2:])
        if not text:
            return None
        try:
            return str(json.loads(text.splitlines()[0])["message"])
        except (ValueError, KeyError, TypeError):  # cut off, as where the disk is full
            return f"a worker failed, and its report is cut off: {text.splitlines()[0]}"


@dataclass(frozen=True)
class Lease:
    """A lease as jobs carry it to their workers.

    Attributes:
        path: of its file.
        holder: process and host of the driver.
        token: what no other lease has.
        began_ns: when it was taken, by the clock of its file system.
    """

    path: str
    holder: str
    token: str
    began_ns: int

    @property
    def is_held_here(self) -> bool:
        """Whether this process is the driver."""
        return self.holder == this_process()

    def check(self) -> None:
        """Raises `RunError` where the driver has ended or was ended, or the job has failed; called before each unit."""
        look = self._own()
        if _age_seconds(self.path, look) <= _longest_age_seconds(self.path):
            return
        end = time.monotonic() + (2 * lease_objects.RENEWAL_SECONDS if is_uri(self.path) else _WAKING_SECONDS)
        while time.monotonic() < end:
            time.sleep(_CHECK_SECONDS)
            if self._own().renewed_ns != look.renewed_ns:
                return
        raise self._ended(f"was not renewed for {_age_seconds(self.path, look):.0f} s: the driver, {self.holder}, was "
                          "killed or stopped")  # fmt: skip

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Looks at the lease before the block, and reports into it what fails in the block and no second try mends.

        Raises:
            RunError: the job has ended, see `check`; also where that is why the block fails.
        """
        self.check()
        try:
            yield
        except Exception as error:
            if ended := self.failure():  # what the driver has taken away with its end is missing for that reason
                raise RunError(ended) from error
            if is_permanent(error):
                self.fail(str(error))
            raise

    def fail(self, message: str) -> None:
        """Ends the job by what no second try mends; the first report stays."""
        if not _is_here(self.holder):
            message += f" (in a worker, {this_process()})"
        LOG.debug("reporting into %s: %s", self.path, message)
        report = json.dumps({"message": message[:_LONGEST_FAILURE], "worker": this_process()})
        with contextlib.suppress(OSError, RunError):
            if self._own().failure is None:
                if is_uri(self.path):
                    lease_objects.add_line(Uri(self.path), report.encode() + b"\n")
                    return
                descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
                with open(descriptor, "wb", buffering=0) as file:
                    file.write(report.encode() + b"\n")

    def failure(self) -> str | None:
        """Returns why the job cannot go on, None where it can: what the driver asks while it waits."""
        try:
            self._own()
        except RunError as error:
            return str(error)
        except OSError:
            return None
        return None

    def _own(self) -> _Look:
        """Looks at the lease; raises `RunError` where it is not the driver's any more, or the job has failed."""
        look = _look(self.path)
        if look is None:
            raise self._ended(f"is not there: the driver, {self.holder}, has ended, or {os.path.dirname(self.path)} is "
                              "not the same folder on this host")  # fmt: skip
        if look.token != self.token:
            raise self._ended(f"is not that of the driver, {self.holder}, any more: {look.holder} has taken its place")
        if look.failure is not None:
            raise RunError(look.failure)
        return look

    def _ended(self, why: str) -> RunError:
        return RunError(f"{self.path}, by which workers know that their driver lives, {why}; nothing more is written "
                        f"in this worker, {this_process()}; finished units are kept, run it again")  # fmt: skip


@contextlib.contextmanager
def hold(file: TextIO, path: Path) -> Iterator[Lease]:
    """Makes an open file this process' lease while the block runs; who opened the file removes it afterwards.

    Args:
        file: open for writing and appending.
        path: where it lies.
    """
    descriptor, token = file.fileno(), secrets.token_hex(8)
    os.truncate(descriptor, 0)
    # Not buffered: what finds no room would be written once more when the file is closed.
    os.write(descriptor, f"{this_process()}\n{token}\n".encode())
    os.fsync(descriptor)  # over NFS the others see it only then
    lease = Lease(str(path), this_process(), token, os.fstat(descriptor).st_mtime_ns)
    with beside(functools.partial(_renew, descriptor), "lease"):
        yield lease


@contextlib.contextmanager
def hold_object(place: Uri, before: Callable[[], None] = lambda: None) -> Iterator[Lease]:
    """Holds a lease in an object store while the block runs; see `features.store.lease_objects.kept_young`."""
    token = secrets.token_hex(8)
    with lease_objects.kept_young(place, f"{this_process()}\n{token}\n".encode(), before) as began_ns:
        yield Lease(str(place), this_process(), token, began_ns)


@contextlib.contextmanager
def claim_object(root: Uri, place: Uri) -> Iterator[Lease]:
    """Holds a lease in a store that one process has at a time; raises `FileExistsError` where another has it."""
    token = secrets.token_hex(8)
    content = f"{this_process()}\n{token}\n".encode()
    with lease_objects.claimed_object(root, place, content) as began_ns:
        yield Lease(str(place), this_process(), token, began_ns)


def living_holder(path: AnyPath, elsewhere: bool) -> str | None:
    """Returns who holds a lease that is renewed, None where nobody does.

    Args:
        path: of the lease.
        elsewhere: whether those of this host are passed over: a lock of the system says it better of them, as it ends
            with a process that is killed.
    """
    look = _look(path)
    if look is None or not look.token or (elsewhere and _is_here(look.holder)):
        return None
    try:
        age_seconds = _age_seconds(path, look)
    except PermissionError:  # who may read the set alone goes by the clock of this machine
        age_seconds = (time.time_ns() - look.renewed_ns) / 1e9
    return look.holder if age_seconds <= _longest_age_seconds(path) else None


def holder_of(content: str) -> str:
    """Returns who holds a lease with this content."""
    return content.partition("\n")[0] or "process unknown"


def this_process() -> str:
    """Returns process and host, as messages name them."""
    return f"process {os.getpid()} on host {socket.gethostname()}"


def _is_here(holder: str) -> bool:
    return holder.endswith(f" on host {socket.gethostname()}")


def is_permanent(error: BaseException) -> bool:
    """Returns whether an error comes again however often a unit is tried: a full disk, no permission, a wrong model."""
    if isinstance(error, SoundmillError):
        return not isinstance(error, PassingError)
    return isinstance(error, OSError) and error.errno in _PERMANENT


def _renew(descriptor: int, ended: threading.Event) -> None:
    while not ended.wait(RENEWAL_SECONDS):
        try:
            os.utime(descriptor)  # to the time of the file's server, not of this host
        except OSError as error:  # it may pass; if not, the workers say so
            LOG.debug("the lease is not renewed: %s", error)


def _longest_age_seconds(path: AnyPath) -> float:
    return lease_objects.LEASE_SECONDS if is_uri(path) else LONGEST_AGE_SECONDS


def _look(path: AnyPath) -> _Look | None:
    """Reads a lease, None where there is none; opened anew, as over NFS what was known of it may be old."""
    if is_uri(path):
        found = lease_objects.look_at(Uri(path))
        return None if found is None else _Look(found[0].decode(errors="replace").split("\n"), found[1])
    try:
        with open(path, "rb", buffering=0) as file:
            content, status = file.read(2**16), os.fstat(file.fileno())
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    return _Look(content.decode(errors="replace").split("\n"), status.st_mtime_ns)


def _age_seconds(path: AnyPath, look: _Look) -> float:
    if is_uri(path):
        place = Uri(path)
        return lease_objects.age_seconds(place.folder.folder, place, look.renewed_ns)
    with contextlib.suppress(FileNotFoundError):
        return (_now_ns(os.path.dirname(path)) - look.renewed_ns) / 1e9
    return math.inf  # the folder has gone since, and the lease with it


def _now_ns(folder: str) -> int:
    """Returns the time by the clock of a folder's file system, as the folder gets it when it is set to now.

    A file made for that would want room on a full disk, and would stay where a worker is killed at that instant.
    """
    os.utime(folder)
    return os.stat(folder).st_mtime_ns
