"""Jobs in worker processes: results in order, few jobs at a time, and no worker that outlives its driver."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from features.errors import RunError, UsageError
from features.processes import choose_workers, parse_workers, run_jobs
from tests.conftest import STARTED, wait_until


def slow_square(number: int) -> tuple[int, int]:
    time.sleep(0.05 if number % 2 else 0.0)
    return number * number, os.getpid()


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail(number: int) -> int:
    if number == 3:
        raise RunError("the third cannot be done")
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers):
    squares, processes = zip(*run_jobs(slow_square, range(20), workers), strict=True)
    assert squares == tuple(number * number for number in range(20))
    assert len(set(processes)) == workers
    assert (os.getpid() in processes) == (workers == 1)


def test_jobs_are_taken_as_they_are_needed():
    taken = []
    jobs = (taken.append(number) or number for number in range(1000))
    results = run_jobs(slow_square, jobs, 2)
    next(results)
    assert 2 <= len(taken) < 20
    results.close()
    assert len(taken) < 20


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_that_of_the_function(workers):
    results = run_jobs(fail, range(9), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RunError, match="the third cannot be done"):
        list(results)


def test_a_worker_that_died_ends_it():
    with pytest.raises(RunError, match="a worker process died"):
        list(run_jobs(die, range(9), 2))


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


DRIVER = """
import sys
from features.processes import run_jobs
from tests.features.test_processes import slow_square

if __name__ == "__main__":
    for _, process in run_jobs(slow_square, range(10**9), 2):
        print(process, file=open(sys.argv[1], "a"))
"""


def test_workers_end_with_a_driver_that_is_killed(tmp_path):
    script, processes = tmp_path / "driver.py", tmp_path / "processes"
    script.write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    driver = subprocess.Popen(
        [sys.executable, script, processes], env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    STARTED.append(driver)
    wait_until(lambda: processes.exists() and len(set(processes.read_text().split())) == 2)
    workers = [int(number) for number in set(processes.read_text().split())]
    assert all(map(is_alive, workers))
    driver.kill()
    driver.wait()
    wait_until(lambda: not any(map(is_alive, workers)), seconds=10)


def test_the_number_of_workers(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert [choose_workers(None, 9, pays=True), choose_workers(None, 2, pays=True)] == [4, 2]
    assert [choose_workers(None, 9, pays=False), choose_workers(7, 9, pays=False)] == [1, 7]
    assert choose_workers(3, 0, pays=True) == 1
    assert [parse_workers("auto"), parse_workers("12")] == [None, 12]
    for text in ("0", "-1", "two", "1.5", ""):
        with pytest.raises(UsageError, match="--workers is auto or a number above 0"):
            parse_workers(text)
