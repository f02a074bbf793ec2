"""Worker processes of a local run, without loading Beam."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, cast

from features.runtime.log import is_verbose
from features.runtime.processes import python_command, python_environment
from features.runtime.threads import ONE_THREAD

_ENDING_SECONDS = 5.0


class Workers:
    """A process that has loaded what workers need, and the workers that it forks."""

    def __init__(self, count: int, command: str) -> None:
        """Starts the process.

        Args:
            count: number of workers that will be requested.
            command: `featurize`, `plan` or `score`, whose pipeline they work for.
        """
        self.count = count
        # Ctrl-C is the driver's: workers ignore it from their first instant on. What they have to say comes back as
        # exceptions; the rest is Beam's log, and what decoders print of files that they cannot read.
        worker_main = python_command("pipelines.beam.worker_main", os.getpid(), count, command)
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", "trap '' INT; exec \"$@\"", "sh", *worker_main],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=None if is_verbose() else subprocess.DEVNULL,
            env=python_environment(**ONE_THREAD),
        )  # fmt: skip
        self._input = cast(IO[bytes], self._process.stdin)  # a pipe, as requested above

    def start(self, environment: Mapping[str, str]) -> None:
        """Has a worker forked; raises `OSError` where the process that does it has ended."""
        self._input.write(json.dumps(environment).encode() + b"\n")
        self._input.flush()

    @property
    def death(self) -> str | None:
        """How a worker died, None if none did."""
        code = self._process.poll()
        if not code:
            return None
        try:
            return signal.Signals(-code if code < 0 else code - 128).name
        except ValueError:
            return f"exit code {code}"

    def end(self) -> None:
        """Waits for the workers, which the runner has let go; those that do not end are ended."""
        with contextlib.suppress(OSError):
            self._input.close()
        try:
            self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends the process; its workers end when they notice."""
        self._process.kill()
        self._process.wait()


def names_runner(beam_options: Sequence[str]) -> bool:
    """Returns whether options that are Beam's name a runner: then the run is not local."""
    return any(option.startswith("--runner") for option in beam_options)


@contextlib.contextmanager
def local_workers(count: int, beam_options: Sequence[str], command: str) -> Iterator[Workers | None]:
    """Starts what forks the workers of a local run, if there are more than one, and ends them with the block.

    Args:
        count: number of workers.
        beam_options: options that are Beam's; where these name a runner, the run is not local.
        command: `featurize`, `plan` or `score`.
    """
    if count == 1 or names_runner(beam_options):
        yield None
        return
    workers = Workers(count, command)
    try:
        yield workers
    except BaseException:
        workers.kill()
        raise
    workers.end()
