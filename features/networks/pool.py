"""Instances of something that one thread at a time may use, as many as threads have ever used at a time."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")


class RunnerPool(Generic[_T]):
    """Networks with the memory that they compute in: each thread that computes has one for itself, and gives it back.

    A lock around a single one would save memory, but a network is where most of the time is spent.
    """

    def __init__(self, make: Callable[[], _T]) -> None:
        """Makes a pool that is empty.

        Args:
            make: makes an instance; it is called by one thread at a time.
        """
        self._make = make
        self._start_anew()

    @contextlib.contextmanager
    def taken(self) -> Iterator[_T]:
        """Lends an instance, a new one where none is idle; one that was in use when an error came is not used again."""
        if self._process != os.getpid():
            self._start_anew()  # what a process was forked with answers its parent
        try:
            instance = self._idle.pop()  # in one step, whatever other threads do
        except IndexError:
            with self._making:
                instance = self._make()
        yield instance
        self._idle.append(instance)

    def _start_anew(self) -> None:
        self._process = os.getpid()
        self._making = threading.Lock()
        self._idle: list[_T] = []
