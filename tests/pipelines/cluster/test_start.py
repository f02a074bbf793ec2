"""What `python -m pipelines.cluster` answers where there can be no cluster: one line, and nothing is left."""

import json
import os
import re
import socket
import subprocess
import sys

import pytest

from features.errors import RunError, UsageError
from pipelines.cluster.cluster import Cluster
from pipelines.cluster.jars import build_jar, jar_path
from pipelines.cluster.marked import marked
from pipelines.cluster.members import Size
from tests.conftest import run_command
from tests.pipelines.cluster.conftest import free_port


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (("hadoop", 1, 1, 8081), "an engine is flink or spark, not 'hadoop'"),
        (("flink", 0, 1, 8081), "a cluster has TaskManagers and slots, not 0 and 1"),
        (("flink", 2, 0, 8081), "a cluster has TaskManagers and slots, not 2 and 0"),
        (("spark", 2, 1, 8081), "Spark runs in one process here, not in 2"),
        (("flink", 2, 1, 1023), "the first of 5 ports is from 1024 to 65530, not 1023"),
        (("flink", 2, 1, 65_531), "the first of 5 ports is from 1024 to 65530, not 65531"),
    ],
)
def test_a_size_that_cannot_be_is_refused(size, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        Size(*size)


def program(folder, name, text):
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The only folder on the PATH, with a java that answers as Java 17 does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    program(folder, "java", "echo 'openjdk version \"17.0.15\" 2025-04-15' >&2")
    return folder


def test_without_java_it_says_so(path, tmp_path):
    (path / "java").unlink()
    with pytest.raises(
        RunError, match=r"^no java is on the PATH: the cluster needs Java 11 or newer \(17 is tested\)$"
    ):
        Cluster(tmp_path / "cluster").start(Size("flink", 1, 1, free_port()))


@pytest.mark.parametrize(("said", "version"), [('java version "1.8.0_392"', "8"), ('openjdk version "9"', "9")])
def test_an_old_java_is_named_with_its_version(path, tmp_path, said, version):
    program(path, "java", f"echo '{said}' >&2")
    with pytest.raises(
        RunError, match=rf"^the cluster needs Java 11 or newer \(17 is tested\), and .*java is {version}$"
    ):
        Cluster(tmp_path / "cluster").start(Size("flink", 1, 1, free_port()))


def test_without_maven_the_jar_is_named(path, tmp_path):
    jar = jar_path(tmp_path / "jars", "flink")
    with pytest.raises(RunError) as raised:
        build_jar(tmp_path / "jars", "flink")
    assert str(raised.value).startswith(f"{jar} is missing and no mvn is on the PATH to build it")


def test_what_maven_says_is_shown_and_nothing_is_left(path, tmp_path):
    program(path, "mvn", "echo nothing; echo '[ERROR] no such artifact'; echo '[ERROR] at all'; exit 1")
    with pytest.raises(RunError) as raised:
        build_jar(tmp_path / "jars", "spark")
    assert str(raised.value) == "Maven could not build the jar of spark: [ERROR] no such artifact; [ERROR] at all"
    assert list((tmp_path / "jars").iterdir()) == []


def test_a_jar_is_built_once_and_takes_the_place_of_older_ones(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    program(path, "mvn", 'test -f src/main/java/JobServer.java && mkdir target && echo "$@" >target/cluster.jar')
    jars = tmp_path / "jars"
    jars.mkdir()
    for name in ("flink-0.jar", "spark-0.jar"):
        (jars / name).touch()
    jar = build_jar(jars, "flink")
    assert jar.read_text().split()[-2:] == ["flink", "package"]
    assert {entry.name for entry in jars.iterdir()} == {jar.name, "spark-0.jar"}
    program(path, "mvn", "exit 1")
    assert build_jar(jars, "flink") == jar


@pytest.fixture
def jar(path, tmp_path):
    """An empty file in the place of the jar."""
    path = jar_path(tmp_path / "cluster" / "jars", "flink")
    path.parent.mkdir(parents=True)
    path.touch()


def test_a_port_in_use_is_named_with_what_it_is_for(jar, tmp_path):
    size = Size("flink", 1, 1, free_port())
    with socket.create_server(("127.0.0.1", size.job_port)), pytest.raises(UsageError) as raised:
        Cluster(tmp_path / "cluster").start(size)
    first, last = size.port, size.port + 4
    assert str(raised.value) == (
        f"port {size.job_port} (job server) is not free: Address already in use; the cluster takes {first} to {last}, "
        "another --port (make: PORT=) others"
    )


def test_a_process_that_ends_is_named_with_what_it_said_and_all_end(path, jar, tmp_path):
    program(
        path,
        "java",
        """case $* in
-version) echo 'openjdk version "21"' >&2;;
*Cluster*) echo starting; echo 'java.lang.IllegalStateException: no memory'; echo stopped; exit 1;;
*) exec /bin/sleep 60;;
esac""",
    )
    cluster = Cluster(tmp_path / "cluster")
    with pytest.raises(RunError) as raised:
        cluster.start(Size("flink", 2, 1, free_port()))
    log = cluster.log("jobmanager")
    assert str(raised.value) == f"jobmanager has ended: java.lang.IllegalStateException: no memory; see {log}"
    assert cluster.state() is None
    assert not (tmp_path / "cluster" / "tmp").exists()
    assert cluster.log("taskmanager-2").exists()


def test_two_at_once_do_not_start_a_cluster_in_one_folder(path, jar, tmp_path):
    program(path, "java", "case $* in -version) echo 'version \"17\"' >&2;; *) exec /bin/sleep 60;; esac")
    folder = tmp_path / "cluster"
    command = [sys.executable, "-m", "pipelines.cluster", "start", "--folder", folder, "--port", str(free_port())]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as first:
        try:
            while not (folder / "cluster.json").exists():
                assert first.poll() is None, first.stderr.read()
            with pytest.raises(UsageError, match=f"the cluster in {folder} is being started or stopped by another"):
                Cluster(folder).stop()
            mark = json.loads((folder / "cluster.json").read_text())["mark"]
        finally:
            first.send_signal(2)  # Ctrl-C while it waits ends all that it has started
        assert first.wait(30) == 130
    assert marked(mark) == set()
    assert Cluster(folder).state() is None


def test_where_nothing_runs_there_is_nothing_to_stop(tmp_path):
    result = run_command("pipelines.cluster", "stop", "--folder", tmp_path / "none", env={**os.environ})
    assert result.stdout == "0 processes ended\n"
    result = run_command("pipelines.cluster", "status", "--folder", tmp_path / "none", check=False)
    assert (result.returncode, result.stdout) == (1, f"no cluster runs in {tmp_path / 'none'}\n")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("option", ["--taskmanagers", "--slots"])
def test_none_is_not_as_many_as_usual(option, tmp_path):
    result = run_command("pipelines.cluster", "start", "--folder", tmp_path / "none", option, 0, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: a cluster has TaskManagers and slots, not ")
