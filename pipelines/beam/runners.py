"""Where a pipeline runs: in this process, in worker processes of this machine, or on the runner that was named."""

import contextlib
import functools
import threading
import time
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.worker_handlers import GrpcWorkerHandler, WorkerHandler
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineRunner, create_runner
from apache_beam.transforms.environments import Environment, python_sdk_capabilities
from google.protobuf import json_format, text_format

from features.errors import RunError
from features.runtime.log import LOG
from features.store.lease import Lease
from pipelines.beam.failures import failure_message
from pipelines.beam.job_server import has_job_server, job_server
from pipelines.beam.options import parse_options
from pipelines.beam.remote_job import RemoteJob
from pipelines.beam.workers import Workers

_WORKERS_URN = "soundmill:env:workers:v1"
_CHECK_SECONDS = 0.1
_LEASE_SECONDS = 1.0
_LEFT = "the run was interrupted"


def run_units(
    transform: beam.PTransform, units: Sequence[Any], beam_options: Sequence[str], workers: Workers | None, lease: Lease
) -> None:
    """Applies a transform to the numbers of units and waits for the end.

    Args:
        transform: from units to anything; what it leaves is on disk.
        units: numbers, or lists of them.
        beam_options: options that are Beam's; `--runner` among them chooses where it runs.
        workers: processes of a local run, None for this one alone.
        lease: of the job, in which workers report what no second try mends; where the wait ends without the job's end,
            it says so to them.

    Raises:
        UsageError: Beam does not know an option or the runner.
        RunError: the pipeline failed, or a worker process died.
    """
    options = parse_options(beam_options)
    name = options.view_as(StandardOptions).runner
    if not name:
        # Never Beam's default: that one looks for another runner on the network first.
        _wait(_pipeline(transform, units, _local_runner(options, workers), options), lease, workers)
        return
    LOG.info("running on %s", name)
    # Beam would run `pip freeze` for each job and send what is installed here along, which no worker reads.
    options.view_as(DebugOptions).add_experiment("disable_logging_submission_environment")
    runner = create_runner(name)
    if not isinstance(runner, PortableRunner) or not has_job_server(runner, options):
        _run_here(_pipeline(transform, units, runner, options), lease)
        return
    job = RemoteJob(options, type(transform).__name__.lower())
    with job_server(runner, options) as endpoint:
        options.view_as(PortableOptions).job_endpoint = endpoint
        pipeline = _pipeline(transform, units, job.runner(type(runner)), options)
        with job.watched():
            _wait(pipeline, lease)


def _pipeline(
    transform: beam.PTransform, units: Sequence[Any], runner: PipelineRunner, options: PipelineOptions
) -> beam.Pipeline:
    pipeline = beam.Pipeline(runner=runner, options=options)
    _ = pipeline | beam.Create(units, reshuffle=True) | transform  # so that workers share them
    return pipeline


def _run_here(pipeline: beam.Pipeline, lease: Lease) -> None:
    """Runs a pipeline in this thread: some runners start processes that they end when a signal comes."""
    result = None
    try:
        result = pipeline.run()
        result.wait_until_finish()
    except Exception as error:
        raise _failure(error, lease) from error
    except BaseException:
        lease.fail(_LEFT)
        if result is not None:
            with contextlib.suppress(Exception):  # not every runner can
                result.cancel()
        raise


def _failure(error: BaseException, lease: Lease) -> RunError:
    LOG.debug("the pipeline failed", exc_info=error)
    return RunError(lease.failure() or failure_message(error))


def _wait(pipeline: beam.Pipeline, lease: Lease, workers: Workers | None = None) -> None:
    """Runs a pipeline in a thread of its own, so that Ctrl-C and what a worker dies of or reports end the wait for it.

    Beam alone would wait forever for a worker process that died, and takes an interrupt for an error of the pipeline.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            pipeline.run().wait_until_finish()
        except BaseException as error:  # it is raised again where the command waits
            failures.append(error)

    def hook(arguments: threading.ExceptHookArgs) -> None:
        LOG.debug("exception in thread %s: %r", arguments.thread, arguments.exc_value)

    previous, threading.excepthook = threading.excepthook, hook
    thread = threading.Thread(target=run, name="pipeline", daemon=True)
    thread.start()
    looked = time.monotonic()
    try:
        while thread.is_alive():
            thread.join(_CHECK_SECONDS)
            # Whatever this raises, the hook stays: what the other threads still say is of no use.
            if workers is not None and (death := workers.death):
                raise RunError(
                    f"a worker process died ({death}); finished units are kept, run it again; --verbose shows what it "
                    "said"
                )
            if time.monotonic() - looked >= _LEASE_SECONDS:
                looked = time.monotonic()
                # A runner would try it again, some times or forever.
                if failure := lease.failure():
                    raise RunError(failure)
    except KeyboardInterrupt:
        lease.fail(_LEFT)  # before the runner hears of it: it may take long, or do nothing
        raise
    threading.excepthook = previous
    if failures:
        raise _failure(failures[0], lease)


def _local_runner(options: PipelineOptions, workers: Workers | None) -> FnApiRunner:
    direct = options.view_as(DirectOptions)
    direct.direct_num_workers = 1 if workers is None else workers.count
    if workers is None:
        LOG.info("running in this process")
        return FnApiRunner()
    LOG.info("running in %d worker processes", workers.count)
    direct.direct_running_mode = "own_processes"  # not a mode of Beam's: the environment below says how
    WorkerHandler.register_environment(_WORKERS_URN, bytes)(functools.partial(_ForkedWorker, workers))
    return FnApiRunner(_ForkedWorkers(capabilities=python_sdk_capabilities()))


@Environment.register_urn(_WORKERS_URN, bytes)
class _ForkedWorkers(Environment):
    """Makes Beam take its workers from `pipelines.beam.workers`."""

    def to_runner_api_parameter(self, context: object) -> tuple[str, bytes]:
        return _WORKERS_URN, b""

    @staticmethod
    def from_runner_api_parameter(payload: bytes, *description: Any) -> "_ForkedWorkers":
        return _ForkedWorkers(*description[:-1])


class _ForkedWorker(GrpcWorkerHandler):
    """One of these workers, from Beam's side."""

    def __init__(self, workers: Workers, payload: bytes, *parts: Any) -> None:
        super().__init__(*parts)
        self._workers = workers

    def start_worker(self) -> None:
        self._workers.start({
            "WORKER_ID": self.worker_id,
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.control_api_service_descriptor()),
            "PIPELINE_OPTIONS": json_format.MessageToJson(self.provision_info.provision_info.pipeline_options),
        })  # fmt: skip

    def stop_worker(self) -> None:
        pass  # it ends when its connection does
