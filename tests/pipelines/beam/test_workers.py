"""What the processes of a local run begin with."""

from pathlib import Path

from features.runtime.threads import ONE_THREAD
from pipelines.beam.workers import Workers
from tests.conftest import wait_until


def test_workers_have_one_thread_before_they_load_anything():
    workers = Workers(1, "featurize")
    try:
        environment = Path(f"/proc/{workers._process.pid}/environ")
        wait_until(lambda: environment.read_bytes())
        variables = dict(line.split(b"=", 1) for line in environment.read_bytes().split(b"\0") if b"=" in line)
        assert {name: variables.get(name.encode()) for name in ONE_THREAD} == dict.fromkeys(ONE_THREAD, b"1")
        assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"} <= ONE_THREAD.keys()
    finally:
        workers.kill()
