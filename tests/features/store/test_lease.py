"""Leases: workers go on as long as their driver lives, and end when it has ended, was killed or has no more use."""

import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from features.errors import PassingError, RunError, UsageError
from features.maintenance.removal import prune
from features.store import lease as module
from features.store.layout import Layout
from features.store.lease import LONGEST_AGE_SECONDS, Lease, living_holder
from features.store.locks import CLAIM, alone, claim, is_running, running

HOLDER = """
import sys, time
from pathlib import Path
from features.store.locks import claim
with claim(Path(sys.argv[1]), "score", "labels.csv") as lease:
    print(repr(lease), flush=True)
    time.sleep(60)
"""
ELSEWHERE = "process 7 on host elsewhere\n0123\n"


@pytest.fixture
def driver(tmp_path):
    """A process that holds a lease, and the lease as its workers have it."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "held")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield process, eval(process.stdout.readline(), {"Lease": Lease})
    process.kill()
    process.communicate()


@pytest.fixture
def quick(monkeypatch):
    """Workers that do not wait long for a driver that wakes."""
    monkeypatch.setattr(module, "_WAKING_SECONDS", 0.5)


def grow_old(lease: Lease) -> None:
    long_ago = time.time() - LONGEST_AGE_SECONDS - 1
    os.utime(lease.path, (long_ago, long_ago))


def test_a_living_driver_renews_its_lease(driver):
    _, lease = driver
    for _ in range(2):
        grow_old(lease)
        lease.check()  # it waits for the renewal
        assert time.time() - os.stat(lease.path).st_mtime < 10
    assert lease.failure() is None
    assert not lease.is_held_here


def test_an_unwritten_renewal_is_waited_for_where_driver_and_worker_slept(driver):
    process, lease = driver
    process.send_signal(signal.SIGSTOP)
    grow_old(lease)
    waking = threading.Timer(1.0, process.send_signal, [signal.SIGCONT])
    started = time.monotonic()
    waking.start()
    lease.check()
    assert time.monotonic() - started > 0.5
    waking.join()


def test_after_the_death_of_the_driver_the_lease_holds_for_its_age_and_no_longer(driver, quick):
    process, lease = driver
    process.kill()
    process.wait()
    lease.check()
    grow_old(lease)
    with pytest.raises(RunError, match=rf"{lease.path}.* was not renewed for \d+ s: the driver, {lease.holder}, was"):
        lease.check()


def test_a_driver_that_ends_takes_its_lease_with_it(tmp_path):
    with pytest.raises(KeyboardInterrupt), claim(tmp_path / "held", "score", "labels.csv") as lease:
        lease.check()
        assert lease.is_held_here
        raise KeyboardInterrupt
    with pytest.raises(RunError, match=f"is not there: the driver, {lease.holder}, has ended, or .*/held is not th"):
        lease.check()
    assert "is not there" in lease.failure()


def test_the_lease_of_the_next_driver_is_not_that_of_the_last(tmp_path):
    with claim(tmp_path / "held", "score", "labels.csv") as first:
        pass
    with claim(tmp_path / "held", "score", "labels.csv") as second:
        second.check()
        with pytest.raises(RunError, match=r"is not that of the driver, .*, any more: .* has taken its place"):
            first.check()
        first.fail("no report of another job")
        assert second.failure() is None


def test_what_no_second_try_mends_ends_all_workers_and_the_first_report_stays(driver):
    _, lease = driver
    other = replace(lease)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "shard")
    with pytest.raises(OSError, match="shard"), lease.working():
        raise full
    assert lease.failure() == "[Errno 28] No space left on device: 'shard'"  # the same host: it is not named
    for _ in range(2):
        with pytest.raises(RunError, match="No space left on device: 'shard'"), other.working():
            pytest.fail("work went on")
        other.fail("a later report")


def test_a_worker_of_another_host_says_where_it_is(tmp_path):
    path = tmp_path / "lease"
    path.write_text(ELSEWHERE)
    lease = Lease(str(path), "process 7 on host elsewhere", "0123", 0)
    lease.fail("no permission")
    assert lease.failure() == f"no permission (in a worker, process {os.getpid()} on host {socket.gethostname()})"
    assert len(path.read_bytes()) < 4096
    path.write_text(ELSEWHERE)
    lease.fail("x" * 10_000)
    assert lease.failure() == "x" * 3_000
    assert len(path.read_bytes()) < 4096


@pytest.mark.parametrize(
    "passing", [ValueError("a fault"), PassingError("no process can be started"), OSError(errno.EIO, "read error")]
)
def test_what_may_pass_is_left_to_the_runner(driver, passing):
    _, lease = driver
    with pytest.raises(type(passing)), lease.working():
        raise passing
    assert lease.failure() is None
    lease.check()


@pytest.mark.parametrize("permanent", [
    RunError("rule"), UsageError("no such model"), PermissionError(errno.EACCES, "Permission denied", "shards"),
    OSError(errno.EDQUOT, "quota"), FileNotFoundError(errno.ENOENT, "No such file", "network"),
])  # fmt: skip
def test_what_cannot_pass_is_reported(driver, permanent):
    _, lease = driver
    with pytest.raises(type(permanent)), lease.working():
        raise permanent
    assert lease.failure() == str(permanent)


def test_what_is_missing_after_the_end_of_the_driver_is_said_to_be_its_end(tmp_path):
    with claim(tmp_path / "held", "score", "labels.csv") as lease:
        pass
    lease_gone = pytest.raises(RunError, match="is not there: the driver")
    with claim(tmp_path / "held", "score", "labels.csv") as lease, lease_gone, lease.working():
        Path(lease.path).unlink()
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "work list")


def test_a_lease_that_cannot_be_looked_at_does_not_hide_what_failed(tmp_path):
    with claim(tmp_path / "held", "score", "labels.csv") as lease:
        with pytest.raises(RunError, match=r"^no space is left$"), lease.working():
            Path(lease.path).unlink()
            Path(lease.path).mkdir()
            raise RunError("no space is left")
        Path(lease.path).rmdir()
        Path(lease.path).touch()


@pytest.mark.parametrize("look", [Lease.check, lambda lease: living_holder(lease.path, elsewhere=False)])
def test_a_folder_may_go_while_its_lease_is_looked_at(look, tmp_path, monkeypatch):
    now_ns = module._now_ns

    def go(folder: str) -> int:
        shutil.rmtree(folder, ignore_errors=True)
        return now_ns(folder)

    monkeypatch.setattr(module, "_now_ns", go)
    with claim(tmp_path / "held", "score", "labels.csv") as lease:
        ended = contextlib.nullcontext() if look is not Lease.check else pytest.raises(RunError, match="is not there")
        with ended:
            assert look(lease) is None


def test_a_report_that_is_cut_off_is_one_line(driver):
    _, lease = driver
    with open(lease.path, "a") as file:
        file.write('{"message": "no sp\n{"message": "no spa')
    assert lease.failure() == 'a worker failed, and its report is cut off: {"message": "no sp'


def test_a_look_leaves_nothing(driver):
    _, lease = driver
    before = os.listdir(os.path.dirname(lease.path))
    grow_old(lease)
    lease.check()
    assert os.listdir(os.path.dirname(lease.path)) == before


def test_a_lease_stays_within_a_full_disk(tmp_path):
    """Its first block is there: that a disk is full can be said on it, which has room for no other file either."""
    script = """
import os, sys
from pathlib import Path
from features.store.locks import claim
with claim(Path(sys.argv[1], "held"), "score", "labels.csv") as lease:
    with open(Path(sys.argv[1], "filler"), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, os.statvfs(sys.argv[1]).f_bavail * os.statvfs(sys.argv[1]).f_frsize)
    try:
        Path(sys.argv[1], "another").touch()
        raise SystemExit("there is room for another file")
    except OSError:
        lease.check()
    lease.fail("no space is left")
    print(lease.failure())
"""
    mount = 'mount -t tmpfs -o size=1m,nr_inodes=4 tmpfs "$0" && exec "$@"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(tmp_path), sys.executable, "-c", script]
    result = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    if "mount:" in result.stderr or "unshare:" in result.stderr:
        pytest.skip(f"a file system cannot be mounted here: {result.stderr.strip()}")
    assert result.stdout == "no space is left\n", result.stderr


def test_a_run_marks_itself_by_a_lease_of_its_own(tmp_path):
    layout = Layout(tmp_path, "tfrecord")
    with running(layout) as first, running(layout) as second:
        assert sorted(map(str, layout.leases())) == sorted([first.path, second.path])
        first.check()
        second.check()
    assert layout.leases() == []
    assert not layout.work_folder.exists()


def test_where_locks_reach_no_other_host_a_living_lease_is_in_the_way(tmp_path):
    layout = Layout(tmp_path, "tfrecord")
    layout.work_folder.mkdir()
    layout.running_lock.touch()
    lease = layout.lease("7-01234567")
    lease.write_text(ELSEWHERE)
    assert is_running(layout)
    refused = pytest.raises(RunError, match=r"a featurize is running into .* \(process 7 on host elsewhere\)")
    with refused, alone(layout):
        pytest.fail("it was alone")
    grow_old(Lease(str(lease), "", "", 0))
    assert not is_running(layout)
    with alone(layout):
        pass

    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / CLAIM).write_text(ELSEWHERE)
    for _ in range(2):
        with (
            pytest.raises(UsageError, match=r"another \(process 7 on host elsewhere\) is at it"),
            claim(folder, "score", "labels.csv"),
        ):
            pytest.fail("it was claimed twice")
        assert (folder / CLAIM).read_text() == ELSEWHERE
    grow_old(Lease(str(folder / CLAIM), "", "", 0))
    with claim(folder, "score", "labels.csv") as held:
        held.check()


def test_the_lease_of_a_killed_run_is_in_nobodys_way_here_and_prune_takes_it(feature_set, tmp_path):
    folder = shutil.copytree(feature_set, tmp_path / "set")
    layout = Layout(folder, "tfrecord")
    layout.work_folder.mkdir(exist_ok=True)
    left = layout.lease("7-01234567")
    left.write_text(f"process 7 on host {socket.gethostname()}\n0123\n")
    gone = prune(folder, 0, 0)
    assert f"work/{left.name}" in [file.path for file in gone.going]
    assert not layout.work_folder.exists()
