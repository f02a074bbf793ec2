"""The Beam side of scoring: a model handler that labels planned batches, and a DoFn that writes their parts.

Elements are numbers of planned batches. Beam's own batching goes by the clock, which would change a network's last
digits from run to run; here each element is a batch of its own. A handler, a network and a DoFn may be used by several
threads of a process at once, as a runner with several slots per process does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference

from model.inference.executor import Executor
from model.scoring.label_windows import LabelJob


class WindowHandler(ModelHandler[int, PredictionResult, Executor]):
    """Labels planned batches of windows with the artifact of a run."""

    def __init__(self, job: LabelJob) -> None:
        """Keeps the job; the model is loaded where it is used."""
        super().__init__()
        self._job = job

    def load_model(self) -> Executor:
        """Loads the network."""
        return self._job.load_network()

    def run_inference(
        self, batch: Sequence[int], model: Executor, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """Decodes and labels the batches with these numbers."""
        for number in batch:
            yield PredictionResult(example=number, inference=self._job.label(model, number))

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Returns the batching: one element at a time."""
        return {"min_batch_size": 1, "max_batch_size": 1}


class LabelWindows(beam.PTransform):
    """Runs of numbers of planned batches to these numbers, when the part of each is written; a run is done in order."""

    def __init__(self, job: LabelJob) -> None:
        """Keeps the job."""
        super().__init__()
        self._job = job

    def expand(self, runs: beam.PCollection) -> beam.PCollection:
        """Wires inference and writing."""
        numbers = runs | beam.FlatMap(list)
        return numbers | RunInference(WindowHandler(self._job)) | beam.ParDo(_WritePart(self._job))


class _WritePart(beam.DoFn):
    def __init__(self, job: LabelJob) -> None:
        self._job = job

    def process(self, result: PredictionResult) -> Iterator[int]:
        self._job.write(result.example, result.inference)
        yield result.example
