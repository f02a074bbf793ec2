"""Whatever process of a cluster is killed, and where the disk is full: no unit that was finished is done again."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import files_below, wait_until
from tests.pipelines.cluster.conftest import Engine
from tests.pipelines.cluster.jobs import Job
from tests.pipelines.conftest import parent_of
from tests.pipelines.test_full_disk import Disk

pytestmark = pytest.mark.cluster
ENDING_SECONDS = 150
COMMANDS = ("featurize", "score")


def ends(process: subprocess.Popen) -> tuple[int, str]:
    """Waits for the end of a run; returns its exit code and what it said."""
    said = process.communicate(timeout=ENDING_SECONDS)[1]
    return process.returncode, said


def wait_for_a_unit(job: Job, process: subprocess.Popen) -> dict[Path, tuple[int, int]]:
    """Returns the units that are finished when there is a first one."""
    wait_until(lambda: job.finished() or process.poll() is not None, seconds=ENDING_SECONDS)
    assert process.poll() is None, f"the run was over before it could be stopped: {process.communicate()}"
    return job.finished()


class Untouched:
    """Looks, while runs go on, whether units that were finished are as they were; score takes them away at its end."""

    def __init__(self, finished: dict[Path, tuple[int, int]]) -> None:
        self._finished = finished

    def check(self) -> bool:
        """Fails where one was written anew."""
        for path, identity in self._finished.items():
            with contextlib.suppress(FileNotFoundError):
                state = path.stat()
                assert (state.st_ino, state.st_mtime_ns) == identity, f"{path} was finished, and is built again"
        return True


def run_to_the_end(job: Job, process: subprocess.Popen, untouched: Untouched) -> tuple[int, str]:
    end = time.monotonic() + ENDING_SECONDS
    while process.poll() is None and time.monotonic() < end:
        untouched.check()
        time.sleep(0.05)
    return ends(process)


def check_whole(job: Job, unbroken: dict[str, bytes]) -> None:
    """Holds what a run has made to that of an unbroken one; nothing is left of what was half-written."""
    assert job.content() == unbroken
    assert job.partial() == []


def worker_of(engine: Engine) -> int:
    """Returns a Python process that a TaskManager has started."""
    processes = engine.cluster.state().processes
    managers = {process for name, process in processes.items() if name.startswith("taskmanager")}
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            command = (entry / "cmdline").read_bytes()
            if b"pipelines.beam.cluster_worker" in command and parent_of(int(entry.name)) in managers:
                found.append(int(entry.name))
    return found[0]


# Each victim and each command once; the rest of all combinations with `make cluster-trial`.
KILLS = {("worker", "featurize"), ("taskmanager-1", "score"), ("jobserver", "score"), ("jobmanager", "featurize")}


@pytest.mark.parametrize(
    ("victim", "command"),
    [
        pytest.param(victim, command, marks=() if (victim, command) in KILLS else pytest.mark.trial)
        for victim in ("worker", "taskmanager-1", "jobserver", "jobmanager")
        for command in COMMANDS
    ],
)
def test_a_process_that_is_killed_costs_nothing_that_was_finished(flink, make_job, unbroken, tmp_path, victim, command):
    job = make_job(command, tmp_path)
    process = flink.start_job(job)
    untouched = Untouched(wait_for_a_unit(job, process))
    os.kill(worker_of(flink) if victim == "worker" else flink.cluster.state().processes[victim], signal.SIGKILL)
    if victim != "worker":
        flink.start()  # what was killed is started again, as whoever runs the cluster does
    code, said = run_to_the_end(job, process, untouched)
    if victim in ("worker", "taskmanager-1"):
        assert code == 0, said
    else:
        assert code in (0, 1), said
        assert code == 0 or sum(line.startswith("error: ") for line in said.splitlines()) == 1, said
    if code:
        assert run_to_the_end(job, flink.start_job(job), untouched)[0] == 0
    check_whole(job, unbroken[command])


@pytest.mark.parametrize("command", ["featurize", pytest.param("score", marks=pytest.mark.trial)])
def test_a_full_disk_costs_nothing_that_was_finished(flink, make_job, unbroken, tmp_path, command):
    disk = Disk(tmp_path / "disk", 96)
    job = make_job(command, disk.seen.parent)  # the path by which every process sees it
    process = flink.start_job(job)
    with open(disk.seen.with_name("filler"), "wb") as filler:
        if command == "featurize":  # whose units are done sooner than a disk is full: there is no room for half of them
            wait_until(lambda: files_below(job.output, "units-*.arrow") or process.poll() is not None, ENDING_SECONDS)
            shards = sum(len(content) for name, content in unbroken[command].items() if name.startswith("shards/"))
            os.posix_fallocate(filler.fileno(), 0, disk.free_bytes - shards // 2)
        finished = wait_for_a_unit(job, process)
        full_at = time.monotonic()
        size = 0
        while process.poll() is None and time.monotonic() < full_at + ENDING_SECONDS:
            with contextlib.suppress(OSError):  # others write too
                size += max(0, disk.free_bytes)
                os.posix_fallocate(filler.fileno(), 0, size)
            time.sleep(0.02)
    code, said = ends(process)
    assert code == 1
    [error] = [line for line in said.splitlines() if line.startswith("error: ")]
    assert "no space is left on the device for " in error
    untouched = Untouched(finished)
    assert untouched.check()
    disk.make_room()
    assert run_to_the_end(job, flink.start_job(job), untouched)[0] == 0
    check_whole(job, unbroken[command])
