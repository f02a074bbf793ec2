"""A walk that begins before the libraries of a command are loaded finds what the command's own walk finds."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.sources import walk_ahead
from features.sources.walk import Listing, walk

FILES = 3_000  # more than a pipe holds


@pytest.fixture(autouse=True)
def _left() -> Iterator[None]:
    yield
    walk_ahead.leave()


def _tree(root: Path) -> Path:
    for number, name in enumerate(["a", "b/c", "b/d", "_background_noise_", "@eaDir"]):
        (root / name).mkdir(parents=True)
        for file in range(4):
            path = root / name / f"{number}-{file}.wav"
            path.write_bytes(b"x" * (number + file))
            os.utime(path, ns=(0, 1_600_000_000_123_456_789 + file))
    (root / "b" / "notes.txt").touch()
    (root / "b" / ".hidden.wav").touch()
    (root / "b" / "loop").symlink_to(root / "b")
    (root / "b" / "gone.wav").symlink_to(root / "nowhere.wav")
    os.mkfifo(root / "b" / "pipe.wav")
    (root / os.fsdecode(b"caf\xe9")).mkdir()
    (root / os.fsdecode(b"caf\xe9") / "one.flac").touch()
    (root / "empty").mkdir()
    return root


def _all(found: Listing) -> tuple[object, ...]:
    return found.files.take().to_pydict(), found.left_out, found.rejects, found.folders


@pytest.mark.parametrize("given", [["--input", "{}"], ["--input={}"], ["--input", "elsewhere", "--input", "{}/./"]])
def test_finds_what_the_walk_of_the_command_finds(tmp_path: Path, given: list[str]) -> None:
    expected = _all(walk(os.fsencode(_tree(tmp_path))))
    before = time.time_ns()
    walk_ahead.begin([text.format(tmp_path) for text in given])
    assert before <= walk_ahead.began_ns() <= time.time_ns()
    assert walk_ahead.take(os.fsencode(tmp_path / "b")) is None
    assert walk_ahead._begun is not None
    os.waitid(os.P_PID, walk_ahead._begun.process, os.WEXITED | os.WNOWAIT)
    (tmp_path / "a" / "later.wav").touch()
    assert _all(walk(os.fsencode(tmp_path))) == expected


def test_nothing_begins_without_a_folder_whose_name_says_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "table.csv").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for given in ([], ["--input"], ["--input", ""], ["--input", f"{tmp_path}/table.csv"], ["--input", "s3://bucket"],
                  ["--input", f"{tmp_path}/link/../x"], ["--input", f"{tmp_path}/nowhere"]):  # fmt: skip
        before = time.time_ns()
        walk_ahead.begin(given)
        assert walk_ahead.take(os.fsencode(tmp_path)) is None
        assert walk_ahead.began_ns() >= before


def test_what_is_more_than_a_pipe_holds_comes_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_ahead, "_MOST_HELD_BYTES", 2**16)
    for number in range(FILES):
        folder = tmp_path / f"folder-{number % 3}" / "a-long-name-of-a-folder"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:064d}.wav").touch()
    walk_ahead.begin(["--input", str(tmp_path)])
    time.sleep(0.2)  # it waits: the pipe is full
    assert len(walk(os.fsencode(tmp_path)).files) == FILES


def test_a_walk_that_was_killed_is_done_again(tmp_path: Path) -> None:
    expected = _all(walk(os.fsencode(_tree(tmp_path))))
    walk_ahead.begin(["--input", str(tmp_path)])
    assert walk_ahead._begun is not None
    os.kill(walk_ahead._begun.process, signal.SIGKILL)
    os.waitid(os.P_PID, walk_ahead._begun.process, os.WEXITED | os.WNOWAIT)
    while os.read(walk_ahead._begun.pipe, 2**16):  # it may have been done before
        pass
    assert _all(walk(os.fsencode(tmp_path))) == expected


def test_a_command_that_had_to_wait_lists_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk_ahead.begin(["--input", str(tmp_path)])
    monkeypatch.setattr(walk_ahead, "_LONGEST_AGE_NS", 0)
    assert walk_ahead.take(os.fsencode(tmp_path)) is None


def test_it_begins_before_libraries_are_loaded_and_ends_with_a_command_that_asks_for_nothing(tmp_path: Path) -> None:
    _tree(tmp_path)
    code = "import features.sources.walk_ahead, sys; print(any(name in sys.modules for name in ('numpy', 'pyarrow')))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "False\n"
    process = subprocess.Popen([sys.executable, "-m", "pipelines.featurize", "--input", str(tmp_path), "--help"],
                               stdout=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    assert process.wait(60) == 0
    ends = time.monotonic() + 60
    with pytest.raises(ProcessLookupError):  # none of its processes is left
        while time.monotonic() < ends:
            os.killpg(process.pid, 0)
            time.sleep(0.01)
