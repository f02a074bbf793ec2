"""Planning a scoring of many files: units of files whose headers are read, by whatever runs units, and kept.

What is read lies in a folder of the planning, beside the job's, so that one that was interrupted goes on. A planning is
of the same files, by their sizes and times, the same windows and the same decoders.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import RETRYABLE, RunError
from features.frontend.spec import FeatureSpec
from features.frontend.windows import Windowing
from features.io.entry import AnyPath
from features.io.filesystem import Location, exists, filesystem_of
from features.io.parquet import read_table
from features.io.unit_file import UnitFile, write_units
from features.runtime.log import LOG
from features.sources.clips import Source, file_states
from features.store.lease import Lease
from features.store.versions import library_versions
from features.store.worker_proof import WorkerProof, make_proof
from model.scoring.digest import digest_of
from model.scoring.job_folder import begin_folder, names_in, planning_folder
from model.scoring.plan import HEADERS_SCHEMA, Plan, deal, plan_batches, read_headers
from model.scoring.recordings import RECORDERS_SCHEMA, read_recorders

# Below so many files their headers are read sooner than a folder is made and a runner started.
FILES_IN_UNITS = 10_000
FILES_OF_A_UNIT = 1_000
_FILES = "files.arrow"
_SCHEMA = pa.schema({"path": pa.string()})

ReadUnits = Callable[["PlanJob", Sequence[int]], None]
"""Reads the headers of the files of some units, by their numbers."""


@dataclass(frozen=True)
class PlanJob:
    """What reading the headers of a unit takes beside its number.

    Attributes:
        folder: of the planning, with the list of files and a part for each unit.
        root: where the paths of the files begin.
        spec: the front end.
        windowing: where windows begin, and which last one is kept.
        files: number of files.
        lease: of the run.
        proof: what a worker has to see and to have.
        recorders: whether what recorders say is read too.
    """

    folder: Location
    root: str
    spec: FeatureSpec
    windowing: Windowing
    files: int
    lease: Lease
    proof: WorkerProof
    recorders: bool = False

    def open(self) -> UnitFile:
        """Opens the list of files; raises `RunError` where the run has ended or this process is not like its driver."""
        with self.lease.working():
            self.proof.check(self.lease, library_versions())
            return UnitFile(self.folder / _FILES)

    def read(self, files: UnitFile, number: int) -> None:
        """Reads the headers of a unit of the open list, and writes what they say.

        A part that is there is left as it is, as where a runner tries it again.

        Raises:
            RunError: the run has ended, or the recordings are not to be seen any more.
        """
        with self.lease.working():
            part = self.part_path(number)
            if exists(part):
                return
            paths = files.read(number)[1]["path"].to_pylist()
            headers = read_headers(self.root, paths, self.spec, self.windowing)
            if self.recorders:
                said = read_recorders(self.root, paths)
                headers = pa.table([*headers.columns, *said.columns], schema=self._schema)
            if not RETRYABLE.isdisjoint(headers["reason"].unique().to_pylist()):
                self.proof.check_source()
            with filesystem_of(part).begin(part) as file:
                pq.write_table(headers, pa.PythonFile(file, mode="w"))

    def part_path(self, number: int) -> Location:
        """Returns the file that says what the headers of a unit say."""
        return self.folder / f"{self.unit_name(number)}.parquet"

    def unit_name(self, number: int) -> str:
        """Returns the name of that file but for its ending."""
        return f"{number:08d}"

    @property
    def _schema(self) -> pa.Schema:
        return pa.schema([*HEADERS_SCHEMA, *RECORDERS_SCHEMA]) if self.recorders else HEADERS_SCHEMA

    @property
    def units(self) -> int:
        """Number of units."""
        return -(-self.files // FILES_OF_A_UNIT)

    def num_files(self, number: int) -> int:
        """Returns how many files a unit has: the last one has those that are left."""
        return min(FILES_OF_A_UNIT, self.files - number * FILES_OF_A_UNIT)

    def unfinished(self) -> list[int]:
        """Returns the numbers of the units that are still to be read.

        A unit with a file that may be usable now, as where it was missing, is read again.
        """
        there = set(names_in(self.folder))
        return [number for number in range(self.units)
                if self.part_path(number).name not in there or not self._is_final(number)]  # fmt: skip

    def _is_final(self, number: int) -> bool:
        try:
            reasons = self._part(number)["reason"]
        except RunError:
            return False
        return RETRYABLE.isdisjoint(reasons.unique().to_pylist())

    def reject_reasons(self, number: int) -> list[str]:
        """Returns why headers of a unit that was read cannot be read; raises `RunError` where its part is missing."""
        reasons: list[str] = self._part(number)["reason"].drop_null().to_pylist()
        return reasons

    def headers(self) -> pa.Table:
        """Returns what the headers of all files say, in their order; raises `RunError` where a part is missing."""
        return pa.concat_tables([self._part(number) for number in range(self.units)])

    def _part(self, number: int) -> pa.Table:
        path = self.part_path(number)
        try:
            part = read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise RunError(f"{path} is missing or damaged ({error}); run it again") from error
        if part.schema != self._schema or len(part) != self.num_files(number):
            raise RunError(f"{path} does not say what the headers of its files say; remove {self.folder} and run again")
        return part


class HeadersInTurn:
    """Reads the headers of the files of units, unit after unit."""

    def __init__(self, job: PlanJob) -> None:
        """Opens the list of files; raises what `PlanJob.open` does."""
        self._job, self._files = job, job.open()

    def work(self, number: int) -> None:
        """Reads those of the unit of this number, see `PlanJob.read`."""
        self._job.read(self._files, number)

    def finish(self) -> None:
        """Does nothing: no unit is left begun."""

    def close(self) -> None:
        """Closes the list of files."""
        self._files.close()


def read_here(job: PlanJob, numbers: Sequence[int]) -> None:
    """Reads the units of these numbers in this process."""
    with contextlib.closing(HeadersInTurn(job)) as headers:
        for number in numbers:
            headers.work(number)


def plan_source(
    folder: Location,
    source: Source,
    spec: FeatureSpec,
    windowing: Windowing,
    lease: Lease,
    read: ReadUnits,
    recorders: bool = False,
) -> tuple[Plan, Location | None]:
    """Plans the scoring of a source; a few files at once, many in units.

    Args:
        folder: of the parts, which this process has claimed.
        source: the files.
        spec: the front end.
        windowing: where windows begin, and which last one is kept.
        lease: of the run.
        read: reads the units of these numbers; not called where no header is to be read.
        recorders: whether what recorders say in the headers is wanted too.

    Returns:
        The plan, which is the same whoever made it, and the folder of the planning, None where there is none.

    Raises:
        RunError: headers could not be read by what runs units.
    """
    paths = source.clips["path"]
    if len(paths) < FILES_IN_UNITS:
        plan = plan_batches(source.root, paths.to_pylist(), spec, windowing)
        said = read_recorders(source.root, paths.to_pylist()) if recorders else None
        return replace(plan, recorders=said), None
    windows = {"root": source.root, "spec": spec.fingerprint, "windowing": asdict(windowing), "recorders": recorders}
    name = digest_of({**windows, "versions": library_versions()}, file_states(source.clips))
    proof = make_proof(source.root, source.clips, library_versions())
    job = PlanJob(planning_folder(folder, name), source.root, spec, windowing, len(paths), lease, proof, recorders)
    ends = np.cumsum([job.num_files(number) for number in range(job.units)])

    def write(path: AnyPath) -> None:
        write_units(path, _SCHEMA, ends, lambda first, last: _rows(paths, first, last))

    begin_folder(job.folder, _FILES, write)
    if todo := job.unfinished():
        if len(todo) < job.units:
            there = job.files - sum(map(job.num_files, todo))
            LOG.info("an interrupted run has read the headers of %s of %s files", f"{there:,}", f"{job.files:,}")
        for number in todo:
            filesystem_of(folder).delete(job.part_path(number))
        read(job, todo)
    headers = job.headers()
    said = headers.select(RECORDERS_SCHEMA.names) if recorders else None
    return replace(deal(paths, headers, spec), recorders=said), job.folder


def _rows(paths: pa.ChunkedArray, first: int, last: int) -> pa.Table:
    return pa.table([paths.slice(first, last - first)], schema=_SCHEMA)
