"""Many requests of a store at once, whose answers are waited for in order: its latency is met once, not each time."""

import functools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

REQUESTS = 128
"""Requests in flight at a time, of one process."""
_BYTES_IN_FLIGHT = 64 * 2**20

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_ahead(
    function: Callable[[_Item], _Result], items: Iterable[_Item], size: Callable[[_Item], int] = lambda _: 0
) -> Generator[_Result, None, None]:
    """Yields what a function returns of each item, in their order; threads work ahead of the one that is waited for.

    The first items are worked on from the call on, whenever the first result is asked for.

    Args:
        function: what is called; what it raises is raised where its result is waited for.
        items: what it is called with.
        size: about how many bytes a result holds: of them 64 MiB are there or on their way at a time, at least one.
    """
    results = _map_ahead(function, items, size)
    next(results)
    return results  # type: ignore[return-value]  # only the first of it is None


def _map_ahead(
    function: Callable[[_Item], _Result], items: Iterable[_Item], size: Callable[[_Item], int]
) -> Generator[_Result | None, None, None]:
    """Yields None when the first items are on their way, and then the results."""
    waiting: deque[tuple[Future[_Result], int]] = deque()
    held, is_begun = 0, False
    try:
        for item in items:
            more = size(item)
            while waiting and (held + more > _BYTES_IN_FLIGHT or len(waiting) >= 2 * REQUESTS):
                if not is_begun:
                    is_begun = True
                    yield None
                future, less = waiting.popleft()
                held -= less
                yield future.result()
            waiting.append((start(function, item), more))
            held += more
        if not is_begun:
            yield None
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        for future, _ in waiting:
            future.cancel()


def start(function: Callable[..., _Result], *arguments: object) -> Future[_Result]:
    """Has a thread of these call a function, which may wait for none that they are to call: all may be at work."""
    return _pool(os.getpid()).submit(function, *arguments)


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Returns the threads of this process: a process that was forked from it has none of them."""
    return ThreadPoolExecutor(REQUESTS, "store")
