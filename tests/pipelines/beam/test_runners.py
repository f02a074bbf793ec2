"""How the wait for a pipeline ends, whatever runs it."""

import apache_beam as beam
import pytest

from features.errors import RunError
from features.store.lease import Lease
from features.store.locks import claim
from pipelines.beam.runners import run_units

RUNNER = ["--runner=FnApiRunner"]
FULL = "no space is left on the device for x; make room and run it again, what was finished is kept"


@pytest.fixture
def lease(tmp_path) -> Lease:
    with claim(tmp_path / "held", "score", "labels.csv") as held:
        yield held


def test_what_a_unit_raises_is_said_in_its_words(lease):
    def work(number: int) -> int:
        if number == 3:
            raise RunError(FULL)
        return number

    with pytest.raises(RunError) as raised:
        run_units(beam.Map(work), range(5), RUNNER, lease)
    assert str(raised.value) == FULL


def test_what_a_worker_reports_comes_before_what_its_runner_says(lease):
    def work(number: int) -> int:
        lease.fail(FULL)
        raise ValueError(f"of the runner: {number}")

    with pytest.raises(RunError) as raised:
        run_units(beam.Map(work), [1], RUNNER, lease)
    assert str(raised.value) == FULL
