"""Processes of our own: how one is started, and one function run on many jobs in several of them."""

import contextlib
import math
import os
import signal
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from features.errors import RunError, UsageError
from features.runtime.parent_watch import end_with_parent

if TYPE_CHECKING:
    from concurrent.futures import Future

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")
# Jobs that wait for a worker: enough that none is idle, and few, as each is held in memory.
_WAITING_JOBS = 3
_PROJECT = str(Path(__file__).parents[2])
_CGROUPS, _OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def python_command(module: str, *arguments: object) -> list[str]:
    """Returns the command that runs one of our modules in a process of its own, with `python_environment`.

    The current folder is not searched for modules: a `model.py` or a `features/` of the user's there is not ours.
    """
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def python_environment(**changes: str) -> dict[str, str]:
    """Returns the environment in which a process of `python_command` finds our modules, with changes to it."""
    environment = {**os.environ, **changes}
    if sysconfig.get_path("purelib") != _PROJECT:  # there they are found, and would come before Python's own
        paths = [_PROJECT, os.environ.get("PYTHONPATH")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def parse_workers(text: str) -> int | None:
    """Reads `--workers`: a number of processes, or `auto` (None); raises `UsageError` for anything else."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--workers is auto or a number above 0, not {text!r}")
    return int(text)


def choose_workers(requested: int | None, jobs: int, pays: bool) -> int:
    """Returns the number of worker processes; 1 means the command's own process.

    Args:
        requested: value of `--workers`, None for `usable_cores`.
        jobs: number of jobs; more workers than that have nothing to do.
        pays: whether the work is long enough to pay for the start of processes.
    """
    if requested is None:
        requested = usable_cores() if pays else 1
    return max(1, min(requested, jobs))


def usable_cores() -> int:
    """Returns how many cores this process may use: those that it is bound to, less where a container or SLURM says so.

    A container's share may be a fraction; what is left of a core counts as one.
    """
    limits = [len(os.sched_getaffinity(0))]
    limits += [math.ceil(quota) for quota in _cgroup_quotas()]
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        if os.environ.get(name, "").isdecimal():
            limits.append(int(os.environ[name]))
    return max(1, min(limits))


def _cgroup_quotas() -> Iterator[float]:
    """Yields the shares of processor time, in cores, of the control groups that this process is in, and those above."""
    try:
        lines = _OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, own = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _CGROUPS / "cpu" if controllers else _CGROUPS  # version 1, or 2
        group = root / own.strip("/")
        for place in (group, *group.parents):  # in a container the own one may be mounted as the root
            yield from _quota(place)
            if place == root:
                break


def _quota(group: Path) -> Iterator[float]:
    with contextlib.suppress(OSError, ValueError):  # "max" is not a number
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        yield int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota_us = int((group / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        if quota_us > 0:
            yield quota_us / int((group / "cpu.cfs_period_us").read_text(encoding="ascii"))


def run_jobs(function: Callable[[_Job], _Result], jobs: Iterable[_Job], workers: int) -> Iterator[_Result]:
    """Yields what a function of a module returns for each job, in the order of the jobs.

    Args:
        function: of an importable module; it and its jobs and results can be pickled.
        jobs: taken as they are needed.
        workers: number of processes, 1 for this one.

    Raises:
        RunError: a worker died.
    """
    if workers == 1:
        yield from map(function, jobs)
        return
    # Loaded where it is used: every command loads this module, and few start a pool.
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    # A fork would copy the locks of pyarrow's threads, held or not.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=end_with_parent, initargs=(os.getpid(),))
    pending: deque[Future[_Result]] = deque()
    try:
        for job in jobs:
            with _no_ctrl_c():
                pending.append(pool.submit(function, job))
            if len(pending) > workers * (1 + _WAITING_JOBS):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise RunError("a worker process died, maybe for lack of memory; try again with --workers 1") from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """Starts processes that Ctrl-C does not reach: it is the driver's alone, which gets it when they have begun.

    A signal that is blocked stays so in what is started. In this process another thread may take it nevertheless.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its start would let the signal through again
    caught: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, handler)
        if caught:
            signal.raise_signal(signal.SIGINT)
