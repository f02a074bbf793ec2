"""The process in which a tracker's client library runs; `client` starts it and tells it what to call.

What the library prints goes into a file. When the training has died, the tracker is ended as one that failed.
"""

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection

from features.errors import one_line
from model.tracking.registry import make
from model.tracking.session import Session
from model.tracking.tracker import FAILED

_CHECK_SECONDS = 0.5
_ENDING_SECONDS = 60.0


def main() -> None:
    """Makes the calls that come through the pipe, and answers each: None, or why it failed."""
    name, descriptor, parent = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's
    threading.Thread(target=_end_some_time_after, args=(parent,), name="parent", daemon=True).start()
    session: Session | None = None
    with Connection(descriptor) as pipe:
        while True:
            try:
                method, arguments = pipe.recv()
            except EOFError:  # the training died
                method, arguments = "end", (FAILED,)
            try:
                session = session or Session(name, make(name))
                getattr(session, method)(*arguments)
                answer = None
            except BaseException as error:  # clients end processes, too
                traceback.print_exc()
                answer = one_line(error)
            if method == "end" or answer is not None:
                _answer(pipe, answer)
                return
            _answer(pipe, answer)


def _answer(pipe: Connection, answer: str | None) -> None:
    with contextlib.suppress(OSError):
        pipe.send(answer)


def _end_some_time_after(parent: int) -> None:
    """Ends this process and what it has started where the training died and the tracker cannot be ended."""
    while os.getppid() == parent:
        time.sleep(_CHECK_SECONDS)
    time.sleep(_ENDING_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
