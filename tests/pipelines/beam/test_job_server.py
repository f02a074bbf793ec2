"""Runners that hand their jobs to a job server: one that is there, one that is not, one that is started and ended."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from features.errors import RunError, UsageError
from pipelines.beam.options import check_beam_options
from tests.conftest import call, start_command, wait_until
from tests.held import SHARD, held_at
from tests.pipelines.beam.job_server_program import JobServer
from tests.pipelines.conftest import files_of, is_alive

SECONDS = (
    30  # within which wrong use is answered, and a run that was interrupted has ended: a few, and a loaded machine
)
LOOPBACK = "--environment_type=LOOPBACK"


@pytest.fixture(scope="module")
def endpoint():
    server = JobServer()
    port = server.start_grpc_server(0)
    yield f"localhost:{port}"
    server.stop()


@pytest.fixture(scope="module")
def nobody() -> str:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def silent():
    """An address at which something listens and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def jar(tmp_path) -> list[str]:
    """Options of a Flink runner whose jar is in Python."""
    launcher = tmp_path / "java"
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.pipelines.beam.job_server_program "$@"\n')
    launcher.chmod(0o755)
    (tmp_path / "server.jar").touch()
    return ["--runner=FlinkRunner", f"--flink_job_server_jar={tmp_path}/server.jar",
            f"--job_server_java_launcher={launcher}"]  # fmt: skip


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert not list(folder.glob("soundmill-job-server-*"))


def job_servers(folder: Path) -> list[int]:
    """Returns the processes that the jar of `folder` has begun: itself and those that it has started."""
    return [int(entry.name) for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and f"TMPDIR={folder}\0".encode() in read(entry / "environ")
            and (b"job_server_program" in read(entry / "cmdline") or b"sleep\x00600" in read(entry / "cmdline"))
            and is_alive(int(entry.name))]  # fmt: skip


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


PORTABLE = "--runner=PortableRunner"
WRONG = {
    "no endpoint": ([PORTABLE], "--runner=PortableRunner needs --job_endpoint=HOST:PORT"),
    "nobody there": ([PORTABLE, "--job_endpoint={nobody}"], "no job server of Beam answers at {nobody}"),
    "somebody else": ([PORTABLE, "--job_endpoint={silent}"], "no job server of Beam answers at {silent}"),
    "no command": (
        [PORTABLE, "--job_endpoint={endpoint}", "--environment_type=PROCESS"],
        "Option process_command is required for environment type PROCESS",
    ),
    "no command in the file": (
        [PORTABLE, "--job_endpoint={endpoint}", "--environment_type=PROCESS", '--environment_config={{"os": "linux"}}'],
        "--environment_option=process_command=COMMAND",
    ),
    "no JSON": (
        [PORTABLE, "--job_endpoint={endpoint}", "--environment_type=PROCESS", "--environment_config=run.sh"],
        "--environment_type and what belongs to it: Expecting value",
    ),
    "another environment": (
        [PORTABLE, "--job_endpoint={endpoint}", "--environment_type=PROCES"], "Unknown environment type: PROCES"
    ),
    "an option that nobody knows": (
        [PORTABLE, "--job_endpoint={endpoint}", LOOPBACK, "--checkpointing_intervall=3"],
        "unrecognized option --checkpointing_intervall=3: neither soundmill nor Beam nor its job server knows it",
    ),
    "a value that is none": (
        [PORTABLE, "--job_endpoint={endpoint}", LOOPBACK, "--checkpointing_interval=often"],
        "invalid int value: 'often'",
    ),
    "an option that this runner does not know": (
        ["--runner=DirectRunner", "--checkpointing_interval=3"], "neither soundmill nor Beam knows it"
    ),
    "no Flink": (["--runner=FlinkRunner", "--flink_master={nobody}"], "no Flink answers at http://{nobody}"),
    "another server": (["--runner=FlinkRunner", "--flink_master={endpoint}"], "no Flink answers at http://{endpoint}"),
    "a silent server": (["--runner=FlinkRunner", "--flink_master={silent}"], "no Flink answers at http://{silent}"),
    "no master": (["--runner=FlinkRunner", "--flink_master=http://:x"], "--flink_master is HOST:PORT"),
    "no jar": (["--runner=FlinkRunner", "--flink_job_server_jar=/no.jar"], "--flink_job_server_jar is no file: /no"),
    "no Java": (
        ["--runner=FlinkRunner", "--job_server_java_launcher=no-java"],
        "no no-java is here, which runs Beam's job server; install Java",
    ),
    "no network": (
        ["--runner=FlinkRunner", "--jar_cache_dir=/no"], "no jar of Beam's job server is to be had"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_line_within_seconds(case, endpoint, nobody, silent, jar, monkeypatch):
    given, message = WRONG[case]
    places = {"endpoint": endpoint, "nobody": nobody, "silent": silent}
    options = [option.format(**places) for option in given]
    if "FlinkRunner" in options[0] and case != "no Java":
        options += [option for option in jar[1:] if option.partition("=")[0] not in " ".join(options)]
        if case == "no network":
            options = [option for option in options if "jar=" not in option]
            monkeypatch.setenv("https_proxy", f"http://{nobody}")
    started = time.monotonic()
    with pytest.raises(UsageError) as raised:
        check_beam_options(options)
    assert time.monotonic() - started < SECONDS
    assert message.format(**places) in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_an_option_that_only_the_job_server_knows_is_passed_on(endpoint, jar):
    check_beam_options([PORTABLE, f"--job_endpoint={endpoint}", LOOPBACK, "--checkpointing_interval", "3"])
    check_beam_options([*jar, LOOPBACK, "--checkpointing_interval=3"])


@pytest.mark.parametrize("runner", ["a job server that is there", "a job server that is started"])
def test_a_job_server_gives_the_bytes_of_a_local_run(runner, endpoint, jar, old_words, tmp_path, own_temporary_folder):
    options = [PORTABLE, f"--job_endpoint={endpoint}"] if runner == "a job server that is there" else jar
    for name, more in {"local": [], "remote": [*options, LOOPBACK]}.items():
        assert call("pipelines.featurize", "--input", old_words, "--output", tmp_path / name, *more) == 0
    shards = [files_of(tmp_path / name / "shards") for name in ("local", "remote")]
    assert shards[0] == shards[1]
    assert not (tmp_path / "remote" / "work").exists()
    wait_until(lambda: not job_servers(own_temporary_folder))


def test_a_job_server_that_does_not_start_is_one_line(jar, old_words, tmp_path, own_temporary_folder):
    (tmp_path / "fails.jar").touch()
    options = [*jar, f"--flink_job_server_jar={tmp_path}/fails.jar", LOOPBACK]
    with pytest.raises(RunError) as raised:
        call("pipelines.featurize", "--input", old_words, "--output", tmp_path / "set", *options)
    assert str(raised.value) == "Beam's job server did not start: Error: the jar is damaged"
    assert not job_servers(own_temporary_folder)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.trial), signal.SIGKILL])
def test_a_job_server_that_was_started_ends_with_the_driver(number, jar, many_clips, small_spec, tmp_path,
                                                            own_temporary_folder):  # fmt: skip
    output = tmp_path / "set"
    # Workers that live as long as the job server lets them, and not as long as the driver; each waits before its second
    # shard, so that the run is not over before it is looked at.
    worker = held_at(tmp_path, [2], SHARD, "apache_beam.runners.worker.sdk_worker_main")
    process = start_command("pipelines.featurize", "--input", many_clips, "--output", output, "--spec", small_spec,
                            *jar, "--environment_type=beam:env:harness_subprocess_python:v1",
                            f"--environment_config={sys.executable} -m {' '.join(worker)}")  # fmt: skip
    wait_until(lambda: list(output.glob("reports/*.parquet")), seconds=180)
    assert len(job_servers(own_temporary_folder)) == 2
    stopped = time.monotonic()
    os.killpg(process.pid, number)
    said = process.communicate(timeout=SECONDS)[1].splitlines()
    assert time.monotonic() - stopped < SECONDS
    wait_until(lambda: not job_servers(own_temporary_folder))
    wait_until(lambda: not list(own_temporary_folder.glob("soundmill-job-server-*")))
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert [line for line in said if not line.startswith("featurize:")][-2:] == [
            "the job server says that the job is cancelled; workers that are at a unit may still finish it, and begin "
            "no other",
            "interrupted; nothing half-written stands under its final name",
        ]
