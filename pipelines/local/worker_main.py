"""The worker processes of a local run: python -m pipelines.local.worker_main DRIVER REQUESTS ANSWERS VERBOSE.

`Workers` starts it, or forks the driver to run `serve`. It loads once what every worker needs, while the driver lists
and plans, and forks the workers of a job. It ends with its workers, and with the driver, however that died.
"""

import contextlib
import gc
import os
import pickle
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from features.io.temporary import remove_temporary_folder
from features.runtime.log import LOG
from features.runtime.no_pandas import keep_pandas_out
from features.runtime.parent_watch import end_with_parent
from pipelines.local.failures import failure_message

LENGTH = struct.Struct("<Q")
"""Of a request or an answer, before it."""
NUMBER = struct.Struct("<q")
"""Of a unit, as workers take it from the pipe of requests behind that of a job."""
END = -1
"""In place of a number: there are no more for whoever takes it."""

_CHECK_SECONDS = 0.5
_LONGEST_FAILURE = 3_000  # written at once


def serve(driver: int, requests: int, answers: int, verbose: bool) -> NoReturn:
    """Does what is requested until the driver asks for nothing more; never returns.

    Args:
        driver: number of the process that requests.
        requests: descriptor of a pipe of messages: what loads modules, or a job, with numbers of its units behind it.
        answers: descriptor of a pipe of texts: an empty one when a job is done, else what failed in one.
        verbose: whether what workers say is shown.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # it is waited for
    # What workers have to say comes back as text; the rest is what decoders print of files that they cannot read.
    LOG.handlers.clear()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1) if verbose else (0, 1, 2):
        os.dup2(nothing, descriptor)
    keep_pandas_out()
    # What is loaded stays: to garbage-collect it would take time, and make copies of what workers share.
    gc.disable()
    while content := _read(requests):
        kind, *rest = pickle.loads(content)
        if kind == "load":
            rest[0]()
            continue
        begin, units, count = rest
        gc.freeze()
        # This is a process of one thread, or a fork of it might wait forever for what another thread held.
        for _ in range(count):
            if os.fork() == 0:
                _work(begin, units, requests, answers)
        _wait(count, driver)
        os.write(answers, LENGTH.pack(0))
    os._exit(0)


def _read(requests: int) -> bytes:
    """Reads a message, and nothing behind it; returns nothing where the driver has ended."""
    content, wanted = b"", LENGTH.size
    length: int | None = None
    while len(content) < wanted:
        part = os.read(requests, wanted - len(content))
        if not part:
            return b""
        content += part
        if length is None and len(content) == wanted:
            [length] = LENGTH.unpack(content)
            content, wanted = b"", length
    return content


def _wait(count: int, driver: int) -> None:
    """Waits for workers; ends with the exit code of the first that fails, 128 more than its signal, or the driver."""
    while count:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process:
            count -= 1
            code = os.waitstatus_to_exitcode(status)
            if code:
                os._exit(code if code > 0 else 128 - code)
        elif os.getppid() != driver:
            os._exit(1)
        else:
            signal.sigtimedwait({signal.SIGCHLD}, _CHECK_SECONDS)


def _work(begin: Callable[[], Any], units: Sequence[Any], requests: int, answers: int) -> NoReturn:
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        gc.enable()
        end_with_parent(os.getppid())
        with contextlib.closing(begin()) as worker:
            while (number := NUMBER.unpack(os.read(requests, NUMBER.size))[0]) != END:
                worker.work(units[number])
            worker.finish()
        code = 0
    except BaseException as error:
        traceback.print_exc()
        text = failure_message(error).encode(errors="replace")[:_LONGEST_FAILURE]
        with contextlib.suppress(OSError):
            os.write(answers, LENGTH.pack(len(text)) + text)
    finally:
        remove_temporary_folder()
        os._exit(code)  # what was written is on disk; to take apart what is in memory would take a second


if __name__ == "__main__":
    parent, read_from, write_to, is_verbose = map(int, sys.argv[1:])
    serve(parent, read_from, write_to, bool(is_verbose))
