"""Does the units of jobs on this machine: in this process, or in worker processes."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from features.runtime.log import LOG
from features.runtime.processes import choose_workers, usable_cores
from features.store.lease import Lease
from pipelines.local.failures import failure_message
from pipelines.local.waiting import wait
from pipelines.local.workers import Workers


class Worker(Protocol):
    """What does units in turn, in one process."""

    def work(self, unit: Any) -> None:
        """Does a unit, or begins with it and does the one before it."""

    def finish(self) -> None:
        """Ends with all units done."""

    def close(self) -> None:
        """Leaves what was begun and not finished."""


Begin = Callable[[], Worker]
"""Makes a process ready for work, once in each; where it is another one, this is pickled."""


class LocalRun:
    """The processes of a command that does its units on this machine."""

    def __init__(self, requested: int | None, workers: Workers | None) -> None:
        """Takes what there is.

        Args:
            requested: value of `--workers`, None to choose.
            workers: what forks workers; None where there is one process in any case.
        """
        self._requested, self._workers, self._said = requested, workers, ""

    def expect(self, pays: bool, load: Callable[[], None]) -> None:
        """Has loaded what workers will need, where there will be some.

        Args:
            pays: whether several processes are sooner done than one.
            load: loads it.
        """
        if self._workers is not None and (pays or self._requested is not None):
            self._workers.load(load)

    def do(self, begin: Begin, units: Sequence[Any], pays: bool, lease: Lease, load: Callable[[], None]) -> None:
        """Does units and waits for the end; what they leave is on disk.

        Args:
            begin: makes what does them.
            units: what `Worker.work` takes; whatever process is free first does the next one.
            pays: whether several processes are sooner done than one.
            lease: of the job, in which workers report what no second try mends; where the wait ends without the job's
                end, it says so to them.
            load: loads what workers need, once for all of them, see `expect`.

        Raises:
            RunError: a unit failed, or a worker process died.
        """
        workers, count = self._workers, choose_workers(self._requested, len(units), pays)
        if workers is None or count == 1:
            self._say("running in this process")
            wait(lambda: _do_here(begin, units), lease, failure_message)
        else:
            self._say(f"running in {count} worker processes")
            workers.load(load)
            try:
                wait(lambda: workers.work(begin, units, count), lease, failure_message)
            except BaseException:
                workers.end()  # before a caller takes away what they leave at work: they would leave more
                raise

    def _say(self, where: str) -> None:
        if where != self._said:  # of a command with several jobs it is of interest once
            LOG.info("%s", where)
            self._said = where


def _do_here(begin: Begin, units: Sequence[Any]) -> None:
    with contextlib.closing(begin()) as worker:
        for unit in units:
            worker.work(unit)
        worker.finish()


@contextlib.contextmanager
def local_units(requested: int | None, beam_options: Sequence[str]) -> Iterator[LocalRun | None]:
    """Starts what forks workers, where there may be some, and ends it with the block; None where the run is not local.

    Args:
        requested: value of `--workers`, None to choose.
        beam_options: options that are Beam's, which name a runner if there are any.
    """
    if beam_options:
        yield None
    elif (usable_cores() if requested is None else requested) == 1:
        yield LocalRun(requested, None)
    else:
        workers = Workers()
        try:
            yield LocalRun(requested, workers)
        finally:
            workers.end()
