"""The Beam side of featurize: a DoFn that hands over to a pure function.

Elements are numbers of units of a work list. Tensors never cross a stage: a shard is built and written by one
worker, and nothing comes back.
"""

import apache_beam as beam

from features.update.build_in_turn import ShardsInTurn
from features.update.build_job import BuildJob


class BuildShards(beam.PTransform):
    """Numbers of shards to nothing: they are built."""

    def __init__(self, job: BuildJob) -> None:
        """Keeps the job."""
        super().__init__()
        self._job = job

    def expand(self, numbers: beam.PCollection) -> beam.PCollection:
        """Wires one DoFn."""
        return numbers | beam.ParDo(_BuildShard(self._job))


class _BuildShard(beam.DoFn):
    def __init__(self, job: BuildJob) -> None:
        self._job = job

    def setup(self) -> None:
        self._shards = ShardsInTurn(self._job)

    def process(self, number: int) -> None:
        self._shards.work(number)

    def finish_bundle(self) -> None:
        self._shards.finish()  # a bundle that has ended is not tried again

    def teardown(self) -> None:
        self._shards.close()
