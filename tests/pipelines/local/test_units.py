"""Units that are done on this machine: each once, by whoever is free, and how their end is noticed."""

import os
import signal
import time
from pathlib import Path

import pytest

from features.errors import RunError
from features.store.lease import Lease
from features.store.locks import claim
from pipelines.local.units import LocalRun, local_units
from tests.pipelines.conftest import is_alive
from tests.pipelines.local.notes import Begun, Counting, Noting, load

SECONDS = 60  # of 300 that a unit stays: a loaded machine takes some to start a process


@pytest.fixture
def lease(tmp_path) -> Lease:
    with claim(tmp_path / "held", "score", "labels.csv") as held:
        yield held


def counted(folder: Path) -> list[int]:
    return [int(line) for path in folder.glob("counted-*") for line in path.read_text().split()]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_each_unit_is_done_once_however_many_there_are(tmp_path, lease, workers):
    """A pipe holds 8,192 numbers; a command may have several jobs, also one without units or with one."""
    with local_units(workers, []) as local:
        for number, units in enumerate([[5], range(20_000), [], [[1, 2], [3]]]):
            folder = tmp_path / str(number)
            folder.mkdir()
            if number == 3:
                units = [sum(unit) for unit in units]
            local.do(Begun(Counting, str(folder)), units, False, lease, load)
            assert sorted(counted(folder)) == list(units)
            assert len(list(folder.iterdir())) == min(workers, max(1, len(units)))


def test_a_job_may_be_larger_than_a_pipe(tmp_path, lease):
    with local_units(2, []) as local:
        local.do(Begun(Noting, str(tmp_path), 0, "", bytes(3_000_000)), range(3), False, lease, load)
    assert len(list(tmp_path.glob("*.json"))) == 3
    assert len(list(tmp_path.glob("finished-*"))) == len(list(tmp_path.glob("closed-*"))) == 2


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("full", "no space is left; make room"),
        ("wrong", "a unit failed: ValueError('of a unit'); finished units are kept, run it again"),
    ],
)
def test_what_a_unit_raises_is_said_in_its_words(tmp_path, lease, workers, unit, said):
    with local_units(workers, []) as local, pytest.raises(RunError) as raised:
        local.do(Begun(Noting, str(tmp_path)), [0, 1, unit, 3], False, lease, load)
    assert str(raised.value) == said
    assert list(tmp_path.glob("closed-*"))


def test_a_worker_that_dies_ends_the_wait_and_the_other_one(tmp_path, lease):
    started = time.monotonic()
    with local_units(2, []) as local, pytest.raises(RunError, match=r"a worker process died \(SIGKILL\)"):
        try:
            local.do(Begun(Noting, str(tmp_path)), ["stays", "dies"], False, lease, load)
        finally:
            [other] = tmp_path.glob("stays-*")
            left = other.read_bytes()
            time.sleep(0.2)
            assert other.read_bytes() == left, "it goes on after the wait"
    assert time.monotonic() - started < SECONDS


def test_what_another_worker_reports_ends_the_wait(tmp_path, lease):
    started = time.monotonic()
    with local_units(2, []) as local, pytest.raises(RunError, match="of a worker elsewhere"):
        lease.fail("of a worker elsewhere")
        local.do(Begun(Noting, str(tmp_path)), ["stays", "stays"], False, lease, load)
    assert time.monotonic() - started < SECONDS


def test_what_forks_workers_ends_with_the_block_and_was_not_needed(tmp_path, lease):
    with local_units(2, []) as local:
        process = local._workers.process
        assert is_alive(process)
        local.do(Begun(Counting, str(tmp_path)), [1], True, lease, load)
    assert not is_alive(process)
    assert counted(tmp_path) == [1]


def test_one_that_is_gone_before_there_is_work_is_one_line(tmp_path, lease):
    with local_units(2, []) as local:
        os.kill(local._workers.process, signal.SIGKILL)
        local.expect(True, load)
        with pytest.raises(RunError, match=r"a worker process died \(SIGKILL\)"):
            local.do(Begun(Counting, str(tmp_path)), [1, 2], False, lease, load)


def test_several_processes_only_where_they_pay_or_are_requested(tmp_path, lease, caplog):
    caplog.set_level("INFO", "soundmill")
    for name, local, pays in [("a", LocalRun(None, None), True), ("b", LocalRun(1, None), True)]:
        (tmp_path / name).mkdir()
        local.do(Begun(Counting, str(tmp_path / name)), [1, 2, 3], pays, lease, load)
        local.do(Begun(Counting, str(tmp_path / name)), [4], pays, lease, load)
        assert counted(tmp_path / name) == [1, 2, 3, 4]
    assert caplog.messages == ["running in this process"] * 2, "said once by a command"
