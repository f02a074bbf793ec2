"""The processor time of commands: what other processes take of the machine meanwhile does not count."""

import resource
import subprocess
import sys
from collections.abc import Callable
from functools import cache

_TRIES = 5
_HELP_SECONDS = 0.5
_TIMES_BARE = 3.0


def least_cpu_seconds(run: Callable[[], object], enough: float) -> float:
    """Returns the least of several times of what starts processes; no more are taken than are needed."""
    least = float("inf")
    for _ in range(_TRIES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        least = min(least, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if least < enough:
            break
    return least


@cache
def help_seconds() -> float:
    """Returns what `--help` may take: half a second, or on a slow machine three times what NumPy and pyarrow take."""
    bare = [sys.executable, "-c", "import numpy, pyarrow"]
    return max(_HELP_SECONDS, _TIMES_BARE * least_cpu_seconds(lambda: subprocess.run(bare, check=True), enough=0.0))
