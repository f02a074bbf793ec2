"""The processor time of commands: what other processes take of the machine meanwhile does not count."""

import resource
import subprocess
import sys
from collections.abc import Callable

_TRIES = 5
_HELP_SECONDS = 0.5
_TIMES_BARE = 3.0


def cpu_seconds(run: Callable[[], object]) -> float:
    """Returns the processor time of what starts processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def check_help_is_quick(show: Callable[[], object]) -> None:
    """Fails where `--help` takes more than half a second, or on a slow machine three times NumPy and pyarrow.

    The two are taken in turns, since a machine can be twice as slow as it was a moment ago.
    """
    bare = [sys.executable, "-c", "import numpy, pyarrow"]
    times = []
    for _ in range(_TRIES):
        seconds = cpu_seconds(show)
        allowed = max(_HELP_SECONDS, _TIMES_BARE * cpu_seconds(lambda: subprocess.run(bare, check=True)))
        times.append((seconds, allowed))
        if seconds < allowed:
            return
    raise AssertionError(f"seconds taken and allowed: {times}")
