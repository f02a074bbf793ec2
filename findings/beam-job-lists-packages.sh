#!/usr/bin/env bash
# Expected: a Beam pipeline that is handed to a job server holds what the user staged for it (--requirements_file, --extra_package and so on),
# and nothing where nothing was staged, as for workers of the environment types EXTERNAL and PROCESS, which install nothing.
# Seen (apache-beam 2.77.0, Python 3.11, Linux x86-64): for each job Beam runs `pip freeze` in the submitting environment, which takes about a
# second of a core with a hundred packages, and stages what it prints as `submission_environment_dependencies.txt`: names, versions
# and, of packages installed from a checkout or a URL, where they came from. It happens for all runners but Beam's local ones, whatever
# the environment type. Nothing on the command line says so.
# Where from: `apache_beam/transforms/environments.py`, `python_sdk_dependencies`, and `runners/portability/stager.py`.
# Way out: --experiments=disable_logging_submission_environment.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check apache-beam==2.77.0
"$folder/env/bin/python" - <<'PYTHON'
import logging
import platform
import subprocess
import sys
import time

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.portable_runner import PortableRunner

logging.disable()
started = [0]
popen = subprocess.Popen


class Counting(popen):
    def __init__(self, arguments, *rest, **named):
        started[0] += "freeze" in arguments
        super().__init__(arguments, *rest, **named)


subprocess.Popen = Counting


def staged(*more):
    """Returns the names of the files that go with a pipeline without any of the user's."""
    options = PipelineOptions([
        "--runner=PortableRunner", "--job_endpoint=localhost:1", "--environment_type=PROCESS",
        "--environment_option=process_command=/bin/worker", *more,
    ])  # fmt: skip
    pipeline = beam.Pipeline(runner=PortableRunner(), options=options)
    _ = pipeline | beam.Create([1, 2, 3])
    proto = PortableRunner.get_proto_pipeline(pipeline, options)
    return [
        beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload).staged_name
        for environment in proto.components.environments.values()
        for artifact in environment.dependencies
    ]


print(f"apache-beam {beam.__version__}, Python {platform.python_version()}")
seen = {}
for title, more in {"as it is": (), "with the experiment": ("--experiments=disable_logging_submission_environment",)}.items():
    started[0], began = 0, time.perf_counter()
    seen[title] = sorted(set(staged(*more))), started[0]
    print(f"{title}: staged {seen[title][0]}, pip freeze run {seen[title][1]} times, {time.perf_counter() - began:.1f} s")
name = "submission_environment_dependencies.txt"
sys.exit(not (name in seen["as it is"][0] and seen["as it is"][1] >= 1 and seen["with the experiment"] == ([], 0)))
PYTHON
