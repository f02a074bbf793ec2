"""Claims: one process at a time fills a folder, a second ends at once, and a dead one blocks no other."""

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from features.errors import UsageError
from features.store.locks import CLAIM, claim, is_claimed
from tests.conftest import wait_until

HOLDER = """
import sys, time
from pathlib import Path
from features.store.locks import claim
with claim(Path(sys.argv[1]), "score", "labels.csv"):
    time.sleep(60)
"""


@pytest.fixture
def held(tmp_path):
    """A folder that another process holds, and that process."""
    folder = tmp_path / "held"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)])
    wait_until(lambda: (folder / CLAIM).exists() and (folder / CLAIM).read_text())
    yield folder, process
    process.kill()
    process.wait()


def test_a_second_process_is_refused_at_once_and_the_first_is_named(held):
    folder, process = held
    holder = re.escape(f"another (process {process.pid} on host {socket.gethostname()}) is at it; wait for its end")
    for _ in range(2):  # that it was refused changes nothing
        message = f"one score at a time may write labels.csv, and {holder}"
        with pytest.raises(UsageError, match=message), claim(folder, "score", "labels.csv"):
            pytest.fail("it was claimed twice")
        assert is_claimed(folder)


def test_a_killed_process_blocks_no_other(held):
    folder, process = held
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert is_claimed(folder)
    with claim(folder, "score", "labels.csv"):
        [holder, _token, _] = (folder / CLAIM).read_text().split("\n")
        assert holder == f"process {os.getpid()} on host {socket.gethostname()}"
    assert not folder.exists()


def test_what_the_block_made_stays_and_nothing_else_does(tmp_path):
    full, fails = tmp_path / "full", tmp_path / "fails"
    with claim(full, "score", "labels.csv"):
        (full / "part").write_text("kept")
    with pytest.raises(ZeroDivisionError), claim(fails, "score", "labels.csv"):
        raise ZeroDivisionError
    assert sorted(tmp_path.rglob("*")) == [full, full / "part"]


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file"), claim(tmp_path / "file", "score", "labels.csv"):
        pass
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_goes_with_each_claim_is_held_by_one_at_a_time(tmp_path):
    """The file of the lock is removed as it is held: who opened it before must not take that for the folder's."""
    folder = tmp_path / "folder"
    inside, most, entered = 0, 0, 0
    count = threading.Lock()
    errors: list[BaseException] = []

    def enter() -> None:
        nonlocal inside, most, entered
        try:
            for _ in range(50):
                try:
                    with claim(folder, "score", "labels.csv"):
                        with count:
                            inside, entered = inside + 1, entered + 1
                            most = max(most, inside)
                        time.sleep(0)
                        with count:
                            inside -= 1
                except UsageError:
                    time.sleep(0)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert most == 1
    assert entered > 4
    assert not folder.exists()


def test_a_folder_that_was_removed_and_claimed_anew_is_left_to_its_new_holder(tmp_path):
    folder = Path(tmp_path / "folder")
    with claim(folder, "score", "labels.csv"):
        (folder / CLAIM).unlink()
        folder.rmdir()
        second = claim(folder, "score", "labels.csv")
        second.__enter__()
    assert is_claimed(folder)
    second.__exit__(None, None, None)
    assert not folder.exists()


def test_where_there_are_no_locks_a_warning_says_so(tmp_path, monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level("WARNING", logger="soundmill"), claim(tmp_path / "folder", "score", "labels.csv"):
        pass
    assert "has no locks (No locks available): see to it that no other score writes it" in caplog.text
    assert not (tmp_path / "folder").exists()
