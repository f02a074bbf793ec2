"""The Beam side of featurize: a DoFn that hands over to a pure function.

Elements are numbers of units of a work list. Tensors never cross a stage: a shard is built and written by one
worker, and what comes back is small.
"""

from collections.abc import Iterator

import apache_beam as beam

from features.update.build_job import BuildJob


class BuildShards(beam.PTransform):
    """Numbers of shards to whether each had to be computed."""

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
        self._work_list = self._job.open()

    def process(self, number: int) -> Iterator[bool]:
        yield self._job.build(self._work_list, number)

    def teardown(self) -> None:
        self._work_list.close()
