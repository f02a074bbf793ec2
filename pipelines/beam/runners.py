"""Where a pipeline runs: on the runner that was named."""

import contextlib
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DebugOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineRunner, create_runner

from features.runtime.log import LOG
from features.store.lease import Lease
from pipelines.beam.failures import failure_message
from pipelines.beam.job_server import has_job_server, job_server
from pipelines.beam.options import parse_options
from pipelines.beam.remote_job import RemoteJob
from pipelines.local.waiting import LEFT, failed, wait


def run_units(transform: beam.PTransform, units: Sequence[Any], beam_options: Sequence[str], lease: Lease) -> None:
    """Applies a transform to the numbers of units and waits for the end.

    Args:
        transform: from units to anything; what it leaves is on disk.
        units: numbers, or lists of them.
        beam_options: options that are Beam's, `--runner` among them.
        lease: of the job, in which workers report what no second try mends; where the wait ends without the job's end,
            it says so to them.

    Raises:
        UsageError: Beam does not know an option or the runner.
        RunError: the pipeline failed.
    """
    options = parse_options(beam_options)
    name = options.view_as(StandardOptions).runner
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
            # Ctrl-C would be an error of the pipeline to Beam.
            wait(lambda: pipeline.run().wait_until_finish(), lease, failure_message)


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
        raise failed(error, lease, failure_message) from error
    except BaseException:
        lease.fail(LEFT)
        if result is not None:
            with contextlib.suppress(Exception):  # not every runner can
                result.cancel()
        raise
