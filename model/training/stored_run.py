"""A training whose run folder is in an object store: it works on this machine, and what an epoch leaves is sent."""

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator

from features.errors import RunError, SoundmillError, UsageError
from features.io.filesystem import filesystem_of, is_uri, join
from features.io.mirror import Mirror
from features.io.store_errors import ChangedError
from features.runtime.log import LOG
from features.store.locks import CLAIM
from model.inference.run_store import working_copy

LEASE_SECONDS = 60.0
"""A claim that was not renewed for so long, by the clock of the store, is of a process that has died."""
_RENEWALS = 4  # within that time
# Without them it is seen whether a run is there, and whether it has ended.
_OF_RESUMING = ("checkpoints/", "logs/", "evaluation/")


@contextlib.contextmanager
def run_to_train(output: str, resume: bool) -> Iterator[tuple[str, Callable[[dict[str, float]], None] | None]]:
    """Yields the folder to train in, and what is to be called when an epoch has ended, None for nothing.

    Args:
        output: run folder, which is yielded itself, or its URI: that is claimed for this process alone, its files are
            fetched, and what the training leaves is sent with each epoch and at the end, however it ends.
        resume: whether the training continues, which takes its checkpoints.

    Raises:
        UsageError: another training is writing the run.
        RunError: another has taken it over, as this one could not reach the store for long.
        SoundmillError: what the block raises; it names the run as it was given.
    """
    if not is_uri(output):
        yield output, None
        return
    with working_copy(output, but=(CLAIM,)) as mirror, _claimed(mirror.uri) as claim:
        mirror.fetch(but=() if resume else _OF_RESUMING)

        def send(_: dict[str, float]) -> None:
            claim.check()
            mirror.send()

        try:
            yield str(mirror.folder), send
        except BaseException:
            _send_rest(mirror, claim)
            raise
        send({})


def _send_rest(mirror: Mirror, claim: "_Claim") -> None:
    """Sends what a training leaves that did not end well; what hinders that is not what it is remembered for."""
    try:
        claim.check()
        mirror.send()
    except (SoundmillError, OSError) as error:
        LOG.warning("warning: not all of the run could be sent to %s: %s", mirror.uri, error)


class _Claim:
    """An object that says who writes a run, which its holder writes anew as long as it lives."""

    def __init__(self, run: str) -> None:
        self._run, self._place, self._store = run, join(run, CLAIM), filesystem_of(run)
        self._token, self._turn, self._version, self._is_lost = secrets.token_hex(4), 0, "", False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="claim", daemon=True)

    def take(self) -> None:
        """Takes it; raises `UsageError` where another holds it that lives."""
        try:
            self._version = self._store.create(self._place, self._next())
        except FileExistsError:
            try:
                held = self._store.status(self._place)
                holder = self._store.read(self._place).decode(errors="replace").partition(",")[0]
                if self._store.now_ns(f"{self._place}-{self._token}") - held.mtime_ns < LEASE_SECONDS * 1e9:
                    raise self._refusal(holder) from None
                self._version = self._store.replace(self._place, self._next(), held.version)
            except (FileNotFoundError, ChangedError):  # another has come before, or has just ended
                raise self._refusal("which has just begun or ended") from None
        self._thread.start()

    def check(self) -> None:
        """Raises `RunError` where another holds it by now."""
        if self._is_lost:
            raise RunError(f"another training has taken over {self._run}, as this one could not say for "
                           f"{LEASE_SECONDS:.0f} s that it is at work; its last epochs are not there")  # fmt: skip

    def give_back(self) -> None:
        """Ends it."""
        self._end.set()
        self._thread.join()
        if not self._is_lost:
            with contextlib.suppress(OSError, SoundmillError):  # it ends by its age then
                self._store.delete(self._place)

    def _refusal(self, holder: str) -> UsageError:
        return UsageError(f"one training at a time may write {self._run}, and another ({holder}) is at it; wait for "
                          f"its end, {LEASE_SECONDS:.0f} s where it was killed, or give another --output")  # fmt: skip

    def _next(self) -> bytes:
        self._turn += 1  # another content has another version
        return f"process {os.getpid()} on host {socket.gethostname()}, {self._token}, {self._turn}".encode()

    def _renew(self) -> None:
        while not self._end.wait(LEASE_SECONDS / _RENEWALS):
            try:
                self._version = self._store.replace(self._place, self._next(), self._version)
            except ChangedError:
                self._is_lost = True
                return
            except (OSError, SoundmillError) as error:  # the next turn may be luckier
                LOG.debug("cannot renew %s: %s", self._place, error)


@contextlib.contextmanager
def _claimed(run: str) -> Iterator[_Claim]:
    claim = _Claim(run)
    claim.take()
    try:
        yield claim
    finally:
        claim.give_back()
