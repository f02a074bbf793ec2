"""The shards of a run, as its workers build them: while the driver lives, and no longer."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from features.errors import RunError
from features.sources.policies import DEFAULTS
from features.store.layout import Layout
from features.store.locks import running
from features.store.versions import library_versions
from features.store.worker_proof import make_proof
from features.update.build_job import BuildJob
from features.update.work_list import read_unit
from tests.features.examples import TINY, prepared
from tests.features.test_prune import tree
from tests.signals import noise, write_wav


@pytest.fixture
def source(tmp_path) -> Path:
    """Clips of two partitions, and so of two units at least."""
    for number in range(12):
        write_wav(tmp_path / "words" / "yes" / f"{number:08x}_nohash_0.wav", noise(80, seed=number))
    return tmp_path / "words"


@contextlib.contextmanager
def job_of(source: Path, folder: Path) -> Iterator[BuildJob]:
    """A run up to where its workers begin."""
    update = prepared(source, folder, TINY)
    assert len(update.todo) > 1
    update.layout.make_folders()
    with running(update.layout) as lease:
        work_list = update.layout.work_list("1")
        update.write_work_list(work_list)
        proof = make_proof(str(source), update.changes.clips, library_versions())
        yield BuildJob(str(work_list), update.layout, str(source), TINY, DEFAULTS, None, lease, proof)


def test_after_the_end_of_the_driver_no_unit_is_built(source, tmp_path):
    with job_of(source, tmp_path / "set") as job:
        work_list = job.open()
        assert job.build(work_list, 0)
        Path(job.work_list).unlink()  # as the driver does before it ends
    before = tree(tmp_path / "set")
    assert len(job.layout.reported()) == 1
    for work in (lambda: job.build(work_list, 1), job.open, lambda: job.build(work_list, 0)):
        with pytest.raises(RunError, match=r"lease-.* is not there: the driver, process \d+ on host .* has ended"):
            work()
    assert tree(tmp_path / "set") == before


def test_a_finished_unit_is_left_as_it_is(source, tmp_path):
    with job_of(source, tmp_path / "set") as job:
        work_list = job.open()
        assert job.build(work_list, 0)
        before = tree(tmp_path / "set")
        for clip in read_unit(work_list, 0).clips:
            (source / clip.path).unlink()  # nothing is read
        assert not job.build(work_list, 0)
        assert tree(tmp_path / "set") == before


def test_a_unit_that_is_tried_again_is_found_finished_whatever_its_rejects(source, tmp_path):
    """What time may heal is tried again by the next run, and once only by that."""
    folder = tmp_path / "set"
    for _ in range(2):
        with job_of(source, folder) as job:
            work_list = job.open()
            for clip in read_unit(work_list, 0).clips:
                (source / clip.path).rename((source / clip.path).with_suffix(".gone"))
            assert job.build(work_list, 0)
            before = tree(folder)
            assert not job.build(work_list, 0)
            assert tree(folder) == before
            [report] = [name for name in before if name.startswith("reports/")]
            assert pq.read_table(folder / report)["reason"].unique().to_pylist() == ["missing"]
            (folder / report).write_bytes(before[report][0][:-1])  # damaged, as by a power cut
            assert job.build(work_list, 0)
            assert tree(folder)[report][0] == before[report][0]
            for clip in source.rglob("*.gone"):
                clip.rename(clip.with_suffix(".wav"))


def test_a_unit_that_finds_no_permission_ends_the_run(source, tmp_path):
    with job_of(source, tmp_path / "set") as job:
        work_list = job.open()
        shutil.rmtree(job.layout.shards_folder)
        with pytest.raises(FileNotFoundError):
            job.build(work_list, 0)
        assert "shards" in job.lease.failure()
        job.layout.shards_folder.mkdir()
        with pytest.raises(RunError, match="shards"):
            job.build(work_list, 1)
        assert Layout(tmp_path / "set", "tfrecord").reported() == set()


def test_a_disk_that_goes_away_on_the_way_is_an_error_and_no_reject(source, tmp_path):
    folder = tmp_path / "set"
    with job_of(source, folder) as job:
        work_list = job.open()
        source.rename(source.with_name("elsewhere"))
        source.mkdir()  # as the place of a mount is left
        with pytest.raises(RunError, match=rf"does not see the recordings in {source}, where the driver saw yes/"):
            job.build(work_list, 0)
        assert job.layout.reported() == set()
        assert "does not see the recordings" in job.lease.failure()


def test_times_of_a_mount_that_keeps_whole_seconds_are_those_of_the_driver(source, tmp_path):
    with job_of(source, tmp_path / "set") as job:
        work_list = job.open()
        first, *others = [source / clip.path for clip in read_unit(work_list, 0).clips]
        for path in others:
            seconds = path.stat().st_mtime_ns // 10**9
            os.utime(path, (seconds, seconds))
        os.utime(first, ns=(first.stat().st_mtime_ns + 2 * 10**9,) * 2)
        assert job.build(work_list, 0)
        [report] = (tmp_path / "set" / "reports").iterdir()
        rows = pq.read_table(report)
        assert rows["reason"].to_pylist() == ["vanished", *[None] * len(others)]
        # What the report says is what was listed: with that the next run compares.
        assert rows["mtime_ns"].to_pylist() == [clip.mtime_ns for clip in read_unit(work_list, 0).clips]
