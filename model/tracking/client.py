"""This end of the process in which a client library of others runs: what hangs or crashes there is noticed here."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

from features.errors import one_line
from features.runtime.processes import python_command, python_environment
from model.tracking.tracker import FAILED, FINISHED

# What talks to servers may have to wait for them; a model is sent at the end.
_SECONDS = {"begin": 180.0, "show": 600.0, "end": 600.0}
_LEAST_SECONDS = 120.0
# Of a training that the user stopped or that failed, so long is waited for trackers.
_STOPPED_SECONDS = 20.0
_EXIT_SECONDS = 5.0


class Client:
    """A tracker in a process of its own, to which is sent what it is told while the training goes on.

    Attributes:
        failure: why it was ended, one line; None as long as it works.
    """

    def __init__(self, name: str, log: Path) -> None:
        """Starts the process.

        Args:
            name: of the tracker.
            log: file for what its library says.

        Raises:
            OSError: it cannot be started.
        """
        self.failure: str | None = None
        self._how = FAILED
        self._messages: queue.SimpleQueue[tuple[str, tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._pipe, theirs = Pipe()
        with open(log, "ab") as file, theirs:
            self._process = subprocess.Popen(
                python_command("model.tracking.client_process", name, theirs.fileno(), os.getpid()),
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, pass_fds=(theirs.fileno(),),
                env=python_environment(), start_new_session=True,  # Ctrl-C is the training's
            )  # fmt: skip
        self._killing, self._is_killed = threading.Lock(), False
        self._thread = threading.Thread(target=self._send_all, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def tell(self, method: str, *arguments: Any) -> None:
        """Sends a call of a `Session`, when those before it have been answered."""
        self._messages.put((method, arguments))

    def end(self, how: str) -> None:
        """Has the tracker end when it has been told all, and does not wait for it."""
        self._how = how
        self.tell("end", how)
        self._messages.put(None)

    def wait(self) -> None:
        """Waits until the tracker has ended; kills its processes where that takes too long, or Ctrl-C comes."""
        try:
            self._thread.join(None if self._how == FINISHED else _STOPPED_SECONDS)
            if self._thread.is_alive():
                self.failure = f"it did not end within {_STOPPED_SECONDS:.0f} s"
        except BaseException:  # Ctrl-C
            self.failure = "it was not waited for"
            raise
        finally:
            self._kill()

    def _send_all(self) -> None:
        try:
            while (message := self._messages.get()) is not None:
                error = self._ask(*message)
                if error is not None:
                    self.failure = error
                    break
        except (OSError, EOFError):
            self.failure = self.failure or self._death()
        finally:
            self._kill()
            self._pipe.close()

    def _ask(self, method: str, arguments: tuple[Any, ...]) -> str | None:
        """Has one call made; returns why it failed, None where it did not."""
        self._pipe.send((method, arguments))
        seconds = _SECONDS.get(method, _LEAST_SECONDS)
        if not self._pipe.poll(seconds):
            return f"it did not answer within {seconds:.0f} s"
        answer: str | None = self._pipe.recv()
        return answer

    def _death(self) -> str:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "its process does not answer"
        return f"its process ended ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"

    def _kill(self) -> None:
        """Ends the process, after a while for what it still does where it works, and all that it has started."""
        with self._killing:
            if self._is_killed:
                return
            if self.failure is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_EXIT_SECONDS)  # all is written: only the interpreter is left
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._is_killed = True


class Here:
    """A tracker in this process, one that talks to nobody; see `Client`."""

    def __init__(self, name: str) -> None:
        """Makes the tracker."""
        from model.tracking.registry import make
        from model.tracking.session import Session

        self.failure: str | None = None
        self._session = Session(name, make(name))

    def tell(self, method: str, *arguments: Any) -> None:
        """Makes a call of a `Session`, unless one has failed."""
        if self.failure is None:
            try:
                getattr(self._session, method)(*arguments)
            except Exception as error:  # whatever it is, the training is not to end by it
                self.failure = one_line(error)

    def end(self, how: str) -> None:
        """Has the tracker end."""
        self.tell("end", how)

    def wait(self) -> None:
        """There is nothing to wait for."""
