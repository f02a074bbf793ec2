"""Where a pipeline runs: in this process, in worker processes of this machine, or on the runner that was named."""

import contextlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import create_runner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from features.console import LOG
from features.errors import RunError, UsageError
from pipelines.worker_main import DRIVER_VARIABLE


def parse_options(beam_options: Sequence[str]) -> PipelineOptions:
    """Reads Beam's options; raises `UsageError` for an option or a runner that Beam does not know."""
    known = PipelineOptions([]).get_all_options()
    for option in beam_options:
        name = option.partition("=")[0].removeprefix("--")
        # Beam itself only warns: a typing error shall not pass for an option of some runner.
        if option.startswith("--") and name not in known and name.removeprefix("no_") not in known:
            raise UsageError(f"unrecognized option --{name}: neither soundmill nor Beam knows it; see --help")
    options = PipelineOptions(list(beam_options))
    runner = options.view_as(StandardOptions).runner
    try:
        if runner:
            create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"--runner: {error}") from error
    return options


def run_units(transform: beam.PTransform, units: Sequence[int], beam_options: Sequence[str], workers: int) -> None:
    """Applies a transform to the numbers of units and waits for the end.

    Args:
        transform: from numbers to anything; what it leaves is on disk.
        units: the numbers.
        beam_options: options that are Beam's; `--runner` among them chooses where it runs.
        workers: processes of a local run.

    Raises:
        UsageError: Beam does not know an option or the runner.
        RunError: the pipeline failed, or a worker process died.
    """
    options = parse_options(beam_options)
    runner = options.view_as(StandardOptions).runner
    if runner:
        LOG.info("running on %s", runner)
    else:
        # Never Beam's default: that one looks for another runner on the network first.
        runner = _local_runner(options, workers)
    try:
        with _watched_workers():
            pipeline = beam.Pipeline(runner=runner, options=options)
            _ = pipeline | beam.Create(units) | beam.Reshuffle() | transform
            pipeline.run().wait_until_finish()
    except (RunError, KeyboardInterrupt):
        raise
    except Exception as error:
        LOG.debug("the pipeline failed", exc_info=True)
        raise RunError(f"the pipeline failed: {_root(error)}; finished units are kept, run it again") from error


def _local_runner(options: PipelineOptions, workers: int) -> FnApiRunner:
    direct = options.view_as(DirectOptions)
    direct.direct_num_workers = workers
    if workers == 1:
        LOG.info("running in this process")
        return FnApiRunner()
    LOG.info("running in %d worker processes", workers)
    direct.direct_running_mode = "own_processes"  # none of Beam's modes: the environment below says how
    os.environ[DRIVER_VARIABLE] = str(os.getpid())
    command = f"exec {shlex.quote(sys.executable)} -m pipelines.worker_main"
    return FnApiRunner(SubprocessSDKEnvironment.from_command_string(command))


@contextlib.contextmanager
def _watched_workers() -> Iterator[None]:
    """Ends the wait for a pipeline when one of its worker processes dies; Beam alone would wait for ever."""
    deaths: list[BaseException] = []
    previous = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if arguments.thread is not None and arguments.thread.name == "run_worker" and arguments.exc_value is not None:
            deaths.append(arguments.exc_value)
            os.kill(os.getpid(), signal.SIGINT)  # the main thread waits, and only a signal wakes it
        else:
            previous(arguments)

    threading.excepthook = hook
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if not deaths:
            raise
        raise RunError(f"a worker process died ({deaths[0]}); finished units are kept, run it again") from interrupt
    finally:
        threading.excepthook = previous


def _root(error: BaseException) -> str:
    """Returns the first line of what began a chain of exceptions, or of the last line of a worker's traceback."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "Error" in line), lines[0] if lines else repr(error))
