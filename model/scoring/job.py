"""The folder of a scoring job: the work list, the network, and a part for each batch.

A part is a file with its checksum. Nothing waits for the disk: a part that a power cut damaged is made again.

The process that plans and joins has claimed the folder of the parts. Workers have not, and those of a driver that was
killed may still write. So all that a worker reads and writes lies in a folder of its job, which is named by a digest of
what its labels follow from: no part of another job is ever joined.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from features.errors import RunError
from features.frontend.windows import Windowing
from features.io.filesystem import Location, filesystem_of
from features.io.parallel import map_ahead
from features.io.unit_file import UnitFile
from features.sources.clips import Source, file_states
from model.inference.front_end_network import NETWORKS
from model.scoring.digest import digest_of
from model.scoring.job_folder import begin_folder, names_in, remove_parts
from model.scoring.part import NOTE_BYTES, Labels, PartNote, note_length, part_content, read_note
from model.scoring.plan import Batch, Plan, read_batch

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_WORK_LIST = "batches.arrow"
PART_ENDING = ".part"


@dataclass(frozen=True)
class JobSettings:
    """What the labels follow from, beside the files and the plan.

    Attributes:
        network: sha256 of the network.
        temperature: of its probabilities.
        executor: name and version of what runs the network.
        windowing: where windows begin, and which last one is kept.
        embeddings: type of the embeddings of windows, None where parts have none.
        versions: of what decodes and computes features.
    """

    network: str
    temperature: float
    executor: str
    windowing: Windowing
    embeddings: str | None
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Parts:
    """The folder of one job, in which its parts lie until they are joined.

    Attributes:
        folder: its path; its name is the job's.
    """

    folder: Location

    @property
    def network(self) -> Location:
        """The file that holds the network for `model.inference.executor`."""
        return self.folder / "network.tflite"

    @property
    def networks(self) -> Location:
        """The folder with the network that the front end runs, where it runs one."""
        return self.folder / NETWORKS

    def unit_name(self, number: int) -> str:
        """Returns the name of the file of a batch but for its ending."""
        return f"{number:08d}"

    def part_path(self, number: int) -> Location:
        """Returns the file whose presence says that a batch is finished."""
        return self.folder / f"{self.unit_name(number)}{PART_ENDING}"

    def unfinished(self, count: int) -> list[int]:
        """Returns the numbers of the batches, of `count`, that are still to be done."""
        there = set(names_in(self.folder))  # one listing, as most often there is none
        begun = [number for number in range(count) if self.part_path(number).name in there]
        finished = {number for number, whole in zip(begun, self.map(self.is_finished, begun), strict=True) if whole}
        return [number for number in range(count) if number not in finished]

    def map(
        self,
        function: Callable[[_Item], _Result],
        items: Iterable[_Item],
        size: Callable[[_Item], int] = lambda _: NOTE_BYTES,
    ) -> Iterator[_Result]:
        """Yields what a function returns of items that it reads parts for; those of a store are waited for at once.

        Args:
            function: what is called.
            items: what it is called with.
            size: about how many bytes a result holds.
        """
        yield from map(function, items) if isinstance(self.folder, Path) else map_ahead(function, items, size)

    def is_finished(self, number: int) -> bool:
        """Returns whether the part of a batch is there, of this job and whole."""
        try:
            self.read(number)
            return True
        except (OSError, RunError):
            return False

    def read_batch(self, number: int) -> Batch:
        """Reads one batch of the work list, which is opened once."""
        return read_batch(self._work_list, number)

    @functools.cached_property
    def _work_list(self) -> UnitFile:
        return UnitFile(self.folder / _WORK_LIST)

    def __getstate__(self) -> dict[str, object]:
        """Returns what another process needs: it opens the work list itself."""
        return {"folder": self.folder}

    def write(self, number: int, labels: Labels) -> None:
        """Writes the part of a batch."""
        path = self.part_path(number)
        with filesystem_of(path).begin(path, durable=False) as file:
            file.write(part_content(self.folder.name, labels))

    def read_note(self, number: int) -> PartNote:
        """Reads the note of a batch; raises `RunError` where it is missing, damaged or of another job."""
        path = self.part_path(number)
        files = filesystem_of(path)
        with self._checked(path):
            content = files.read_range(path, 0, NOTE_BYTES)
            if (length := note_length(content)) > len(content):
                content = files.read_range(path, 0, length)
            return self._own(read_note(content))

    def read(self, number: int) -> Labels:
        """Reads the part of a batch; raises `RunError` where it is missing, damaged or of another job."""
        path = self.part_path(number)
        with self._checked(path):
            content = filesystem_of(path).read(path)
            return self._own(read_note(content)).labels(content[note_length(content) :])

    def _own(self, note: PartNote) -> PartNote:
        if note.job != self.folder.name:
            raise ValueError("it is of another job")
        return note

    @contextlib.contextmanager
    def _checked(self, path: Location) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise RunError(f"{path} is missing or damaged ({error}); run it again") from error


def open_parts(
    folder: Location,
    source: Source,
    plan: Plan,
    settings: JobSettings,
    planning: Location | None = None,
) -> Parts:
    """Finds the parts of a job, or begins it; those of other jobs are removed.

    Args:
        folder: of the parts, which this process has claimed.
        source: the files, whose sizes and times distinguish one job from another.
        plan: of the batches; another decoder may find other windows.
        settings: all else that the labels follow from.
        planning: folder of the planning, which stays as long as the parts.
    """
    parts = Parts(folder / _job_name(source, plan, settings))
    remove_parts(folder, but=(parts.folder, planning))
    begin_folder(parts.folder, _WORK_LIST, plan.write)
    return parts


def _job_name(source: Source, plan: Plan, settings: JobSettings) -> str:
    described = {**asdict(settings), "root": source.root}
    states = file_states(source.clips)
    return digest_of(described, [*states, plan.files, plan.first_windows, plan.num_windows, plan.ends])
