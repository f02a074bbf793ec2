"""A scoring that is stopped in the middle: no half CSV, and the next run resumes where it stopped."""

import os
import signal
import subprocess

import pytest

from tests.conftest import call, start_command, wait_until

SECONDS = 10  # within which a run that was stopped has ended


def end(process: subprocess.Popen) -> tuple[int, list[str]]:
    try:
        errors = process.communicate(timeout=SECONDS)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"the run has not ended {SECONDS} s after it was stopped; it said: {process.communicate()[1]}")
    return process.returncode, [line for line in errors.splitlines() if not line.startswith("score: ")]


@pytest.fixture(scope="module")
def unbroken(many_clips, run_folder, tmp_path_factory) -> bytes:
    output = tmp_path_factory.mktemp("unbroken") / "labels.csv"
    assert call("pipelines.score", "--model", run_folder, "--input", many_clips / "high", "--output", output) == 0
    return output.read_bytes()


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_stopped_goes_on_to_the_bytes_of_an_unbroken_one(
    many_clips, run_folder, unbroken, tmp_path, caplog, signal_
):
    output = tmp_path / "labels.csv"
    parts = tmp_path / "labels.csv.parts"
    arguments = ("--model", run_folder, "--input", many_clips / "high", "--output", output)

    process = start_command("pipelines.score", *arguments, "--workers", 1)
    wait_until(lambda: list(parts.rglob("0*.json")))
    os.killpg(process.pid, signal_)
    code, lines = end(process)
    if signal_ == signal.SIGINT:
        assert lines == ["running in this process", "interrupted; nothing half-written stands under its final name"]
        assert code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv.parts"]

    done = len(list(parts.rglob("0*.json")))
    with caplog.at_level("INFO", logger="soundmill"):
        assert call("pipelines.score", *arguments) == 0
    assert f"{done} of 7 batches are there" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "labels.csv",
        "labels.rejects.csv",
        "labels.warnings.csv",
    ]
    assert output.read_bytes() == unbroken
    assert len(unbroken.splitlines()) == 1_601
