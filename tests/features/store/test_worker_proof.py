"""What a worker proves: it sees the recordings that the driver saw, and has what the driver computes with."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from features.errors import RunError
from features.store.lease import Lease
from features.store.locks import claim
from features.store.versions import library_versions
from features.store.worker_proof import WorkerProof, make_proof

VERSIONS = {"numpy": "2.2.0", "soxr": "1.0.0", "ffmpeg": "7.0.2"}


@contextlib.contextmanager
def held(folder: Path) -> Iterator[Lease]:
    with claim(folder / "held", "score", "labels.csv") as lease:
        yield lease


def files_in(root: Path, number: int) -> pa.Table:
    root.mkdir()
    for place in range(number):
        (root / f"{place}.wav").write_bytes(bytes(place))
    return pa.table({"path": [f"{place}.wav" for place in range(number)], "size": range(number)})


@pytest.mark.parametrize("number", [0, 1, 2, 15, 16, 17, 100])
def test_what_the_driver_sees_can_be_proven_where_it_is(tmp_path, number):
    proof = make_proof(str(tmp_path / "root"), files_in(tmp_path / "root", number), VERSIONS)
    assert len(proof.probes) == min(3, max(0, number - 1))  # one of no bytes proves nothing
    with held(tmp_path) as lease:
        proof.check(lease, dict(VERSIONS))
    for path, _ in proof.probes[1:]:
        (tmp_path / "root" / path).unlink()  # files may go: one that is there is enough
    proof.check_source()
    for path, size in proof.probes[:1]:
        (tmp_path / "root" / path).write_bytes(bytes(size + 1))  # it is being recorded
        proof.check_source()
        (tmp_path / "root" / path).write_bytes(bytes(size - 1))  # another disk under the same path
        with pytest.raises(RunError, match=rf"does not see the recordings in .*/root, where .* {path} of {size} bytes"):
            proof.check_source()


def test_files_that_the_driver_cannot_read_prove_nothing(tmp_path):
    table = files_in(tmp_path / "root", 3)
    gone = pa.table({"path": ["gone.wav"] * 10, "size": [5] * 10})
    proof = make_proof(str(tmp_path / "root"), pa.concat_tables([gone, table]), VERSIONS)
    assert proof.probes == (("1.wav", 1), ("2.wav", 2))


@pytest.mark.parametrize("here, said", [
    ({**VERSIONS, "numpy": "2.1.0"}, "numpy 2.1.0, not 2.2.0;"),
    ({"numpy": "2.2.0", "soxr": "1.0.0"}, "ffmpeg none, not 7.0.2;"),
    ({**VERSIONS, "executor": "litert 2"}, "executor litert 2, not none;"),
    ({**VERSIONS, "ffmpeg": "6", "soxr": "0.5"}, "ffmpeg 6, not 7.0.2; soxr 0.5, not 1.0.0;"),
])  # fmt: skip
def test_other_versions_are_named_and_no_unit_is_begun(tmp_path, here, said):
    proof = WorkerProof(str(tmp_path), (), VERSIONS)
    with held(tmp_path) as lease:
        for _ in range(2):
            message = rf"process {os.getpid()} on host \S+ has other libraries or decoders .*: {said} install the same"
            with pytest.raises(RunError, match=message):
                proof.check(lease, here)


def test_it_is_proven_once_for_each_run(tmp_path):
    proof = make_proof(str(tmp_path / "root"), files_in(tmp_path / "root", 3), library_versions())
    with held(tmp_path) as lease:
        proof.check(lease, library_versions())
        proof.check(lease, {})
    with held(tmp_path) as lease, pytest.raises(RunError, match="numpy none, not"):
        proof.check(lease, {})


def test_a_worker_computes_on_one_thread_from_then_on_and_a_driver_as_before(tmp_path):
    np.ones((2, 2)) @ np.ones((2, 2))
    before = threads()
    with threadpool_limits(limits=2), held(tmp_path) as lease:
        WorkerProof(str(tmp_path), (), {}).check(lease, {})
        assert threads() == [2] * len(before)
        worker = Lease(lease.path, "process 0 on host elsewhere", "0123", 0)
        WorkerProof(str(tmp_path), (), {}).check(worker, {})
        assert threads() == [1] * len(before)
    threadpool_limits(limits=max(before))


def threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info()]
