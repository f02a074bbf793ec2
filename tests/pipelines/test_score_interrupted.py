"""A scoring that is stopped in the middle: no half CSV, and the next run resumes where it stopped."""

import os
import signal
import subprocess

import pyarrow.parquet as pq
import pytest

from tests.conftest import call, files_below, start_command, wait_until
from tests.held import BATCH, held_at

SECONDS = (
    30  # within which a run that was stopped has ended, on a loaded machine too: one that waits does so for longer
)


def end(process: subprocess.Popen) -> tuple[int, list[str]]:
    try:
        errors = process.communicate(timeout=SECONDS)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"the run has not ended {SECONDS} s after it was stopped; it said: {process.communicate()[1]}")
    return process.returncode, [line for line in errors.splitlines() if not line.startswith("score: ")]


@pytest.fixture(scope="module")
def unbroken(many_clips, run_folder, tmp_path_factory) -> dict[str, bytes]:
    """Files of labels by their names."""
    folder = tmp_path_factory.mktemp("unbroken")
    for name in ("labels.csv", "labels.parquet"):
        arguments = ("--model", run_folder, "--input", many_clips / "high", "--output", folder / name)
        assert call("pipelines.score", *arguments) == 0
    return {name: (folder / name).read_bytes() for name in ("labels.csv", "labels.parquet")}


@pytest.mark.parametrize(
    ("signal_", "name"),
    [
        (signal.SIGINT, "labels.csv"),
        pytest.param(signal.SIGKILL, "labels.csv", marks=pytest.mark.trial),
        pytest.param(signal.SIGKILL, "labels.parquet", marks=pytest.mark.trial),
    ],
)
def test_a_run_that_was_stopped_goes_on_to_the_bytes_of_an_unbroken_one(
    many_clips, run_folder, unbroken, tmp_path, caplog, signal_, name
):
    output = tmp_path / name
    parts = tmp_path / f"{name}.parts"
    arguments = ("--model", run_folder, "--input", many_clips / "high", "--output", output)

    process = start_command(*held_at(tmp_path, [2], BATCH, "pipelines.score"), *arguments, "--workers", 1)
    wait_until(lambda: files_below(parts, "0*.part"))
    os.killpg(process.pid, signal_)
    code, lines = end(process)
    if signal_ == signal.SIGINT:
        assert lines == ["running in this process", "interrupted; nothing half-written stands under its final name"]
        assert code == 130
    assert [path.name for path in tmp_path.iterdir()] == [parts.name]

    done = len(list(parts.rglob("0*.part")))
    with caplog.at_level("INFO", logger="soundmill"):
        assert call("pipelines.score", *arguments) == 0
    assert f"{done} of 7 batches are there" in caplog.text
    before = name.removesuffix(".csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *sorted([name, f"{name}.manifest.parquet"]),
        f"{before}.rejects.csv",
        f"{before}.warnings.csv",
    ]
    assert output.read_bytes() == unbroken[name]
    rows = len(unbroken[name].splitlines()) - 1 if name == "labels.csv" else pq.read_metadata(output).num_rows
    assert rows == 1_600
