"""Batches labelled in turn, by one network in one process."""

from collections.abc import Sequence

from model.scoring.label_windows import LabelJob


class BatchesInTurn:
    """Labels batches, one after the other."""

    def __init__(self, job: LabelJob) -> None:
        """Loads the network; raises what `LabelJob.load_network` does."""
        self._job, self._network = job, job.load_network()

    def work(self, numbers: Sequence[int]) -> None:
        """Labels the batches of these numbers in their order and writes their parts; raises what `LabelJob` does."""
        for number in numbers:
            self._job.write(number, self._job.label(self._network, number))

    def finish(self) -> None:
        """Does nothing: no batch is left begun."""

    def close(self) -> None:
        """Does nothing: the network goes with the process."""
