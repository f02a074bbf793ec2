"""featurize and score on Flink give the bytes of a local run, and do nothing twice."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import call, run_command
from tests.pipelines.cluster.conftest import Engine
from tests.pipelines.cluster.jobs import set_files

pytestmark = pytest.mark.cluster
FEW = 12  # clips of a word


@pytest.fixture(scope="module")
def few_words(data, tmp_path_factory) -> Path:
    """Some clips of each word, and the official lists."""
    source, root = data / "speech_commands_8words", tmp_path_factory.mktemp("few") / "words"
    for folder in sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("_")):
        (root / folder.name).mkdir(parents=True)
        for clip in sorted(folder.iterdir())[:FEW]:
            shutil.copy2(clip, root / folder.name)
    for name in ("testing_list.txt", "validation_list.txt"):
        listed = (source / name).read_text(encoding="utf-8").splitlines()
        (root / name).write_text("".join(f"{line}\n" for line in listed if (root / line).exists()), encoding="utf-8")
    return root


def check_featurize(engine: Engine, source: Path, storage_format: str, folder: Path) -> None:
    arguments = ("--input", source, "--format", storage_format, "--output")
    assert call("pipelines.featurize", *arguments, folder / "local", "--workers", 1) == 0
    engine.run("pipelines.featurize", *arguments, folder / "set")
    assert set_files(folder / "set") == set_files(folder / "local")
    assert not list((folder / "set").rglob("*.partial"))


def check_score(engine: Engine, model: Path, source: Path, folder: Path) -> None:
    arguments = ("--model", model, "--input", source, "--output")
    assert call("pipelines.score", *arguments, folder / "local.csv", "--workers", 1) == 0
    engine.run("pipelines.score", *arguments, folder / "labels.csv")
    for end in ("csv", "rejects.csv", "warnings.csv"):
        assert (folder / f"labels.{end}").read_bytes() == (folder / f"local.{end}").read_bytes()
    assert not list(folder.glob("*.parts"))


@pytest.mark.data
@pytest.mark.parametrize("storage_format", ["tfrecord", pytest.param("parquet", marks=pytest.mark.trial)])
def test_featurize_gives_the_bytes_of_a_local_run(flink, few_words, tmp_path, storage_format):
    check_featurize(flink, few_words, storage_format, tmp_path)
    summary = tmp_path / "summary.json"
    arguments = ("--input", few_words, "--format", storage_format, "--output", tmp_path / "set", "--summary", summary)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set" / "shards").iterdir()}
    said = flink.run("pipelines.featurize", *arguments)
    assert "running on" not in said  # nothing is to be done: no job
    assert json.loads(summary.read_text())["computed"] == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "set" / "shards").iterdir()} == before


@pytest.mark.data
def test_score_gives_the_bytes_of_a_local_run_and_sends_no_jar(flink, run_folder, data, tmp_path):
    """Beam's job server would send its jar to each process, which would keep it for an hour: 157 MB a job."""
    before = temporary_bytes(flink)
    check_score(flink, run_folder, data / "field_recordings", tmp_path)
    assert temporary_bytes(flink) - before < 5_000_000  # Flink notes what became of each job


def temporary_bytes(engine: Engine) -> int:
    """Returns the size of what the processes of a cluster have written but their logs."""
    size = 0
    for path in (engine.folder / "tmp").rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # they remove some themselves
            size += path.stat().st_size
    return size


@pytest.fixture(scope="module")
def four_slots(engine) -> Engine:
    """One TaskManager of four slots."""
    return engine("flink", 1, 4)


@pytest.mark.parametrize(
    ("command", "processes"),
    [
        ("featurize", 1),
        ("score", 4),
        pytest.param("featurize", 4, marks=pytest.mark.trial),
        pytest.param("score", 1, marks=pytest.mark.trial),
    ],
)
def test_four_slots_of_one_taskmanager_give_the_bytes_of_a_local_run(
    four_slots, make_job, unbroken, tmp_path, command, processes
):
    """Four tasks are threads of one Python process, or each has its own."""
    job = make_job(command, tmp_path)
    options = [option for option in four_slots.options if "parallelism" not in option]
    run_command(job.module, *job.words, *options, f"--sdk_worker_parallelism={processes}", timeout=600)
    assert job.content() == unbroken[command]


@pytest.mark.data
@pytest.mark.trial
@pytest.mark.parametrize("storage_format", ["tfrecord", "parquet"])
def test_all_words_and_recordings_give_the_bytes_of_a_local_run(flink, run_folder, data, tmp_path, storage_format):
    check_featurize(flink, data / "speech_commands_8words", storage_format, tmp_path)
    check_score(flink, run_folder, data / "speech_commands_8words", tmp_path)
