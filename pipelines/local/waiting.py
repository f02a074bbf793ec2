"""How a command waits for its units, whatever does them."""

import threading
import time
from collections.abc import Callable

from features.errors import RunError
from features.runtime.log import LOG
from features.store.lease import Lease

_CHECK_SECONDS = 0.1
_LEASE_SECONDS = 1.0
LEFT = "the run was interrupted"
"""What workers are told of a run whose driver waits no more."""


def wait(run: Callable[[], None], lease: Lease, message: Callable[[BaseException], str]) -> None:
    """Runs something in a thread of its own, so that Ctrl-C and what a worker reports end the wait for it.

    A runner of Beam would wait forever for a worker that reports what no second try mends, and takes an interrupt for
    an error of the pipeline; what computes here would get it in the middle of a library.

    Args:
        run: what is waited for.
        lease: of the job; where the wait ends without the job's end, it says so to the workers.
        message: what to say of what `run` raises, where no worker has reported why.

    Raises:
        RunError: it failed, or the job did.
    """
    failures: list[BaseException] = []

    def attempt() -> None:
        try:
            run()
        except BaseException as error:  # it is raised again where the command waits
            failures.append(error)

    def hook(arguments: threading.ExceptHookArgs) -> None:
        LOG.debug("exception in thread %s: %r", arguments.thread, arguments.exc_value)

    previous, threading.excepthook = threading.excepthook, hook
    thread = threading.Thread(target=attempt, name="units", daemon=True)
    thread.start()
    looked = time.monotonic()
    try:
        while thread.is_alive():
            thread.join(_CHECK_SECONDS)
            # Whatever this raises, the hook stays: what the other threads still say is of no use.
            if time.monotonic() - looked >= _LEASE_SECONDS:
                looked = time.monotonic()
                # A runner would try it again, some times or forever.
                if failure := lease.failure():
                    raise RunError(failure)
    except KeyboardInterrupt:
        lease.fail(LEFT)  # before a runner hears of it: it may take long, or do nothing
        raise
    threading.excepthook = previous
    if failures:
        raise failed(failures[0], lease, message) from failures[0]


def failed(error: BaseException, lease: Lease, message: Callable[[BaseException], str]) -> RunError:
    """Returns the error of a job whose units failed by another one: what a worker has reported comes first."""
    LOG.debug("units failed", exc_info=error)
    return RunError(lease.failure() or message(error))
