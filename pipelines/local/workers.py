"""The worker processes of a local run: their driver's side.

Numbers of units lie in a pipe, from which each worker takes the next one when it is free: none waits while there is
one, and a unit costs two calls of the system. What units leave is on disk; through another pipe comes back that all are
done, or what failed.
"""

import contextlib
import gc
import os
import pickle
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from features.errors import RunError
from features.runtime import command
from features.runtime.log import is_verbose
from features.runtime.processes import python_command, python_environment
from features.runtime.threads import ONE_THREAD
from pipelines.local.worker_main import END, LENGTH, NUMBER, serve

# Writes of so many bytes are whole or not at all.
_ATOMIC_BYTES = 4_096
_CHECK_SECONDS = 0.1
_SAYING_SECONDS = 2.0
_ENDING_SECONDS = 5.0  # of workers that are at work: they look for the end twice a second


class Workers:
    """A process that loads what workers need, and the workers that it forks.

    A command of its own process forks it of itself, which takes milliseconds and loads nothing twice; that has to be
    before it starts threads. From a program that runs a command among other things it is started anew.
    """

    def __init__(self) -> None:
        """Starts the process, which waits."""
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        self._driver = os.getpid()
        # Ctrl-C is the driver's: workers ignore it from their first instant on.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forked = command.owns_process() and threading.active_count() == 1
            self.process = (_fork if forked else _start)(requests, answers, (self._requests, self._answers))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            os.close(requests)
            os.close(answers)
        self._code: int | None = None
        self._is_closed = False
        self._waiting, self._working = threading.Lock(), threading.Lock()

    def load(self, function: Callable[[], None]) -> None:
        """Has it call a function that loads what work will need, while this process goes on."""
        with contextlib.suppress(BrokenPipeError):  # `work` says so
            self._request(("load", function))

    def work(self, begin: Callable[[], Any], units: Sequence[Any], count: int) -> None:
        """Has units done, see `pipelines.local.units.do_units`.

        Raises:
            RunError: a unit failed, or a worker process died.
        """
        with self._working:
            self._do(begin, units, count)

    def _do(self, begin: Callable[[], Any], units: Sequence[Any], count: int) -> None:
        try:
            self._request(("work", begin, units, count))
        except BrokenPipeError:
            raise self._died() from None
        left = memoryview(b"".join(NUMBER.pack(number) for number in [*range(len(units)), *[END] * count]))
        os.set_blocking(self._requests, False)
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        poll.register(self._requests, select.POLLOUT)
        while True:
            ready = dict(poll.poll(1_000 * _CHECK_SECONDS))
            if self._answers in ready and self._is_answered():
                break
            if self._requests in ready and left:
                left = left[self._put(left[:_ATOMIC_BYTES]) :]
                if not left:
                    poll.unregister(self._requests)
            if self._has_ended():
                self._is_answered()
                raise self._died()
        os.set_blocking(self._requests, True)

    def _request(self, message: tuple[Any, ...]) -> None:
        content = pickle.dumps(message)
        view = memoryview(LENGTH.pack(len(content)) + content)
        while view:
            view = view[os.write(self._requests, view) :]

    def _put(self, numbers: memoryview) -> int:
        try:
            return os.write(self._requests, numbers)
        except (BlockingIOError, BrokenPipeError):  # of the end there is more to say
            return 0

    def _is_answered(self) -> bool:
        """Returns whether all is done; raises `RunError` where a unit has failed."""
        if not select.select([self._answers], [], [], 0)[0]:
            return False
        length = os.read(self._answers, LENGTH.size)
        if not length:  # all that could answer have ended
            return False
        if text := os.read(self._answers, LENGTH.unpack(length)[0]):
            raise RunError(text.decode(errors="replace"))
        return True

    def _has_ended(self, options: int = os.WNOHANG) -> bool:
        with self._waiting:  # of two threads that wait for a process one is not told
            if self._code is None:
                process, status = os.waitpid(self.process, options)
                if process:
                    self._code = os.waitstatus_to_exitcode(status)
            return self._code is not None

    def _died(self) -> RunError:
        """Returns the error of a worker that died, once it is known of what."""
        end = time.monotonic() + _SAYING_SECONDS
        while not self._has_ended() and time.monotonic() < end:
            time.sleep(0.01)
        code = self._code or 0
        try:
            death = signal.Signals(-code if code < 0 else code - 128).name
        except ValueError:
            death = f"exit code {code}"
        return RunError(f"a worker process died ({death}); finished units are kept, run it again; --verbose shows what "
                        "it said")  # fmt: skip

    def end(self) -> None:
        """Ends the process, unless it was ended before, and waits for workers at work, which end when they notice."""
        if self._is_closed:
            return
        self._is_closed = True
        if not self._has_ended():
            os.kill(self.process, signal.SIGKILL)
            self._has_ended(0)
        with self._working:  # which has noticed: what it reads and writes may be another's after this
            self._wait_for_workers()
            os.close(self._requests)
            os.close(self._answers)

    def _wait_for_workers(self) -> None:
        end = time.monotonic() + _ENDING_SECONDS
        while select.select([self._answers], [], [], max(0.0, end - time.monotonic()))[0]:
            if not os.read(self._answers, _ATOMIC_BYTES):  # nobody is left who could answer
                return


def _fork(requests: int, answers: int, others: Sequence[int]) -> int:
    gc.freeze()  # what is there now stays: pages that nobody writes to are shared
    driver = os.getpid()
    process = os.fork()
    if process:
        gc.unfreeze()
        return process
    try:
        for descriptor in others:
            os.close(descriptor)
        serve(driver, requests, answers, is_verbose())
    finally:
        os._exit(1)  # whatever it was: the rest of the command is the driver's


def _start(requests: int, answers: int, _: Sequence[int]) -> int:
    line = python_command("pipelines.local.worker_main", os.getpid(), requests, answers, int(is_verbose()))
    for descriptor in (requests, answers):
        os.set_inheritable(descriptor, True)
    # One thread before anything is loaded.
    return os.posix_spawnp(line[0], line, python_environment(**ONE_THREAD))
