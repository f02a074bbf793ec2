"""Shards built in turn, so that the latency of an object store passes while one of them is computed."""

import contextlib
from concurrent.futures import Future

from features.audio.remote import ReadAhead
from features.io.filesystem import is_uri
from features.io.parallel import start
from features.io.unit_file import UnitFile
from features.update.build_job import BuildJob
from features.update.shard_builder import ComputedShard, UnitWork, compute_shard, read_ahead
from features.update.work_list import ShardUnit, read_unit


class ShardsInTurn:
    """Builds the shards of a run by their numbers, as `BuildJob.build` does.

    Where a store is asked, the recordings of a unit are on their way while the one before it is computed, and a shard
    is written while the next one is computed. One unit is begun and one is written at a time: a worker holds the
    recordings of two units, 64 MiB of each at most.
    """

    def __init__(self, job: BuildJob) -> None:
        """Opens the work list; raises what `BuildJob.open` does."""
        self._job = job
        self._work_list: UnitFile = job.open()
        self._asks = is_uri(job.root) or not job.layout.files.is_local
        self._next: _Begun | None = None
        self._written: Future[None] | None = None

    def work(self, number: int) -> None:
        """Builds a shard now, or begins with it and builds the one before it.

        Raises what `BuildJob.build` does, also of a unit before this one.
        """
        if not self._asks:
            self._job.build(self._work_list, number)
            return
        with self._job.lease.working():
            unit = read_unit(self._work_list, number)
            before, self._next = self._next, _Begun(self._job, unit)
        self._go_on_with(before)

    def finish(self) -> None:
        """Ends with all shards written; raises what `work` does."""
        before, self._next = self._next, None
        self._go_on_with(before)
        self._wait()

    def _go_on_with(self, begun: "_Begun | None") -> None:
        if begun is None:
            return
        computed = begun.compute()
        try:
            self._wait()
        except BaseException:
            if computed is not None:
                computed.discard()
            raise
        if computed is not None:
            self._written = start(self._write, computed)

    def _write(self, computed: ComputedShard) -> None:
        try:
            with self._job.lease.working():
                computed.write()
        finally:
            computed.discard()

    def _wait(self) -> None:
        written, self._written = self._written, None
        if written is not None:
            written.result()

    def close(self) -> None:
        """Leaves what was begun and not finished, and closes the work list."""
        if self._next is not None:
            self._next.leave()
        with contextlib.suppress(Exception):  # where it was asked for, `finish` has said so
            self._wait()
        self._work_list.close()


class _Begun:
    """A unit whose recordings are on their way, unless it is finished."""

    def __init__(self, job: BuildJob, unit: ShardUnit) -> None:
        self._job, self._unit = job, unit
        self._ahead = start(self._begin)

    def _begin(self) -> ReadAhead | None:
        # After the loss of a worker a runner gives out again what was finished: no recording of that is asked for.
        return None if self._job.is_finished(self._unit.name) else read_ahead(self._unit, self._job.root)

    def compute(self) -> ComputedShard | None:
        """Computes it and returns what writes it, None where it is finished."""
        job, unit = self._job, self._unit
        try:
            with job.lease.working(), job.progress_of(unit.name) as progress:
                ahead = self._ahead.result()
                if ahead is None:
                    return None
                work = UnitWork(unit, job.root, ahead, progress)
                return compute_shard(work, job.layout, job.spec, job.policies, check_source=job.proof.check_source)
        finally:
            self.leave()

    def leave(self) -> None:
        """Asks for no more of it."""
        if not self._ahead.cancel():
            with contextlib.suppress(Exception):  # where it was asked for, `compute` has said so
                if (ahead := self._ahead.result()) is not None:
                    ahead.close()
