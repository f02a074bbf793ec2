"""What the processes of a local run begin with."""

import json
from pathlib import Path

from features.runtime.threads import ONE_THREAD
from pipelines.local.workers import Workers
from tests.conftest import run_command, wait_until
from tests.pipelines.local import notes


def test_workers_that_are_started_have_one_thread_before_they_load_anything():
    workers = Workers()
    try:
        environment = Path(f"/proc/{workers.process}/environ")
        wait_until(lambda: environment.read_bytes())
        variables = dict(line.split(b"=", 1) for line in environment.read_bytes().split(b"\0") if b"=" in line)
        assert {name: variables.get(name.encode()) for name in ONE_THREAD} == dict.fromkeys(ONE_THREAD, b"1")
        assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"} <= ONE_THREAD.keys()
    finally:
        workers.end()


def test_a_command_forks_them_of_itself_and_loads_nothing_twice(tmp_path):
    run_command("tests.pipelines.local.notes", tmp_path)
    said = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.json"))]
    assert len(said) == notes.UNITS
    assert {one["command"] for one in said} == {said[0]["driver_command"]}, "no other program was started"
    assert {one["grandparent"] for one in said} == {said[0]["driver"]}
    assert len({one["process"] for one in said}) == 2
    assert all(one["modules"] for one in said), "they were loaded before the workers were forked"
    assert not any(one["ctrl_c"] for one in said)
