"""The Beam side of scoring: a model handler that decodes, batches and predicts, and a DoFn that writes what it says.

Elements are numbers of planned batches. Beam's own batching goes by the clock, which would change a network's last
digits from run to run; here it is told to leave every element alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference

from model.inference.artifact import read_description
from model.inference.executor import Executor
from model.scoring.job import Parts
from model.scoring.label_windows import label_windows


@dataclass(frozen=True)
class LabelJob:
    """What labelling a batch takes beside its number.

    Attributes:
        parts: the job's folder, with the work list, the network and the parts.
        run: the run folder that holds the artifact.
        root: where paths begin.
        top: labels a window.
        threshold: probabilities below it are left out.
        executor: name of what runs the network.
    """

    parts: str
    run: str
    root: str
    top: int
    threshold: float
    executor: str


class WindowHandler(ModelHandler[int, PredictionResult, Executor]):
    """Labels planned batches of windows with the artifact of a run."""

    def __init__(self, job: LabelJob) -> None:
        """Keeps the job; the model is loaded where it is used."""
        super().__init__()
        self._job = job

    def load_model(self) -> Executor:
        """Loads the network."""
        job = self._job
        return Executor(Parts(job.parts).network.read_bytes(), read_description(job.run), job.executor)

    def run_inference(
        self, batch: Sequence[int], model: Executor, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """Decodes and labels the batches with these numbers."""
        job = self._job
        for number in batch:
            units = Parts(job.parts).read_batch(number)
            yield PredictionResult(number, label_windows(model, job.root, units, top=job.top, threshold=job.threshold))

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Returns the batching: one element at a time."""
        return {"min_batch_size": 1, "max_batch_size": 1}


class LabelWindows(beam.PTransform):
    """Numbers of planned batches to the same numbers, when the part of each is written."""

    def __init__(self, job: LabelJob) -> None:
        """Keeps the job."""
        super().__init__()
        self._job = job

    def expand(self, numbers: beam.PCollection) -> beam.PCollection:
        """Wires inference and writing."""
        return numbers | RunInference(WindowHandler(self._job)) | beam.ParDo(_WritePart(self._job))


class _WritePart(beam.DoFn):
    def __init__(self, job: LabelJob) -> None:
        self._job = job

    def process(self, result: PredictionResult) -> Iterator[int]:
        Parts(self._job.parts).write(result.example, result.inference, self._job.top)
        yield result.example
