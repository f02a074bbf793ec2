"""The worker that a runner starts by one path: it becomes Beam's worker, and ends with whoever started it."""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import apache_beam as beam
import pytest
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc, beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.worker_handlers import GrpcWorkerHandler, WorkerHandler, grpc
from apache_beam.transforms.environments import Environment, python_sdk_capabilities

from tests.conftest import STARTED, wait_until
from tests.pipelines.conftest import is_alive

URN = "soundmill:env:test:v1"
COMMAND = [sys.executable, "-m", "pipelines.beam.cluster_worker"]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@Environment.register_urn(URN, bytes)
class Started(Environment):
    """Workers that are started as a runner of the environment type PROCESS does."""

    def to_runner_api_parameter(self, context):
        return URN, b""

    @staticmethod
    def from_runner_api_parameter(payload, *description):
        return Started(*description[:-1])


@WorkerHandler.register_environment(URN, bytes)
class Handler(GrpcWorkerHandler):
    """One of them, from the runner's side."""

    processes: ClassVar[list[subprocess.Popen]] = []

    def __init__(self, payload, *parts):
        super().__init__(*parts)

    def start_worker(self):
        # As a TaskManager does, with addresses that our worker does not need.
        services = [f"--{name}_endpoint={self.control_address}" for name in ("provision", "logging", "artifact")]
        environment = {name: value for name, value in os.environ.items() if name not in THREADS}
        process = subprocess.Popen(
            [*COMMAND, f"--id={self.worker_id}", *services], env=environment, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        STARTED.append(process)
        self.processes.append(process)

    def stop_worker(self):
        pass


@pytest.fixture
def runner():
    Handler.processes = []
    return FnApiRunner(Started(capabilities=python_sdk_capabilities()))


def look(number):
    import os
    import sys

    import threadpoolctl

    threads = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return number, os.getpid(), sys.flags.safe_path or os.environ["PYTHONSAFEPATH"], threads


def test_it_works_for_a_runner_with_one_thread_for_algebra(runner, tmp_path):
    output = tmp_path / "seen"
    with beam.Pipeline(runner=runner) as pipeline:
        _ = pipeline | beam.Create([1, 2, 3]) | beam.Map(look) | beam.io.WriteToText(str(output), num_shards=1)
    [path] = tmp_path.iterdir()
    seen = [eval(line) for line in path.read_text().splitlines()]
    assert {number for number, *_ in seen} == {1, 2, 3}
    assert {process for _, process, *_ in seen} == {process.pid for process in Handler.processes}
    assert os.getpid() not in {process for _, process, *_ in seen}
    assert {safe for _, _, safe, _ in seen} == {"1"}
    for *_, threads in seen:
        assert set(threads) == {1}
    for process in Handler.processes:
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("name", "option"), [("requirements.txt", "--requirements_file"), ("workflow.tar.gz", "--setup_file")]
)
def test_what_it_would_have_to_install_is_refused(name, option):
    class Service(beam_provision_api_pb2_grpc.ProvisionServiceServicer):
        def GetProvisionInfo(self, request, context):  # noqa: N802
            roles = [beam_runner_api_pb2.ArtifactStagingToRolePayload(staged_name=each) for each in ("empty.jar", name)]
            dependencies = [
                beam_runner_api_pb2.ArtifactInformation(role_payload=role.SerializeToString()) for role in roles
            ]
            info = beam_provision_api_pb2.ProvisionInfo(dependencies=dependencies)
            return beam_provision_api_pb2.GetProvisionInfoResponse(info=info)

    server = grpc.server(ThreadPoolExecutor(1))
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        command = [*COMMAND, "--id=1", f"--provision_endpoint=127.0.0.1:{port}"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    finally:
        server.stop(None)
    assert result.returncode == 1
    error = f"error: {option}: soundmill-worker installs nothing; install it on each host instead"
    assert result.stderr.splitlines()[-1] == error


def orphan(endpoint):
    """Starts a worker from a process, and returns both."""
    code = (
        f"import subprocess, time; "
        f"child = subprocess.Popen({[*COMMAND, '--id=1', f'--provision_endpoint={endpoint}']!r}); "
        f"print(child.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    STARTED.append(parent)
    return parent, int(parent.stdout.readline())


def test_it_ends_soon_after_whoever_started_it():
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and never answers
        silent.settimeout(60)
        parent, worker = orphan(f"127.0.0.1:{silent.getsockname()[1]}")
        connection, _ = silent.accept()
        assert is_alive(worker)
        parent.kill()
        wait_until(lambda: not is_alive(worker), seconds=30)  # the runner is waited for twice as long
        connection.close()


def test_its_help_says_how_it_is_started():
    result = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert "--environment_option=process_command=PATH" in " ".join(result.stdout.split())
    assert subprocess.run(COMMAND, capture_output=True, timeout=60).returncode == 2
