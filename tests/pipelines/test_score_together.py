"""Two scores into one CSV: the second ends at once and says who is at work, the first is not disturbed."""

import os
import re
import signal
import socket

import pytest

from features.errors import UsageError
from tests.conftest import call, files_below, start_command, wait_until
from tests.held import BATCH, held_at, let_go


@pytest.fixture
def notes(tmp_path_factory):
    return tmp_path_factory.mktemp("notes")


@pytest.fixture
def first(many_clips, run_folder, tmp_path, notes):
    """A score that is at work on its parts, and stays at it."""
    process = start_command(
        *held_at(notes, [2], BATCH, "pipelines.score"), "--model", run_folder, "--input", many_clips / "high",
        "--output", tmp_path / "labels.csv", "--top", 1, "--workers", 1,
    )  # fmt: skip
    wait_until(lambda: files_below(tmp_path / "labels.csv.parts", "0*.part"))
    return process


def test_a_second_score_into_one_csv_ends_at_once(first, many_clips, run_folder, tmp_path, notes):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError) as raised:  # the first waits: this does not wait for its end
        call("pipelines.score", "--model", run_folder, "--input", many_clips / "high", "--output",
             tmp_path / "labels.csv", "--top", 3)  # fmt: skip
    assert str(raised.value) == (
        f"one score at a time may write {tmp_path / 'labels.csv'}, and another (process {first.pid} on host "
        f"{socket.gethostname()}) is at it; wait for its end, or give another --output"
    )
    assert sorted(tmp_path.rglob("*")) == before
    of_another_form = ("--model", run_folder, "--input", many_clips / "high", "--output", tmp_path / "labels.parquet")
    assert call("pipelines.score", *of_another_form) == 0
    another = ["labels.parquet", "labels.parquet.manifest.parquet", "labels.parquet.rejects.csv",
               "labels.parquet.warnings.csv"]  # fmt: skip
    assert sorted(os.listdir(tmp_path)) == ["labels.csv.parts", *another]

    let_go(notes, 2)
    first.communicate(timeout=120)
    assert first.returncode == 0
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert lines[0] == "path,start_seconds,end_seconds,label,probability"
    assert {len(line.split(",")) for line in lines} == {5}
    assert len(lines) == 1_601
    assert sorted(os.listdir(tmp_path)) == ["labels.csv", "labels.csv.manifest.parquet", *another, "labels.rejects.csv",
                                            "labels.warnings.csv"]  # fmt: skip


def test_a_score_that_was_killed_blocks_no_other_and_its_parts_are_left_out(first, many_clips, run_folder, tmp_path):
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert call("pipelines.score", "--model", run_folder, "--input", many_clips / "high", "--output",
                tmp_path / "labels.csv", "--top", 3) == 0  # fmt: skip
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert re.fullmatch("path,start_seconds,end_seconds,.*rank.*", lines[0])
    assert {len(line.split(",")) for line in lines} == {6}
    assert len(lines) == 3 * 1_600 + 1
    assert sorted(os.listdir(tmp_path)) == ["labels.csv", "labels.csv.manifest.parquet", "labels.rejects.csv",
                                            "labels.warnings.csv"]  # fmt: skip
