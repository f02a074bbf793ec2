"""Job servers of Beam: whether one answers, what it knows, and one of our own where a runner brings its jar.

Beam starts such a jar itself too, but where signals may be handled alone, and leaves it behind where it is killed. Ours
is in a session of its own, out of the reach of Ctrl-C, and ends with the block or with this process, however that died.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
)
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer, FlinkRunner
from apache_beam.runners.portability.job_server import JavaJarJobServer
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.portability.spark_runner import SparkJarJobServer, SparkRunner
from apache_beam.runners.runner import PipelineRunner
from apache_beam.utils.subprocess_server import JavaJarServer

from features.errors import RunError, UsageError
from features.runtime.log import LOG, is_verbose
from pipelines.beam.flink import flink_master

EMBEDDED = "embed"  # a job server of Beam's in this process
_ANSWER_SECONDS = 5.0
_START_SECONDS = 90.0
_ENDING_SECONDS = 5.0
_ERROR = re.compile(r"^Error: |(?:Error|Exception): |^Exception in thread")
# A job server in a group of processes that ends when the pipe from this process does; the first argument is its folder.
_WITH_US = """
exec 3<&0
folder=$1; shift
"$@" </dev/null 3<&- & child=$!
(read -r _ <&3; rm -rf "$folder"; kill -KILL 0) &
exec 3<&-
wait $child
"""


def has_job_server(runner: PipelineRunner, options: PipelineOptions) -> bool:
    """Returns whether a runner hands its jobs to a job server that is there, or whose jar we start."""
    if not isinstance(runner, PortableRunner):
        return False
    return bool(options.view_as(PortableOptions).job_endpoint) or _jar_server(runner, options) is not None


def check(runner: PortableRunner, options: PipelineOptions) -> None:
    """Raises `UsageError` within seconds where a job server does not answer, or cannot be started."""
    endpoint = options.view_as(PortableOptions).job_endpoint
    server = None if endpoint else _jar_server(runner, options)
    if endpoint and endpoint != EMBEDDED:
        _connect(endpoint).close()
    flink = options.view_as(FlinkRunnerOptions)
    master = flink_master(flink.flink_master)
    version = master.check() if master else None
    if server is None:
        return
    java = options.view_as(JobServerOptions).job_server_java_launcher
    if not shutil.which(java):
        raise UsageError(f"no {java} is here, which runs Beam's job server; install Java 11 or later, name it by "
                         "--job_server_java_launcher, or give --job_endpoint of a job server that runs")  # fmt: skip
    if version and not flink.flink_job_server_jar and not version.startswith(f"{flink.flink_version}."):
        fitting = ".".join(version.split(".")[:2])
        raise UsageError(f"the cluster at {flink.flink_master} is Flink {version}, and the job server would be of "
                         f"{flink.flink_version}; give --flink_version={fitting}, or a jar by "
                         "--flink_job_server_jar")  # fmt: skip
    _check_jar(server, options)


def known_options(endpoint: str) -> list[beam_job_api_pb2.PipelineOptionDescriptor]:
    """Returns the options that a job server knows; raises `UsageError` where it does not answer."""
    with _connect(endpoint) as channel:
        stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
        request = beam_job_api_pb2.DescribePipelineOptionsRequest()
        try:
            return list(stub.DescribePipelineOptions(request, timeout=_ANSWER_SECONDS).options)
        except grpc.RpcError as error:
            raise _no_job_server(endpoint) from error


@contextlib.contextmanager
def job_server(runner: PortableRunner, options: PipelineOptions) -> Iterator[str]:
    """Yields where the job server is that the options name, or of one that is started and ends with the block.

    Raises:
        UsageError: there is none.
        RunError: it does not start.
    """
    endpoint = options.view_as(PortableOptions).job_endpoint
    server = None if endpoint else _jar_server(runner, options)
    if server is None:
        yield endpoint
        return
    with tempfile.TemporaryDirectory(prefix="soundmill-job-server-", ignore_cleanup_errors=True) as folder:
        of_server = options.view_as(JobServerOptions)
        of_server.artifacts_dir = of_server.artifacts_dir or os.path.join(folder, "artifacts")
        LOG.info("starting Beam's job server")
        server = type(server)(options)  # with that folder
        try:
            command, endpoint = server.subprocess_cmd_and_endpoint()
        except (OSError, ValueError, RuntimeError) as error:
            raise _no_jar(error) from error
        with _started([str(part) for part in command], endpoint, Path(folder)):
            yield endpoint


@contextlib.contextmanager
def _started(command: list[str], endpoint: str, folder: Path) -> Iterator[None]:
    log = folder / "log"
    with open(log, "wb") as said:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _WITH_US, "sh", str(folder), *command],
            stdin=subprocess.PIPE, stdout=None if is_verbose() else said, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    try:
        with grpc.insecure_channel(endpoint) as channel:
            ready = grpc.channel_ready_future(channel)
            deadline = time.monotonic() + _START_SECONDS
            while not ready.done():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RunError(f"Beam's job server did not start: {_why(log)}")
                with contextlib.suppress(grpc.FutureTimeoutError):
                    ready.result(timeout=0.1)
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDING_SECONDS)
        if process.stdin:
            process.stdin.close()


def _why(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return next(filter(_ERROR.search, lines), lines[-1] if lines else "--verbose shows what it says")


def _jar_server(runner: PortableRunner, options: PipelineOptions) -> JavaJarJobServer | None:
    """Returns what knows the jar of a runner's job server and its arguments, None where the runner has none."""
    flink, spark = options.view_as(FlinkRunnerOptions), options.view_as(SparkRunnerOptions)
    if isinstance(runner, FlinkRunner) and not flink.flink_submit_uber_jar:
        flink.flink_master = FlinkRunner.add_http_scheme(flink.flink_master)
        return FlinkJarJobServer(options)
    if isinstance(runner, SparkRunner) and not spark.spark_submit_uber_jar:
        return SparkJarJobServer(options)
    return None


def _check_jar(server: JavaJarJobServer, options: PipelineOptions) -> None:
    """Raises `UsageError` where the jar is neither here nor to be had; Beam would fetch it while it runs."""
    for kind, name in ((FlinkRunnerOptions, "flink_job_server_jar"), (SparkRunnerOptions, "spark_job_server_jar")):
        given = getattr(options.view_as(kind), name)
        if given and "://" not in given and not os.path.isfile(given):
            raise UsageError(f"--{name} is no file: {given}")
    try:
        jar = server.path_to_jar()
    except (ValueError, RuntimeError) as error:
        raise _no_jar(str(error).partition(". ")[0]) from error
    folder = options.view_as(JobServerOptions).jar_cache_dir or JavaJarServer.JAR_CACHE
    if os.path.exists(jar) or os.path.exists(os.path.join(folder, os.path.basename(jar))):
        return
    failures: list[BaseException] = []

    def look() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(jar, method="HEAD"), timeout=_ANSWER_SECONDS):
                pass
        except BaseException as error:
            failures.append(error)

    # In a thread: to look up a name may take longer than any limit that can be given.
    thread = threading.Thread(target=look, name="jar", daemon=True)
    thread.start()
    thread.join(_ANSWER_SECONDS + 1)
    if thread.is_alive() or failures:
        raise _no_jar(f"{jar}: {failures[0] if failures else 'no answer'}")


def _no_jar(said: object) -> UsageError:
    return UsageError(f"no jar of Beam's job server is to be had ({said}); give --flink_job_server_jar=FILE or "
                      "--spark_job_server_jar=FILE, or --job_endpoint of a job server that runs")  # fmt: skip


def _connect(endpoint: str) -> grpc.Channel:
    channel = grpc.insecure_channel(endpoint)
    try:
        grpc.channel_ready_future(channel).result(timeout=_ANSWER_SECONDS)
    except grpc.FutureTimeoutError as error:
        channel.close()
        raise _no_job_server(endpoint) from error
    return channel


def _no_job_server(endpoint: str) -> UsageError:
    return UsageError(f"no job server of Beam answers at {endpoint}; start one there, or give another "
                      "--job_endpoint=HOST:PORT")  # fmt: skip
