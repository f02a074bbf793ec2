"""Clusters for the tests: a jar an engine, built once and kept in the checkout, and processes on free ports."""

import random
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from features.errors import RunError
from pipelines.cluster.cluster import Cluster, State
from pipelines.cluster.jars import build_jar, jar_path
from pipelines.cluster.members import Size
from tests.conftest import call, run_command, start_command
from tests.pipelines.cluster.jobs import Job, MakeJob

ROOT = Path(__file__).parents[3]
JARS = ROOT / ".cluster" / "jars"


def free_port(count: int = 5) -> int:
    """Returns the first of so many ports that nobody listens on, below those that the system gives by itself."""
    for _ in range(100):
        first = random.randrange(20_000, 32_000, count)
        with socket.socket() as probe:
            if all(probe.connect_ex(("127.0.0.1", first + number)) for number in range(count)):
                return first
    raise AssertionError("no ports are free")


class Engine:
    """A cluster that runs, and its options for a command."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.cluster, self.folder, self.size = Cluster(folder), folder, size

    def start(self) -> State:
        """Starts what does not run."""
        return self.cluster.start(self.size)

    @property
    def options(self) -> list[str]:
        """What runs a command on it."""
        return self.cluster.options(self.size)

    def run(self, module: str, *arguments: object) -> str:
        """Runs a command on it; returns what it said on standard error."""
        return run_command(module, *arguments, *self.options, timeout=600).stderr

    def start_job(self, job: Job) -> subprocess.Popen:
        """Starts a job on it."""
        return start_command(job.module, *job.words, *self.options)


@pytest.fixture(scope="session")
def engine(tmp_path_factory) -> Iterator[Callable[..., Engine]]:
    """Starts clusters, which end with the tests; skips a test, and says why, where there can be none."""
    started: list[Engine] = []

    def start(kind: str, taskmanagers: int, slots: int) -> Engine:
        if shutil.which("java") is None:
            pytest.skip("no java is on the PATH: there is no cluster to test with")
        if not jar_path(JARS, kind).exists():
            try:
                build_jar(JARS, kind)
            except RunError as error:
                pytest.skip(f"there is no cluster to test with: {error}")
        folder = tmp_path_factory.mktemp("cluster")
        (folder / "jars").symlink_to(JARS)
        started.append(Engine(folder, Size(kind, taskmanagers, slots, free_port())))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.cluster.stop()


@pytest.fixture(scope="session")
def flink(engine) -> Engine:
    """JobManager, two TaskManagers of one slot and job server; a test that ends one of them starts it again."""
    return engine("flink", 2, 1)


@pytest.fixture(scope="session")
def make_job(many_clips, small_spec, run_folder) -> MakeJob:
    """Jobs of twelve shards, or of seven batches of windows: enough that one can be stopped in the middle."""

    def make(command: str, folder: Path) -> Job:
        if command == "featurize":
            return Job("pipelines.featurize", ("--input", many_clips, "--spec", small_spec), folder / "set")
        return Job("pipelines.score", ("--input", many_clips / "high", "--model", run_folder), folder / "labels.csv")

    return make


@pytest.fixture(scope="session")
def unbroken(make_job, tmp_path_factory) -> dict[str, dict[str, bytes]]:
    """What each job makes in one process of this machine."""
    folder = tmp_path_factory.mktemp("unbroken")
    jobs = {command: make_job(command, folder) for command in ("featurize", "score")}
    for job in jobs.values():
        assert call(job.module, *job.words, "--workers", 1) == 0
    return {command: job.content() for command, job in jobs.items()}
