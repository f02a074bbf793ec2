"""One thread a worker: those of BLAS and OpenMP would take turns with other workers, and change last digits.

And a thread that looks after something while a block runs.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

# What the libraries read when they are loaded.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
     "VECLIB_MAXIMUM_THREADS"), "1",
)  # fmt: skip


def pin_threads() -> None:
    """Has the libraries that are loaded compute on one thread, for good; for those that come later `ONE_THREAD` is."""
    from threadpoolctl import threadpool_limits  # where it is used: a driver has no use for it

    os.environ |= ONE_THREAD
    threadpool_limits(limits=1)


@contextlib.contextmanager
def beside(work: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Has a thread work while the block runs; it is waited for.

    Args:
        work: takes the event that is set when the block has ended, and returns soon after it.
        name: of the thread.
    """
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(ended,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
