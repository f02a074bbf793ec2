"""A run that is stopped in the middle: nothing half-written is taken for whole, and the next run resumes."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from features.errors import UsageError
from features.sources.partition import PARTITIONS
from features.store.manifest import load_manifest
from tests.conftest import call, start_command, wait_until
from tests.held import SHARD, held_at
from tests.pipelines.conftest import files_of, is_alive, parent_of, workers_of
from tests.terminal import Terminal

SECONDS = (
    30  # within which a run that was stopped has ended, on a loaded machine too: one that waits does so for longer
)


@pytest.fixture(scope="module")
def unbroken(many_clips, small_spec, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("unbroken") / "set"
    assert call("pipelines.featurize", "--input", many_clips, "--output", output, "--spec", small_spec) == 0
    return output


class Run:
    """A featurize of many clips in a process of its own, of whose workers each waits before its second shard."""

    def __init__(self, many_clips: Path, small_spec: Path, output: Path, workers: int) -> None:
        self.output, self.number = output, workers
        self.arguments = ("--input", many_clips, "--output", output, "--spec", small_spec, "--workers", workers)
        self.process = start_command(*held_at(output.parent, [2], SHARD, "pipelines.featurize"), *self.arguments)
        self.workers: list[int] = []

    def wait_for_workers(self) -> None:
        wait_until(lambda: len(workers_of(self.process.pid)) == self.number)
        self.workers = workers_of(self.process.pid)

    def wait_for_a_shard(self) -> None:
        wait_until(lambda: list((self.output / "reports").glob("*.parquet")))
        self.workers = workers_of(self.process.pid)
        assert self.process.poll() is None

    def end(self) -> tuple[int, list[str]]:
        """Waits for the end; returns the exit code and the lines on standard error, but those of size and progress."""
        try:
            errors = self.process.communicate(timeout=SECONDS)[1]
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            errors = self.process.communicate()[1]
            pytest.fail(f"the run has not ended {SECONDS} s after it was stopped; it said: {errors}")
        lines = [line for line in errors.splitlines() if not line.startswith("featurize: ")]
        assert re.fullmatch(r"[\d.]+ MB to write in \d+ shards, .* are free", lines[0])
        return self.process.returncode, lines[1:]

    def workers_end(self) -> bool:
        try:
            wait_until(lambda: not any(map(is_alive, self.workers)), seconds=SECONDS)
        except AssertionError:
            return False
        return True


@pytest.fixture
def start(many_clips, small_spec, tmp_path):
    """Starts runs, and leaves no process behind whatever becomes of them."""
    runs = []

    def started(workers: int) -> Run:
        runs.append(Run(many_clips, small_spec, tmp_path / "set", workers))
        return runs[-1]

    yield started
    for run in runs:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.communicate()


def goes_on_to_the_bytes_of(unbroken: Path, run: Run) -> None:
    """Runs again and compares all that the manifest names with a run that was never stopped."""
    finished = len(list((run.output / "reports").glob("*.parquet")))
    unit = next((run.output / "reports").glob("*.parquet")).stem
    (run.output / "shards" / f"{unit}.tfrecord.77-0123abcd.partial").write_bytes(b"of a worker that was killed")
    summary = run.output.parent / "summary.json"
    assert call("pipelines.featurize", *run.arguments[:-1], 1, "--summary", summary) == 0
    figures = json.loads(summary.read_text())
    assert figures["kept"] + figures["computed"] == 4_800
    assert figures["kept"] >= 400 * finished > 0
    mine, theirs = files_of(run.output), files_of(unbroken)
    manifest = load_manifest(run.output)
    names = [f"shards/{shard.name}.tfrecord" for shard in manifest.shards(PARTITIONS)]
    names += [f"reports/{shard.name}.parquet" for shard in manifest.shards(PARTITIONS)]
    for name in (*names, "manifest.json", manifest.clips_file, manifest.rejects_file):
        assert mine[name] == theirs[name], name
    assert not list(run.output.rglob("*.partial"))


def test_a_run_that_was_killed_leaves_no_set_and_the_next_one_goes_on(start, unbroken, tmp_path):
    run = start(2)
    run.wait_for_a_shard()
    assert len(run.workers) == 2
    run.process.kill()
    assert run.end()[0] == -signal.SIGKILL
    assert run.workers_end()
    assert not (run.output / "manifest.json").exists()
    with pytest.raises(UsageError, match=f"{run.output} is not a complete feature set"):
        call("model.train", "--features", run.output, "--output", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    goes_on_to_the_bytes_of(unbroken, run)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.trial), 2])
def test_ctrl_c_ends_a_run_with_one_line(start, workers):
    run = start(workers)
    run.wait_for_a_shard()
    os.killpg(run.process.pid, signal.SIGINT)
    code, lines = run.end()
    where = "in this process" if workers == 1 else "in 2 worker processes"
    assert lines == [f"running {where}", "interrupted; nothing half-written stands under its final name"]
    assert code == 130
    assert run.workers_end()
    assert not (run.output / "manifest.json").exists()


@pytest.mark.trial
def test_ctrl_c_on_a_terminal_leaves_no_bar(many_clips, small_spec, tmp_path):
    screen = Terminal()
    arguments = ("--input", many_clips, "--output", tmp_path / "set", "--spec", small_spec, "--workers", 2)
    process = screen.start("-m", *held_at(tmp_path, [2], SHARD, "pipelines.featurize"), *arguments)
    try:
        screen.wait_for(r"featurize .*[\d,]+ of 4,800 clips, [\d,]+ a second, \d+ (min \d+ )?s left")
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    lines = screen.lines()
    assert "MB to write" in lines[0]
    assert lines[1:3] == [
        "running in 2 worker processes",
        "interrupted; nothing half-written stands under its final name",
    ]
    assert not any(lines[3:])
    assert screen.has_cursor()


@pytest.mark.trial
def test_ctrl_c_while_the_workers_start_ends_a_run_with_one_line(start):
    run = start(2)
    wait_until(lambda: workers_of(run.process.pid))
    run.workers = workers_of(run.process.pid)
    os.killpg(run.process.pid, signal.SIGINT)
    code, lines = run.end()
    assert lines == ["running in 2 worker processes", "interrupted; nothing half-written stands under its final name"]
    assert code == 130
    assert run.workers_end()


@pytest.mark.parametrize(
    ("moment", "victim"),
    [
        ("as it works", "a worker"),
        pytest.param("as it works", "what forks workers", marks=pytest.mark.trial),
        pytest.param("as it starts", "a worker", marks=pytest.mark.trial),
        pytest.param("as it starts", "what forks workers", marks=pytest.mark.trial),
    ],
)
def test_a_worker_that_is_killed_ends_the_run_with_one_line(start, unbroken, moment, victim):
    run = start(2)
    if moment == "as it starts":
        run.wait_for_workers()
    else:
        run.wait_for_a_shard()
    stopped = time.monotonic()
    os.kill(run.workers[0] if victim == "a worker" else parent_of(run.workers[0]), signal.SIGKILL)
    code, lines = run.end()
    assert time.monotonic() - stopped < SECONDS
    assert code == 1
    assert lines[0] == "running in 2 worker processes"
    assert len(lines) == 2, lines
    assert lines[1].startswith("error: a worker process died (SIGKILL)")
    assert "run it again" in lines[1]
    assert run.workers_end()
    assert not (run.output / "manifest.json").exists()
    if moment == "as it works":
        goes_on_to_the_bytes_of(unbroken, run)
