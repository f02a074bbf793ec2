"""Handler and DoFn of scoring, shared by threads of one process, as where a runner has several slots a process."""

import contextlib
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import soundfile
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from features.errors import RunError
from features.frontend.windows import Windowing
from features.sources.folder import scan
from features.store.locks import claim
from features.store.versions import library_versions
from features.store.worker_proof import make_proof
from model.inference.artifact import read_description, read_litert
from model.inference.executor import EXECUTORS, executor_version
from model.scoring.job import JobSettings, open_parts
from model.scoring.label_windows import LabelJob, scoring_versions
from model.scoring.plan import Batch, WindowUnit
from pipelines.beam.label_windows import LabelWindows, WindowHandler, _WritePart
from tests.model.scoring.jobs import plan_of
from tests.pipelines.conftest import files_of
from tests.signals import noise, sine, write_wav

THREADS = 4
WINDOWING = Windowing(least_seconds=0.05)
UNITS = [WindowUnit("a.wav", 0, 3), WindowUnit("b.flac", 0, 2), WindowUnit("cut.flac", 0, 4),
         WindowUnit("long.wav", 1, 5), WindowUnit("silent.wav", 0, 1), WindowUnit("missing.wav", 0, 1)]  # fmt: skip
BATCHES: list[Batch] = [UNITS[:3], UNITS[3:], UNITS[1:4], [UNITS[4], UNITS[0]]]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Files that are read in this process and others that a decoder process reads, one truncated and one silent."""
    root = tmp_path_factory.mktemp("recordings") / "source"
    write_wav(root / "a.wav", noise(40_000))
    write_wav(root / "long.wav", np.concatenate([sine(300, 48_000), noise(48_000)]))
    write_wav(root / "silent.wav", np.zeros(16_000, np.float32))
    for name in ("b.flac", "cut.flac"):
        soundfile.write(root / name, noise(64_000, seed=len(name)), 16_000)
    content = (root / "cut.flac").read_bytes()
    (root / "cut.flac").write_bytes(content[: len(content) * 2 // 3])
    return root


@contextlib.contextmanager
def job_in(folder: Path, recordings: Path, run: Path, executor: str) -> Iterator[LabelJob]:
    """Opens a job below `folder` whose own folder has the same name wherever it is."""
    description = read_description(run)
    source = scan(str(recordings), labelled=False)
    settings = JobSettings(
        description.network_sha256, 1.0, executor_version(executor), WINDOWING, None, library_versions(description.spec)
    )
    with claim(folder, "score", "labels.csv") as lease:
        parts = open_parts(folder, source, plan_of(BATCHES), settings)
        parts.network.write_bytes(read_litert(run, description))
        proof = make_proof(source.root, source.clips, scoring_versions(executor, description.spec))
        yield LabelJob(parts, description, source.root, executor, WINDOWING, lease, proof)


@pytest.fixture(scope="module", params=EXECUTORS)
def executor(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def of_one_thread(executor, recordings, run_folder, tmp_path_factory) -> dict[str, bytes]:
    with job_in(tmp_path_factory.mktemp("one") / "parts", recordings, run_folder, executor) as job:
        handler, writer = WindowHandler(job), _WritePart(job)
        network = handler.load_model()
        for number in range(len(BATCHES)):
            assert list(label(handler, network, writer, number)) == [number]
        assert job.parts.unfinished(len(BATCHES)) == []
        files = files_of(job.parts.folder)
    for number, word in enumerate((b'"truncated"', b'"missing"', b'"truncated"', b'"silent"')):
        assert word in files[f"{number:08d}.part"]
    return files


def written(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Returns what changes of each file where it is written again, which is not when it was read."""
    return {path: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for path in folder.iterdir() for stat in [path.stat()]}


def label(handler: WindowHandler, network: object, writer: _WritePart, number: int) -> Iterator[int]:
    for result in handler.run_inference([number], network):
        yield from writer.process(result)


def test_four_threads_write_the_parts_of_one(executor, of_one_thread, recordings, run_folder, tmp_path):
    """Each labels all batches: a runner that takes a slow attempt for lost begins a second one in the same process."""
    together = threading.Barrier(THREADS)

    def work(numbers: Sequence[int]) -> None:
        for number in numbers:
            together.wait(60)
            assert list(label(handler, network, writer, number)) == [number]

    numbers = range(len(BATCHES))
    # The first two go through the same batches side by side, the others through others.
    orders = [numbers, numbers, [*numbers[2:], *numbers[:2]], numbers[::-1]]
    with job_in(tmp_path / "parts", recordings, run_folder, executor) as job:
        handler, writer = WindowHandler(job), _WritePart(job)
        network = handler.load_model()
        with ThreadPoolExecutor(THREADS) as pool:
            for done in [pool.submit(work, order) for order in orders]:
                done.result()
        assert files_of(job.parts.folder) == of_one_thread


def test_a_worker_of_four_threads_writes_the_parts_of_one(executor, of_one_thread, recordings, run_folder, tmp_path):
    options = PipelineOptions(direct_num_workers=THREADS, direct_running_mode="multi_threading")
    with job_in(tmp_path / "parts", recordings, run_folder, executor) as job:
        with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
            _ = pipeline | beam.Create([[0, 2], [1], [3]], reshuffle=True) | LabelWindows(job)
        assert files_of(job.parts.folder) == of_one_thread


def test_a_batch_that_is_tried_again_is_found_finished_and_one_that_is_damaged_is_not(recordings, run_folder, tmp_path):
    with job_in(tmp_path / "parts", recordings, run_folder, "litert") as job:
        handler, writer = WindowHandler(job), _WritePart(job)
        network = handler.load_model()
        assert list(label(handler, network, writer, 0)) == [0]
        before = written(job.parts.folder)
        files = files_of(job.parts.folder)
        assert job.label(network, 0) is None
        assert list(label(handler, network, writer, 0)) == [0]
        assert written(job.parts.folder) == before
        part = job.parts.part_path(0)
        content = part.read_bytes()
        # Cut off, and of another job.
        for spoiled in (content[:-1], content.replace(job.parts.folder.name.encode(), b"0" * 64)):
            part.write_bytes(spoiled)
            assert list(label(handler, network, writer, 0)) == [0]
        assert files_of(job.parts.folder) == files


def test_a_worker_that_does_not_see_the_recordings_ends_the_run_and_rejects_nothing(recordings, run_folder, tmp_path):
    root = Path(shutil.copytree(recordings, tmp_path / "source"))
    with job_in(tmp_path / "parts", root, run_folder, "litert") as job:
        network = job.load_network()
        root.rename(tmp_path / "elsewhere")
        with pytest.raises(RunError, match=f"does not see the recordings in {root}, where the driver saw a.wav of "):
            job.label(network, 0)
        assert job.parts.unfinished(len(BATCHES)) == [0, 1, 2, 3]
        (tmp_path / "elsewhere").rename(root)
        with pytest.raises(RunError, match="does not see the recordings"):  # it was reported: the run has failed
            job.label(network, 0)
    with job_in(tmp_path / "parts", root, run_folder, "litert") as job:
        other = replace(job, proof=replace(job.proof, versions={**job.proof.versions, "executor": "litert 0.1"}))
        with pytest.raises(RunError, match=r"executor litert \S+, not litert 0.1; install the same versions"):
            other.load_network()


def test_after_the_end_of_the_driver_nothing_is_labelled_and_nothing_written(recordings, run_folder, tmp_path):
    with job_in(tmp_path / "parts", recordings, run_folder, "litert") as job:
        handler, writer = WindowHandler(job), _WritePart(job)
        network = handler.load_model()
        labels = job.label(network, 0)
        before = files_of(job.parts.folder)
    for work in (lambda: list(label(handler, network, writer, 1)), lambda: job.write(0, labels), handler.load_model):
        with pytest.raises(RunError, match=r"is not there: the driver, .* nothing more is written in this worker"):
            work()
    assert files_of(job.parts.folder) == before
