"""Processes that are found by a mark, and ended whoever started them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from pipelines.cluster.marked import MARK, end_marked, is_marked, marked
from tests.conftest import STARTED, wait_until
from tests.pipelines.conftest import is_alive


def start(mark: str, code: str) -> subprocess.Popen:
    environment = {**os.environ, MARK: mark}
    STARTED.append(subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True,
                                    start_new_session=True))  # fmt: skip
    return STARTED[-1]


SLEEPING = "import time; print(flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPING}"
# A child in a session of its own, whose parent ends.
ORPHAN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPING!r}], start_new_session=True)"


@pytest.mark.parametrize("code", [SLEEPING, STUBBORN])
def test_all_that_carry_a_mark_are_ended_and_nobody_else(code):
    process, other = start("one", code), start("one more", SLEEPING)
    process.stdout.readline(), other.stdout.readline()
    assert marked("one") == {process.pid}
    assert end_marked("one", grace_seconds=0.3, limit_seconds=10) == set()
    assert process.wait(5) == (-signal.SIGTERM if code == SLEEPING else -signal.SIGKILL)
    assert marked("one") == set()
    assert is_marked(other.pid, "one more")
    assert not is_marked(other.pid, "one")


def test_what_a_process_left_is_ended_with_it():
    parent = start("orphan", ORPHAN)
    assert parent.wait(10) == 0
    parent.stdout.readline()
    [child] = marked("orphan")
    assert os.getsid(child) == child
    assert end_marked("orphan", grace_seconds=5, limit_seconds=10) == set()
    wait_until(lambda: not is_alive(child), seconds=2)


def test_a_process_that_does_not_end_is_named_after_the_time():
    process = start("stopped", STUBBORN)
    process.stdout.readline()
    began = time.monotonic()
    assert end_marked("stopped", grace_seconds=60, limit_seconds=0.3) == {process.pid}
    assert time.monotonic() - began < 5


def test_a_process_that_has_ended_carries_no_mark():
    process = start("gone", "print(1)")
    process.stdout.read()
    wait_until(lambda: not is_alive(process.pid))  # it is not waited for: its entry is still there
    assert not is_marked(process.pid, "gone")
    assert process.wait() == 0
    assert not is_marked(process.pid, "gone")
