"""How the wait for a pipeline ends, whatever runs it."""

import time

import apache_beam as beam
import pytest

from features.errors import RunError
from features.store.lease import Lease
from features.store.locks import claim
from pipelines.beam.runners import run_units

RUNNERS = {"here": [], "a runner that is named": ["--runner=FnApiRunner"]}
FULL = "no space is left on the device for x; make room and run it again, what was finished is kept"


@pytest.fixture
def lease(tmp_path) -> Lease:
    with claim(tmp_path / "held", "score", "labels.csv") as held:
        yield held


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_a_unit_raises_is_said_in_its_words(runner, lease):
    def work(number: int) -> int:
        if number == 3:
            raise RunError(FULL)
        return number

    with pytest.raises(RunError) as raised:
        run_units(beam.Map(work), range(5), RUNNERS[runner], None, lease)
    assert str(raised.value) == FULL


def test_what_a_worker_reports_comes_before_what_its_runner_says(lease):
    def work(number: int) -> int:
        lease.fail(FULL)
        raise ValueError(f"of the runner: {number}")

    with pytest.raises(RunError) as raised:
        run_units(beam.Map(work), [1], [], None, lease)
    assert str(raised.value) == FULL


def test_the_wait_ends_by_what_a_worker_reports_and_not_by_its_runner(lease):
    """As a runner tries again what cannot succeed, or waits for what does not come."""

    def work(number: int) -> int:
        lease.fail(FULL)
        time.sleep(8)
        return number

    started = time.monotonic()
    with pytest.raises(RunError) as raised:
        run_units(beam.Map(work), [1], [], None, lease)
    assert time.monotonic() - started < 6
    assert str(raised.value) == FULL
