import json
import os
import threading
import time
from pathlib import Path

import pytest

from features.io.atomic import PARTIAL_SUFFIX, writer_name
from features.runtime.unit_progress import (
    UNSEEN,
    UnitAtWork,
    UnitProgress,
    progress_path,
    remove_progress,
    units_at_work,
)
from features.store.layout import LEFTOVERS, Layout, kind_of

UNIT = "training-0123456789abcdef01234567"


@pytest.fixture
def job(tmp_path) -> Path:
    """A work list beside that of another job."""
    path = Layout(tmp_path, "tfrecord").work_list("17-0a1b2c3d")
    path.parent.mkdir()
    path.touch()
    path.with_name("units-17-0a1b2c3e.arrow").touch()
    return path


@pytest.fixture(autouse=True)
def nothing_was_said(monkeypatch):
    monkeypatch.setattr(UnitProgress, "_written", threading.local())


def at_work(job: Path) -> dict[str, UnitAtWork]:
    return dict(units_at_work(job))


def test_what_a_worker_says_is_read_by_the_driver_of_its_job_alone(job):
    other = job.with_name("units-17-0a1b2c3e.arrow")
    with UnitProgress(progress_path(job, UNIT)) as progress:
        assert at_work(job) == {}
        progress.say(3, ["damaged", None, "empty", "damaged"])
        (unit,) = at_work(job).items()
        assert unit[0] == UNIT
        assert (unit[1].done, unit[1].rejects) == (3, {"damaged": 2, "empty": 1})
        assert f"process {os.getpid()} on host " in unit[1].worker
        assert at_work(other) == {}
        remove_progress(other)
        assert len(at_work(job)) == 1
    assert at_work(job) == {}
    assert len(os.listdir(job.parent)) == 2


def test_it_is_said_once_a_second_by_each_thread_whatever_the_unit(job, monkeypatch):
    written, now = [], [time.monotonic()]
    monkeypatch.setattr("features.runtime.unit_progress.time.monotonic", lambda: now[0])
    monkeypatch.setattr("features.runtime.unit_progress.write_file", lambda path, *_, **__: written.append(path.name))
    asked = []
    for name in ("a", "b"):
        with UnitProgress(progress_path(job, name)) as progress:
            for done in range(100):
                progress.say(done, (asked.append(done) for _ in range(1)))
    assert written == ["units-17-0a1b2c3d-a.progress"]
    assert asked == [0], "why clips were rejected is looked at only where it is said"

    def work() -> None:
        with UnitProgress(progress_path(job, "c")) as progress:
            progress.say(1, [])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert written[1:] == ["units-17-0a1b2c3d-c.progress"]
    now[0] += 1.01
    with UnitProgress(progress_path(job, "d")) as progress:
        progress.say(1, [])
    assert written[2:] == ["units-17-0a1b2c3d-d.progress"]


@pytest.mark.parametrize("content", [b"", b'{"worker": "a"', b"[]", b'{"worker": "a", "done": "many", "rejects": {}}'])
def test_what_cannot_be_read_is_passed_over(job, content):
    progress_path(job, UNIT).write_bytes(content)
    progress_path(job, "other").write_text(json.dumps({"worker": "a", "done": 1, "rejects": {}}))
    assert at_work(job) == {"other": UnitAtWork("a", 1, {})}
    remove_progress(job)
    assert at_work(job) == {}
    assert len(os.listdir(job.parent)) == 2


def test_what_cannot_be_written_ends_nothing(tmp_path):
    job = tmp_path / "gone" / "units-1.arrow"
    with UnitProgress(progress_path(job, UNIT)) as progress:
        progress.say(1, [])
    assert at_work(job) == {}
    remove_progress(job)


def test_a_unit_that_nobody_follows_says_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with UNSEEN as progress:
        progress.say(1, [])
    assert os.listdir() == []


def test_what_a_killed_worker_leaves_is_a_leftover_of_the_set(job):
    name = progress_path(job, UNIT).name
    assert kind_of("work", name) == LEFTOVERS
    assert kind_of("work", f"{name}.{writer_name()}{PARTIAL_SUFFIX}") == LEFTOVERS
    assert kind_of("work", f"mine-{UNIT}.progress") is None
