"""The Beam side of planning a scoring: a DoFn that hands the headers of some files over to a pure function.

Elements are numbers of units of the list of files; what is read stands in a file for each, and nothing comes back.
"""

from collections.abc import Iterator

import apache_beam as beam

from model.scoring.planning import HeadersInTurn, PlanJob


class ReadHeaders(beam.PTransform):
    """Numbers of units of files to the same numbers, when the part of each is written."""

    def __init__(self, job: PlanJob) -> None:
        """Keeps the job."""
        super().__init__()
        self._job = job

    def expand(self, numbers: beam.PCollection) -> beam.PCollection:
        """Wires one DoFn."""
        return numbers | beam.ParDo(_ReadHeaders(self._job))


class _ReadHeaders(beam.DoFn):
    def __init__(self, job: PlanJob) -> None:
        self._job = job

    def setup(self) -> None:
        self._headers = HeadersInTurn(self._job)

    def process(self, number: int) -> Iterator[int]:
        self._headers.work(number)
        yield number

    def teardown(self) -> None:
        self._headers.close()
