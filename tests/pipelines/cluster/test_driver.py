"""What the driver of a job on Flink starts, says, cancels and leaves."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from pipelines.beam.flink import FlinkJob, FlinkMaster
from tests.conftest import start_command, wait_until
from tests.pipelines.cluster.conftest import JARS, Engine, MakeJob
from tests.pipelines.cluster.jobs import Job
from tests.pipelines.conftest import is_alive

pytestmark = pytest.mark.cluster
SECONDS = 10  # within which a run that was interrupted has ended
BEGINNING_SECONDS = 120  # on a machine that has much else to do; less than pytest waits for a test that hangs
RUNNERS = ("a job server that is there", "with its master", "a job server that is started")


def options(flink: Engine, runner: str, folder: Path) -> list[str]:
    """Returns what runs a command on the cluster in one of these ways."""
    master = f"--flink_master=127.0.0.1:{flink.size.port}"
    if runner == RUNNERS[0]:
        return flink.options
    if runner == RUNNERS[1]:
        return [*flink.options, master]
    # The cluster's jar holds the job server, and is not made to begin with it.
    [jar] = JARS.glob("flink-*.jar")
    launcher = folder / "java"
    launcher.write_text(
        f'#!/bin/sh\nshift 2\nexec java -cp {jar} org.apache.beam.runners.flink.FlinkJobServerDriver "$@"\n'
    )
    launcher.chmod(0o755)
    workers = [option for option in flink.options if "environment" in option]
    return ["--runner=FlinkRunner", master, f"--flink_job_server_jar={jar}", f"--job_server_java_launcher={launcher}",
            f"--files_to_stage={flink.folder}/empty.jar", *workers]  # fmt: skip


def job_servers(folder: Path) -> list[int]:
    """Returns the job servers whose temporary folder this is."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            is_server = b"FlinkJobServerDriver" in (entry / "cmdline").read_bytes() and is_alive(int(entry.name))
            if is_server and f"TMPDIR={folder}\0".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """The temporary folder of the drivers that are started."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def wait_for_units(job: Job, process: subprocess.Popen) -> None:
    wait_until(lambda: job.finished() or process.poll() is not None, seconds=BEGINNING_SECONDS)
    assert process.poll() is None, process.communicate()


def named(master: FlinkMaster, beginning: str) -> FlinkJob:
    return next(job for name, job in master.jobs.items() if name.startswith(beginning))


@pytest.fixture
def master(flink) -> FlinkMaster:
    return FlinkMaster(f"127.0.0.1:{flink.size.port}")


def test_a_runner_with_a_jar_makes_what_a_local_run_does_and_leaves_no_process(
    flink, make_job, unbroken, tmp_path, temporary
):
    job = make_job("featurize", tmp_path)
    process = start_command(job.module, *job.words, *options(flink, RUNNERS[2], tmp_path))
    said = process.communicate(timeout=600)[1]
    assert process.returncode == 0, said
    assert job.content() == unbroken["featurize"]
    wait_until(lambda: not job_servers(temporary))
    assert not list(temporary.glob("soundmill-*"))


@pytest.mark.parametrize("runner", [RUNNERS[0], pytest.param(RUNNERS[1], marks=pytest.mark.trial), RUNNERS[2]])
def test_ctrl_c_ends_the_job_and_all_writing(flink, master, make_job, tmp_path, temporary, runner):
    job = make_job("featurize", tmp_path)
    name = f"interrupted-{time.monotonic_ns()}"
    process = start_command(job.module, *job.words, *options(flink, runner, tmp_path), f"--job_name={name}")
    wait_for_units(job, process)
    assert len(job_servers(temporary)) == (1 if runner == RUNNERS[2] else 0)
    os.killpg(process.pid, signal.SIGINT)
    said = [line for line in process.communicate(timeout=SECONDS)[1].splitlines() if not line.startswith("featurize:")]
    ended = time.time()
    assert process.returncode == 130
    assert said[-1] == "interrupted; nothing half-written stands under its final name"
    if runner == RUNNERS[0]:
        assert said[-2].startswith("the job server says that the job is cancelled")
        wait_until(lambda: named(master, name).has_ended, seconds=BEGINNING_SECONDS)
    else:
        assert said[-2] == "the job was cancelled and has ended"
        assert named(master, name).state == "CANCELED"
        time.sleep(3)  # longer than a unit takes
    late = [path for path in job.finished() if path.stat().st_mtime > ended]
    # Each slot may be at one unit.
    assert len(late) <= flink.size.taskmanagers * flink.size.slots
    assert not list(job.output.glob("work/*"))
    wait_until(lambda: not job_servers(temporary))
    assert not list(temporary.glob("soundmill-*"))


def test_lost_workers_restarts_and_waiting_are_told(flink: Engine, make_job: MakeJob, tmp_path):
    job = make_job("featurize", tmp_path)
    process = start_command(job.module, *job.words, *options(flink, RUNNERS[1], tmp_path))
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(iter(process.stderr.readline, "")), daemon=True)
    reader.start()
    wait_for_units(job, process)
    try:
        for name in ("taskmanager-1", "taskmanager-2"):
            os.kill(flink.cluster.state().processes[name], signal.SIGKILL)
            time.sleep(3)  # so that Flink, and who asks it, miss one after the other
        lines = ("warning: a worker was lost: Flink has 0 of 2 TaskManagers left",
                 "warning: Flink restarts the job: ",  # a TaskManager that is lost, or the connection to it
                 ", and 0 of Flink's 0 slots are free")  # fmt: skip

        def missing() -> list[str]:
            return [line for line in lines if not any(line in one for one in said)]

        end = time.monotonic() + BEGINNING_SECONDS
        while missing() and time.monotonic() < end:
            time.sleep(0.1)
        assert missing() == [], said
    finally:
        flink.start()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=SECONDS)
