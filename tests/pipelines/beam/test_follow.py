"""The progress of a job, as the files tell it that its workers leave, whatever runs them."""

import dataclasses
import json
import logging
import os
import signal
import threading

import pytest

from features.io.filesystem import filesystem_of, place
from features.runtime.unit_progress import progress_path, units_at_work
from features.store.layout import Layout
from pipelines.beam import follow as module
from pipelines.beam.follow import Units, _Follower, follow
from tests.conftest import start_command, wait_until
from tests.object_store.faults import Faults

WEIGHTS = {"a": 100, "b": 50, "c": 1}


class Seen:
    """What a progress line was told last, in place of a terminal."""

    is_due = True

    def __init__(self) -> None:
        self.told: tuple[int, str] | None = None

    def update(self, done: int, note: str = "") -> None:
        self.told = done, note

    def close(self) -> None:
        pass


@pytest.fixture
def units(tmp_path) -> Units:
    (tmp_path / "reports").mkdir()
    (tmp_path / "work").mkdir()

    def rejects(name: str) -> list[str]:
        return json.loads((tmp_path / "reports" / f"{name}.json").read_text())

    return Units(tmp_path / "reports", ".json", WEIGHTS, rejects, tmp_path / "work" / "units-1.arrow", elsewhere=True)


@pytest.fixture
def seen(units) -> tuple[Seen, _Follower]:
    result = Seen()
    return result, _Follower(result, units)


def finish(units: Units, name: str, *reasons: str) -> None:
    (units.folder / f"{name}.json").write_text(json.dumps(reasons))


def say(units: Units, name: str, done: int, *reasons: str, worker: str = "process 1 on host a") -> None:
    rejects = {reason: reasons.count(reason) for reason in reasons}
    progress_path(units.job, name).write_text(json.dumps({"worker": worker, "done": done, "rejects": rejects}))


def test_what_is_finished_and_what_is_at_work_is_summed(units, seen):
    line, follower = seen
    follower.look()
    assert line.told == (0, "")
    say(units, "a", 10)
    follower.look()
    assert line.told == (10, "")
    say(units, "a", 40, "damaged", "empty", "empty")
    say(units, "b", 0)
    say(units, "of an earlier job", 7, "damaged")
    finish(units, "of another run", "damaged")
    follower.look()
    assert line.told == (40, ", 3 rejected (2 empty, 1 damaged)")
    finish(units, "a", "damaged", "empty", "empty", "silent")  # its worker has not taken its file away yet
    follower.look()
    assert line.told == (100, ", 4 rejected (2 empty, 1 damaged, 1 silent)")
    finish(units, "b")
    finish(units, "c")
    (units.folder / "c.json").write_text("damaged")  # it is found when the run is put together, and not here
    follower.look()
    follower.look()
    assert line.told == (151, ", 4 rejected (2 empty, 1 damaged, 1 silent)")


def test_a_unit_that_another_worker_begins_again_is_told_and_counted_anew(units, seen, caplog):
    caplog.set_level(logging.INFO, "soundmill")
    line, follower = seen
    say(units, "a", 60)
    say(units, "b", 9)
    follower.look()
    say(units, "a", 5, worker="process 2 on host b")
    follower.look()
    follower.look()
    assert line.told == (14, "")
    say(units, "b", 1, worker="process 2 on host b")
    follower.look()  # so soon after the first it is not told
    again = "begun again in another process: a worker was lost, or the runner has restarted the job"
    assert caplog.messages == [f"warning: 1 unit {again}"]


def test_a_unit_whose_worker_says_no_more_and_that_is_not_seen_to_be_finished_counts_on(units, seen):
    """As in a store, where a shard is written when the unit is computed, and looked for every five seconds."""
    line, follower = seen
    say(units, "a", 60, "empty")
    follower.look()
    progress_path(units.job, "a").unlink()
    say(units, "b", 2)
    follower.look()
    assert line.told == (62, ", 1 rejected (1 empty)")
    finish(units, "a", "empty")
    follower.look()
    assert line.told == (102, ", 1 rejected (1 empty)")


def test_that_no_worker_has_begun_is_told_once_in_a_while(units, seen, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "soundmill")
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    follower = seen[1]
    for seconds, count in [(14, 0), (16, 1), (17, 1), (70, 1), (80, 2)]:
        monkeypatch.setattr(module.time, "monotonic", lambda seconds=seconds: now + seconds)
        follower.look()
        assert caplog.messages == ["waiting for a worker: none has begun yet"] * count
    here = _Follower(Seen(), dataclasses.replace(units, elsewhere=False))
    say(units, "a", 0)
    monkeypatch.setattr(module.time, "monotonic", lambda: now + 1_000)
    follower.look()
    progress_path(units.job, "a").unlink()
    here.look()  # workers of our own need not be waited for
    assert len(caplog.messages) == 2


def test_units_that_say_nothing_while_at_work(units, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "soundmill")
    line = Seen()
    follower = _Follower(line, dataclasses.replace(units, job=None))
    say(units, "a", 10)
    monkeypatch.setattr(follower, "_silent_at", 0.0)
    follower.look()
    assert caplog.messages == ["waiting for the first unit to be finished"]  # a worker may well be at it
    finish(units, "b", "empty")
    follower.look()
    assert line.told == (50, ", 1 rejected (1 empty)")


def test_a_look_that_goes_on_when_the_job_has_ended_reads_no_more(units, seen):
    follower = seen[1]
    for name in WEIGHTS:
        finish(units, name)
    read = []

    def end(name: str) -> list[str]:
        follower.ended.set()
        read.append(name)
        return []

    follower._units = dataclasses.replace(units, rejects=end)
    follower.look()
    assert len(read) == 1
    follower.look()
    assert len(read) == 1, "nor does it list"


@pytest.mark.parametrize(
    ("due", "elsewhere", "looks"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_where_nothing_is_told_nothing_is_read(units, monkeypatch, due, elsewhere, looks):
    """Workers of this machine need the time; of those elsewhere it is said too that none has begun."""
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.01)
    finish(units, "a", "empty")
    line, read = Seen(), threading.Event()
    line.is_due = due
    seen = dataclasses.replace(units, elsewhere=elsewhere, rejects=lambda _: read.set() or ["empty"])
    with follow(line, seen):
        assert read.wait(60 if looks else 0.2) == looks


def test_of_units_in_a_store_many_are_read_at_once(s3, units, through):
    files, folder, faults = filesystem_of(s3.uri), f"{s3.uri}/reports", Faults(latency_seconds=0.2)
    for number in range(20):
        files.write(f"{folder}/unit-{number}.json", json.dumps(["empty"] * (number % 2)))
    weights = {f"unit-{number}": 1 for number in range(19)}
    line = Seen()
    with through(faults):
        rejects = lambda name: json.loads(files.read(f"{folder}/{name}.json"))  # noqa: E731 - as it is one line
        _Follower(line, Units(place(folder), ".json", weights, rejects)).look()
    assert line.told == (19, ", 9 rejected (9 empty)")
    assert faults.most_at_once > 10
    assert faults.requests.total() == 21, "whether the bucket is there, the listing, and each once"


def test_with_the_job_its_files_go(units):
    say(units, "a", 10)
    before = set(threading.enumerate())
    with follow(Seen(), units):
        [thread] = set(threading.enumerate()) - before  # one of a test before this one may end meanwhile
        assert len(dict(units_at_work(units.job))) == 1
    assert not thread.is_alive()
    assert dict(units_at_work(units.job)) == {}


def test_worker_processes_say_how_far_they_are_within_a_shard(many_clips, tmp_path):
    spec = tmp_path / "slow.toml"  # on a fast machine too: what is said once a second is said some times a shard
    spec.write_text('preset = "log-mel"\nfront_end = "mfcc"\ncoefficients = 13\nhop_samples = 8\n')
    layout = Layout(tmp_path / "set", "tfrecord")
    process = start_command("pipelines.featurize", "--input", many_clips, "--output", layout.root,
                            "--spec", spec, "--workers", 2)  # fmt: skip
    told: set[int] = set()

    def look() -> bool:
        for job in layout.work_folder.glob("units-*.arrow"):
            told.update(unit.done for _, unit in units_at_work(job))
        return len(told) >= 3 or process.poll() is not None

    wait_until(look)
    assert len(told) >= 3
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not list(layout.work_folder.glob("*.progress"))
