"""Jobs in worker processes: results in order, few jobs at a time, and no worker that outlives its driver."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from features.errors import RunError, UsageError
from features.runtime import processes
from features.runtime.processes import choose_workers, parse_workers, run_jobs, usable_cores
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


def square_together(job: tuple[int, int, Path]) -> tuple[int, int]:
    """Squares a number when so many processes are at it."""
    number, workers, folder = job
    (folder / str(os.getpid())).touch()
    wait_until(lambda: len(os.listdir(folder)) == workers)
    return slow_square(number)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers, tmp_path):
    jobs = ((number, workers, tmp_path) for number in range(20))
    squares, processes = zip(*run_jobs(square_together, jobs, workers), strict=True)
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


def interrupt(number: int) -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return number


def test_ctrl_c_does_not_reach_the_workers():
    assert list(run_jobs(interrupt, range(9), 2)) == list(range(9))


@pytest.mark.parametrize("turn", [0, 5])
def test_ctrl_c_that_comes_as_workers_start_is_not_lost(monkeypatch, turn):
    submit, taken = ProcessPoolExecutor.submit, []

    def interrupted_submit(pool, *given):
        if len(taken) == turn + 1:
            signal.raise_signal(signal.SIGINT)
        return submit(pool, *given)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", interrupted_submit)
    with pytest.raises(KeyboardInterrupt):
        list(run_jobs(slow_square, (taken.append(number) or number for number in range(20)), 2))
    assert len(taken) == turn + 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


DRIVER = """
import sys
from features.runtime.processes import run_jobs
from tests.features.runtime.test_processes import slow_square

if __name__ == "__main__":
    for _, process in run_jobs(slow_square, range(10**9), 2):
        print(process, file=open(sys.argv[1], "a"))
"""


def test_workers_end_with_a_driver_that_is_killed(tmp_path):
    script, processes = tmp_path / "driver.py", tmp_path / "processes"
    script.write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    driver = subprocess.Popen(
        [sys.executable, script, processes], env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    STARTED.append(driver)
    wait_until(lambda: processes.exists() and len(set(processes.read_text().split())) == 2)
    workers = [int(number) for number in set(processes.read_text().split())]
    assert all(map(is_alive, workers))
    driver.kill()
    driver.wait()
    wait_until(lambda: not any(map(is_alive, workers)), seconds=60)


def test_the_number_of_workers(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert [choose_workers(None, 9, pays=True), choose_workers(None, 2, pays=True)] == [4, 2]
    assert [choose_workers(None, 9, pays=False), choose_workers(7, 9, pays=False)] == [1, 7]
    assert choose_workers(3, 0, pays=True) == 1
    assert [parse_workers("auto"), parse_workers("12")] == [None, 12]
    for text in ("0", "-1", "two", "1.5", ""):
        with pytest.raises(UsageError, match="--workers is auto or a number above 0"):
            parse_workers(text)


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Control groups as files, and nothing that SLURM says."""
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(processes, "_CGROUPS", tmp_path)
    monkeypatch.setattr(processes, "_OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))

    def put(own: str, **files: str) -> None:
        (tmp_path / "own").write_text(own)
        for name, content in files.items():
            path = tmp_path.joinpath(*name.split("__")[:-1], name.split("__")[-1].replace("cpu_", "cpu."))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return put


def test_without_limits_all_cores_of_the_process_are_used(groups):
    assert usable_cores() == 16
    groups("0::/a\n", a__cpu_max="max 100000\n")
    assert usable_cores() == 16


@pytest.mark.parametrize(("quota", "cores"), [("150000 100000", 2), ("400000 100000", 4), ("5000 100000", 1)])
def test_a_control_group_limits_the_cores(groups, quota, cores):
    groups("0::/a/b\n", a__b__cpu_max=quota)
    assert usable_cores() == cores
    assert choose_workers(None, 100, pays=True) == cores
    assert choose_workers(7, 100, pays=True) == 7


def test_the_smallest_share_on_the_way_up_counts(groups):
    groups("0::/a/b\n", a__b__cpu_max="800000 100000", a__cpu_max="300000 100000")
    assert usable_cores() == 3


def test_a_group_of_version_1_limits_the_cores(groups):
    own = "4:memory:/x\n1:cpu,cpuacct:/docker/7\n"
    groups(own, cpu__cpu_cfs_quota_us="-1", cpu__cpu_cfs_period_us="100000")
    assert usable_cores() == 16
    groups(own, cpu__cpu_cfs_quota_us="250000", cpu__cpu_cfs_period_us="100000")
    assert usable_cores() == 3


@pytest.mark.parametrize(
    ("said", "cores"),
    [({"SLURM_CPUS_PER_TASK": "4"}, 4), ({"SLURM_CPUS_ON_NODE": "6"}, 6), ({"SLURM_CPUS_PER_TASK": "99"}, 16),
     ({"SLURM_CPUS_PER_TASK": "2", "SLURM_CPUS_ON_NODE": "8"}, 2), ({"SLURM_CPUS_ON_NODE": "4(x2)"}, 16)],
)  # fmt: skip
def test_slurm_limits_the_cores(groups, monkeypatch, said, cores):
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert usable_cores() == cores
