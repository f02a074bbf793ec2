"""Shards in turn: what is on its way while another is computed, and what comes of it where the run ends meanwhile."""

import contextlib
import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.errors import RunError
from features.io.filesystem import filesystem_of, place
from features.io.temporary import temporary_folder
from features.sources.policies import DEFAULTS
from features.store.locks import running
from features.store.versions import library_versions
from features.store.worker_proof import make_proof
from features.update import build_in_turn
from features.update.build_in_turn import ShardsInTurn
from features.update.build_job import BuildJob
from tests.conftest import wait_until
from tests.features.examples import TINY, new_set, prepared
from tests.object_store.upload import upload
from tests.signals import noise, write_wav


@contextlib.contextmanager
def job_of(source: str, folder: str) -> Iterator[BuildJob]:
    """A run up to where its workers begin."""
    update = prepared(source, place(folder), TINY)
    assert len(update.todo) == 3
    with running(update.layout) as lease:
        work_list = update.layout.work_list("1")
        update.write_work_list(work_list)
        proof = make_proof(update.source.root, update.changes.clips, library_versions())
        yield BuildJob(str(work_list), update.layout, update.source.root, TINY, DEFAULTS, None, lease, proof)


@pytest.fixture
def source(tmp_path, s3) -> str:
    """Clips of three partitions, and so of three units."""
    for number in range(30):
        write_wav(tmp_path / "words" / "yes" / f"{number:08x}_nohash_0.wav", noise(80, seed=number))
    return upload(tmp_path / "words", f"{s3.uri}/words")


def test_the_next_unit_is_on_its_way_and_the_last_one_is_written_while_one_is_computed(source, s3, monkeypatch):
    """Seen by who waits for whom: a unit is computed when the next has begun, and before the last is written."""
    begun, computed, may_write = [], [], threading.Event()
    read_ahead, compute, write = (
        build_in_turn.read_ahead,
        build_in_turn.compute_shard,
        build_in_turn.ComputedShard.write,
    )

    def compute_and_note(work, *rest, **named):
        computed.append(len(job.layout.reported()))
        wait_until(lambda: len(begun) == min(len(computed) + 1, 3))
        if len(computed) > 1:
            may_write.set()
        return compute(work, *rest, **named)

    def write_late(shard):
        assert may_write.wait(30)
        return write(shard)

    monkeypatch.setattr(build_in_turn, "read_ahead", lambda *given: begun.append(given) or read_ahead(*given))
    monkeypatch.setattr(build_in_turn, "compute_shard", compute_and_note)
    monkeypatch.setattr(build_in_turn.ComputedShard, "write", write_late)
    with job_of(source, f"{s3.uri}/set") as job, contextlib.closing(ShardsInTurn(job)) as shards:
        for number in range(3):
            shards.work(number)
        shards.finish()
        assert computed[1] == 0, "it is computed, and the one before it is not written"
        assert len(job.layout.reported()) == 3
        for number in range(3):
            shards.work(number)
        shards.finish()
        assert len(computed) == len(begun) == 3, "what is finished is left as it is, and its recordings are not read"


def test_where_the_driver_has_ended_what_was_computed_is_not_written(source, s3, monkeypatch):
    ended, compute = [], build_in_turn.compute_shard

    def compute_and_end(*given, **named):
        shard = compute(*given, **named)
        filesystem_of(job.lease.path).write(job.lease.path, b"process 1 on host other\nanother's token\n")
        monkeypatch.setattr("features.store.lease_objects._SEEN_SECONDS", 0.0)
        ended.append(shard)
        return shard

    monkeypatch.setattr(build_in_turn, "compute_shard", compute_and_end)
    with job_of(source, f"{s3.uri}/set") as job:
        shards, before = ShardsInTurn(job), set(Path(temporary_folder()).iterdir())
        with pytest.raises(RunError, match="is not that of the driver"):
            shards.work(0)
            shards.work(1)
            shards.finish()
        shards.close()
        assert len(ended) == 1
        assert not list(job.layout.files.list(job.layout.shards_folder))
        assert not job.layout.reported()
        assert set(Path(temporary_folder()).iterdir()) == before, "nothing is left of what was computed"


def test_where_a_shard_cannot_be_written_nothing_is_left_of_the_next_one(source, s3, monkeypatch):
    def fail(shard):
        raise OSError(errno.EIO, "the store answers no more")

    monkeypatch.setattr(build_in_turn.ComputedShard, "write", fail)
    with job_of(source, f"{s3.uri}/set") as job:
        shards, before = ShardsInTurn(job), set(Path(temporary_folder()).iterdir())
        with pytest.raises(OSError, match="the store answers no more"):
            for number in range(3):
                shards.work(number)
        shards.close()
        assert set(Path(temporary_folder()).iterdir()) == before


def test_a_folder_is_written_as_each_shard_is_asked_for(tmp_path):
    for number in range(30):
        write_wav(tmp_path / "words" / "yes" / f"{number:08x}_nohash_0.wav", noise(80, seed=number))
    new_set(tmp_path / "set")
    words, folder = str(tmp_path / "words"), str(tmp_path / "set")
    with job_of(words, folder) as job, contextlib.closing(ShardsInTurn(job)) as shards:
        for number in range(3):
            shards.work(number)
            assert len(job.layout.reported()) == number + 1
        shards.finish()
