"""The Beam side of featurize: a DoFn that hands over to a pure function.

Elements are numbers of row groups of a work list. Tensors never cross a stage: a shard is built and written by one
worker, and what comes back is small.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import pyarrow.parquet as pq

from features.frontend.spec import FeatureSpec
from features.sources.policies import Policies
from features.update.shard_builder import build_shard
from features.update.work_list import read_unit


@dataclass(frozen=True)
class ShardJob:
    """What building a shard takes beside its number.

    Attributes:
        work_list: Parquet file with one row group a shard.
        folder: the feature set.
        root: where clip paths begin.
        spec: the front end.
        storage_format: `tfrecord` or `parquet`.
        policies: whether odd clips are used.
    """

    work_list: str
    folder: str
    root: str
    spec: FeatureSpec
    storage_format: str
    policies: Policies


class BuildShards(beam.PTransform):
    """Numbers of shards to whether each had to be computed."""

    def __init__(self, job: ShardJob) -> None:
        """Keeps the job."""
        super().__init__()
        self._job = job

    def expand(self, numbers: beam.PCollection) -> beam.PCollection:
        """Wires one DoFn."""
        return numbers | beam.ParDo(_BuildShard(self._job))


class _BuildShard(beam.DoFn):
    def __init__(self, job: ShardJob) -> None:
        self._job = job

    def setup(self) -> None:
        self._work_list = pq.ParquetFile(self._job.work_list)

    def process(self, number: int) -> Iterator[bool]:
        job = self._job
        unit = read_unit(self._work_list, number)
        yield build_shard(unit, job.folder, job.root, job.spec, job.storage_format, job.policies)

    def teardown(self) -> None:
        self._work_list.close()
