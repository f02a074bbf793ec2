"""What a worker takes to build the shards of a run, and when it may."""

from dataclasses import dataclass
from pathlib import Path

from features.frontend.spec import FeatureSpec
from features.io.unit_file import UnitFile
from features.runtime.unit_progress import UnitProgress, progress_path
from features.sources.policies import Policies
from features.store.layout import Layout
from features.store.lease import Lease
from features.store.unit_report import is_finished
from features.store.versions import library_versions
from features.store.worker_proof import WorkerProof
from features.update.work_list import read_unit


@dataclass(frozen=True)
class BuildJob:
    """What building the shards of a work list takes beside their numbers.

    Attributes:
        work_list: file of the units, see `features.update.work_list`.
        layout: of the feature set.
        root: where the clips' paths begin.
        spec: the front end.
        policies: whether clips that have a warning are used.
        changed_decoder: whose rows are computed anew, see `features.store.decoders.outdated`.
        lease: of the run.
        proof: what a worker has to see and to have.
        progress: beside which workers of this host say how far they are, see `features.runtime.unit_progress`; None
            where nobody reads it.
    """

    work_list: str
    layout: Layout
    root: str
    spec: FeatureSpec
    policies: Policies
    changed_decoder: str | None
    lease: Lease
    proof: WorkerProof
    progress: Path | None = None

    def open(self) -> UnitFile:
        """Opens the work list; raises `RunError` where the run has ended, or this process is not like its driver."""
        with self.lease.working():
            self.proof.check(self.lease, library_versions(self.spec))
            return UnitFile(self.work_list)

    def build(self, work_list: UnitFile, number: int) -> bool:
        """Builds the shard of this number; returns whether anything was done.

        A unit that is finished is left as it is; one that this run has finished also where time may heal its rejects: a
        runner tries units again that were lost with a worker, and others with them.

        Raises:
            RunError: the run has ended, and nothing was written; the recordings are not to be seen any more; or what
                `build_shard` raises.
        """
        from features.update.shard_builder import build_shard  # it loads what decodes and computes

        with self.lease.working():
            unit = read_unit(work_list, number)
            if self.is_finished(unit.name):
                return False
            with self.progress_of(unit.name) as progress:
                return build_shard(
                    unit, self.layout, self.root, self.spec, self.policies,
                    progress=progress, check_source=self.proof.check_source,
                )  # fmt: skip

    def is_finished(self, unit: str) -> bool:
        """Returns whether a unit of this name is left as it is, see `build`."""
        return is_finished(self.layout, unit, self.changed_decoder, self.lease.began_ns)

    def progress_of(self, unit: str) -> UnitProgress:
        """Returns what is told how far a unit is."""
        return UnitProgress(None if self.progress is None else progress_path(self.progress, unit))
