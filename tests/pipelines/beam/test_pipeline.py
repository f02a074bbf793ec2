"""What a command hands over to a runner that is not its own: little, however many units there are."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner
from apache_beam.transforms.environments import DockerEnvironment

from pipelines.beam.runners import _pipeline
from tests.conftest import call

IMAGE = "registry.example/soundmill:0.1.0"
RECORDED: list[beam_runner_api_pb2.Pipeline] = []


class Recorder(PipelineRunner):
    """Notes a pipeline as Beam hands it to a cluster of containers, and runs it in this process."""

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions):
        environment = DockerEnvironment.from_options(options.view_as(PortableOptions))
        RECORDED.append(pipeline.to_runner_api(default_environment=environment))
        return FnApiRunner().run_pipeline(pipeline, options)


@pytest.fixture
def recorded():
    """Options of a command after which its pipeline is the last in `RECORDED`."""
    RECORDED.clear()
    # As Dataflow is given them.
    return (f"--runner={__name__}.Recorder", f"--sdk_container_image={IMAGE}", "--environment_type=DOCKER",
            f"--environment_config={IMAGE}")  # fmt: skip


@pytest.mark.parametrize("command", ["featurize", "score"])
def test_what_is_handed_over_is_small_and_names_the_image(recorded, command, words, run_folder, tmp_path):
    options = ("--preset", "speech-commands") if command == "featurize" else ("--model", run_folder)
    output = tmp_path / "made.csv"
    assert call(f"pipelines.{command}", "--input", words, *options, "--output", output, *recorded) == 0
    [pipeline] = RECORDED
    assert len(pipeline.SerializeToString()) < 40_000  # a JSON of Dataflow may have 10 MB
    images = {
        beam_runner_api_pb2.DockerPayload.FromString(environment.payload).container_image
        for environment in pipeline.components.environments.values()
    }
    assert images == {IMAGE}
    assert not any(environment.dependencies for environment in pipeline.components.environments.values())


class Units(beam.PTransform):
    """Takes numbers."""

    def expand(self, numbers):
        return numbers | beam.Map(str)


def test_a_hundred_thousand_units_take_little_more_than_ten():
    sizes = [
        len(_pipeline(Units(), range(count), FnApiRunner(), PipelineOptions([])).to_runner_api().SerializeToString())
        for count in (10, 100_000)
    ]
    assert sizes[1] - sizes[0] < 200_000
