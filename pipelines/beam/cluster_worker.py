"""A worker on a host of a cluster, which the runner starts by the name of a program: soundmill-worker.

A runner of the environment type PROCESS starts one path with its own options. This program asks the runner for the job,
becomes Beam's own Python worker in the environment in which it is installed, and ends with the process that started it.
It installs nothing: what a job needs is on the host before, the same for all.
"""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from features.runtime.parent_watch import end_with_parent
from features.runtime.threads import ONE_THREAD

if TYPE_CHECKING:
    from apache_beam.portability.api.beam_provision_api_pb2 import ProvisionInfo

_ANSWER_SECONDS = 60.0
# How Beam names what its own boot program installs before a worker begins, and the options that stage it.
_INSTALLED = {
    "requirements.txt": "--requirements_file",
    "workflow.tar.gz": "--setup_file",
    "extra_packages.txt": "--extra_package",
    "pickled_main_session": "--save_main_session",
}


def main() -> None:
    """Works for the runner until that lets it go."""
    parser = argparse.ArgumentParser(
        prog="soundmill-worker",
        description="Works for a runner of Beam, which starts it: --environment_type=PROCESS "
        "--environment_option=process_command=PATH, with the path that this program has on each host.",
    )
    parser.add_argument("--id", required=True, help="the worker's name")
    parser.add_argument("--provision_endpoint", required=True, metavar="HOST:PORT", help="who knows the job")
    options, _ = parser.parse_known_args()  # a runner gives the addresses of its other services too
    end_with_parent(os.getppid())
    os.environ.update({**ONE_THREAD, "PYTHONSAFEPATH": "1"})  # before anything loads NumPy
    from apache_beam.runners.worker import sdk_worker_main

    os.environ.update(_environment(options.id, _ask(options.id, options.provision_endpoint)))
    sdk_worker_main.main(sys.argv[:1])


def _ask(worker: str, endpoint: str) -> "ProvisionInfo":
    """Returns what the runner says of the job; ends the process where the job needs what this worker does not do."""
    from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc, beam_runner_api_pb2
    from apache_beam.runners.worker.channel_factory import GRPCChannelFactory

    with GRPCChannelFactory.insecure_channel(endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        answer = service.GetProvisionInfo(request, metadata=[("worker_id", worker)], timeout=_ANSWER_SECONDS)
    for artifact in answer.info.dependencies:
        name = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload).staged_name
        if name in _INSTALLED:
            sys.exit(f"error: {_INSTALLED[name]}: soundmill-worker installs nothing; install it on each host instead")
    return answer.info


def _environment(worker: str, info: "ProvisionInfo") -> dict[str, str]:
    """Returns the variables that Beam's worker reads."""
    from google.protobuf import json_format, text_format

    variables = {
        "WORKER_ID": worker,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.logging_endpoint),
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.control_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.HasField("status_endpoint"):
        variables["STATUS_API_SERVICE_DESCRIPTOR"] = text_format.MessageToString(info.status_endpoint)
    return variables


if __name__ == "__main__":
    main()
