"""A job server as a runner's jar is one: its options, Beam's own Python behind them, and a process of its own.

It says that it knows an option which Beam's Python does not, as those of Flink and Spark do.
"""

import argparse
import signal
import subprocess

from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability.local_job_service import LocalJobServicer


class JobServer(LocalJobServicer):
    def DescribePipelineOptions(self, request, context=None):  # noqa: N802 - of Beam
        option = beam_job_api_pb2.PipelineOptionDescriptor(
            name="checkpointing_interval", type=beam_job_api_pb2.PipelineOptionType.INTEGER, default_value="-1"
        )
        return beam_job_api_pb2.DescribePipelineOptionsResponse(options=[option])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--job-port", type=int, required=True)
    options, others = parser.parse_known_args()
    if "/fails.jar" in " ".join(others):
        raise SystemExit("Error: the jar is damaged")
    subprocess.Popen(["/bin/sleep", "600"])
    JobServer().start_grpc_server(options.job_port)
    signal.pause()


if __name__ == "__main__":
    main()
