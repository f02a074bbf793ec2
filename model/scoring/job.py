"""The folder of a scoring job: the work list, the network, and a part of the labels for each batch.

A part is two files: scores in the form of the output, and, when these are complete, a note of what was done, with their
checksum. Nothing waits for the disk: a part that a power cut damaged is made again.

The process that plans and joins has claimed the folder of the parts. Workers have not, and those of a driver that was
killed may still write. So all that a worker reads and writes lies in a folder of its job, which is named by a digest of
what its labels follow from: no part of another job is ever joined.
"""

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import google_crc32c

from features.errors import Reject, RunError
from features.frontend.windows import Windowing
from features.io.filesystem import Location, filesystem_of
from features.io.parallel import map_ahead
from features.io.unit_file import UnitFile
from features.sources.clips import Source, file_states
from features.store.versions import library_versions
from model.scoring.digest import digest_of
from model.scoring.job_folder import begin_folder, names_in, remove_parts
from model.scoring.label_forms import LabelsForm
from model.scoring.labels_csv import Labels
from model.scoring.plan import Batch, Plan, read_batch

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_WORK_LIST = "batches.arrow"


@dataclass(frozen=True)
class JobSettings:
    """What the labels follow from, beside the files and the plan.

    Attributes:
        network: sha256 of the network.
        temperature: of its probabilities.
        top: labels per window.
        thresholds: of each class in the order of the network's outputs; less probable labels are left out.
        executor: name and version of what runs the network.
        windowing: where windows begin, and which last one is kept.
    """

    network: str
    temperature: float
    top: int
    thresholds: tuple[float, ...]
    executor: str
    windowing: Windowing


@dataclass(frozen=True)
class PartNote:
    """The note of a part: what came of a batch, and the checksum of its scores.

    Attributes:
        job: name of the job's folder.
        crc32c: CRC-32C of the file of scores.
        scored: number of units that were labelled.
        windows: number of windows labelled of each unit, 0 of a reject.
        rejects: files that could not be used: path, stage, reason and message.
        warnings: of units that were labelled all the same, with the same fields.
    """

    job: str
    crc32c: int
    scored: int
    windows: list[int]
    rejects: list[Reject]
    warnings: list[Reject]

    def to_json(self) -> str:
        """Returns the text of the note's file."""
        rows = {"rejects": _to_rows(self.rejects), "warnings": _to_rows(self.warnings)}
        return json.dumps({**vars(self), **rows})

    @classmethod
    def from_json(cls, text: str | bytes) -> "PartNote":
        """Reads what `to_json` wrote; raises `ValueError` for anything else."""
        try:
            values = json.loads(text)
            return cls(
                job=values["job"],
                crc32c=values["crc32c"],
                scored=values["scored"],
                windows=values["windows"],
                rejects=_from_rows(values["rejects"]),
                warnings=_from_rows(values["warnings"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the note of a part: {error!r}") from error


def _to_rows(rejects: Iterable[Reject]) -> list[list[str]]:
    return [[reject.path, reject.stage, reject.reason, reject.message] for reject in rejects]


def _from_rows(rows: Iterable[Sequence[str]]) -> list[Reject]:
    return [Reject(path=path, stage=stage, reason=reason, message=message) for path, stage, reason, message in rows]


@dataclass(frozen=True)
class Parts:
    """The folder of one job, in which its parts lie until they are joined.

    Attributes:
        folder: its path; its name is the job's.
        form: of the scores.
    """

    folder: Location
    form: LabelsForm

    @property
    def network(self) -> Location:
        """The file that holds the network for `model.inference.executor`."""
        return self.folder / "network.tflite"

    def unit_name(self, number: int) -> str:
        """Returns how the names of the files of a batch begin."""
        return f"{number:08d}"

    def note_path(self, number: int) -> Location:
        """Returns the file whose presence says that a batch is finished."""
        return self.folder / f"{self.unit_name(number)}.json"

    def _scores_path(self, number: int) -> Location:
        return self.folder / f"{self.unit_name(number)}{self.form.ending}"

    def unfinished(self, count: int) -> list[int]:
        """Returns the numbers of the batches, of `count`, that are still to be done."""
        there = set(names_in(self.folder))  # one listing, as most often there is none
        begun = [number for number in range(count) if self.note_path(number).name in there]
        finished = {number for number, whole in zip(begun, self.map(self.is_finished, begun), strict=True) if whole}
        return [number for number in range(count) if number not in finished]

    def map(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """Yields what a function returns of items that it reads parts for; those of a store are waited for at once."""
        yield from map(function, items) if isinstance(self.folder, Path) else map_ahead(function, items)

    def is_finished(self, number: int) -> bool:
        """Returns whether the part of a batch is there, of this job and whole."""
        try:
            self.read_scores(number, PartNote.from_json(_read(self.note_path(number))))
            return True
        except (OSError, ValueError, RunError):
            return False

    def read_batch(self, number: int) -> Batch:
        """Reads one batch of the work list, which is opened once."""
        return read_batch(self._work_list, number)

    @functools.cached_property
    def _work_list(self) -> UnitFile:
        return UnitFile(self.folder / _WORK_LIST)

    def __getstate__(self) -> dict[str, object]:
        """Returns what another process needs: it opens the work list itself."""
        return {"folder": self.folder, "form": self.form}

    def write(self, number: int, labels: Labels, top: int) -> None:
        """Writes the part of a batch, its note last.

        Args:
            number: of the batch.
            labels: what came of it.
            top: labels per window.
        """
        crc32c = _write(self._scores_path(number), self.form.part(labels.scores, top))
        note = PartNote(
            job=self.folder.name,
            crc32c=crc32c,
            scored=labels.scored,
            windows=labels.windows,
            rejects=labels.rejects,
            warnings=labels.warnings,
        )
        _write(self.note_path(number), note.to_json().encode())

    def read_note(self, number: int) -> PartNote:
        """Reads the note of a batch; raises `RunError` where it is missing or damaged."""
        path = self.note_path(number)
        try:
            return PartNote.from_json(_read(path))
        except (OSError, ValueError) as error:
            raise RunError(f"{path} is missing or damaged ({error}); run it again") from error

    def read_scores(self, number: int, note: PartNote) -> bytes:
        """Returns the scores of a batch; raises `RunError` where they are not those of its note, or of another job."""
        path = self._scores_path(number)
        scores = _read(path)
        if (note.job, note.crc32c) != (self.folder.name, google_crc32c.value(scores)):
            raise RunError(f"{path} is damaged or of another job; remove {self.folder} and run it again")
        return scores


def _read(path: Location) -> bytes:
    return filesystem_of(path).read(path)


def _write(path: Location, content: bytes) -> int:
    """Writes a file whole, and returns the CRC-32C of its bytes."""
    with filesystem_of(path).begin(path, durable=False) as file:
        file.write(content)
    return file.crc32c


def open_parts(
    folder: Location,
    form: LabelsForm,
    source: Source,
    plan: Plan,
    settings: JobSettings,
    planning: Location | None = None,
) -> Parts:
    """Finds the parts of a job, or begins it; those of other jobs are removed.

    Args:
        folder: of the parts, which this process has claimed; it is of one output, and so of one form.
        form: of the scores.
        source: the files, whose sizes and times distinguish one job from another.
        plan: of the batches; another decoder may find other windows.
        settings: all else that the labels follow from.
        planning: folder of the planning, which stays as long as the parts.
    """
    parts = Parts(folder / _job_name(source, plan, settings), form)
    remove_parts(folder, but=(parts.folder, planning))
    begin_folder(parts.folder, _WORK_LIST, plan.write)
    return parts


def _job_name(source: Source, plan: Plan, settings: JobSettings) -> str:
    described = {**asdict(settings), "root": source.root, "versions": library_versions()}
    states = file_states(source.clips)
    return digest_of(described, [*states, plan.files, plan.first_windows, plan.num_windows, plan.ends])
