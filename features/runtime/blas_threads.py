"""One thread for products of matrices: how many threads BLAS takes changes their last digits."""

import contextlib
import threading
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@cache
def _blas() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController  # where it is used: who reads sums has no use for it

    return ThreadpoolController()


# The number of BLAS threads is the whole process's. The first thread that computes sets it and the last restores it:
# were each to do so, one that ends would give back to the others the threads that it found.
_lock = threading.Lock()
_users = 0
_limit: list[Any] = []  # what restores the number


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Has BLAS compute by one thread while the block runs; within another such block that costs next to nothing."""
    global _users
    with _lock:
        if _users == 0:
            limit = _blas().limit(limits=1, user_api="blas")
            # To threadpoolctl 3.8 the thread that set the number owns it until it leaves such a block, and what others
            # request is ignored: this one leaves the number at one, and any thread may be the last.
            with _blas().limit(limits=1, user_api="blas"):
                pass
            _limit.append(limit)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                with _limit.pop():
                    pass  # to leave it is to restore the number
