"""The part of a unit: one file with what a network says of its windows, and what became of its recordings.

It is a header (a mark, the length of the note and its CRC-32C), the note as JSON, and the columns one after the other:
starts and ends in seconds as float64, probabilities as float32, embeddings where there are any, all little-endian.
"""

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from features.errors import Reject
from model.labels.window_rows import WindowRows

_MARK = b"SMwindow"
_HEADER = struct.Struct("<8sII")
NOTE_BYTES = 2**14
"""So much of a part most often has its note."""


@dataclass(frozen=True, eq=False)
class Labels:
    """What came of some units.

    Attributes:
        windows: number of windows labelled of each unit, 0 of a reject.
        start_seconds: where each window begins, float64 of shape (windows,), in the order of the units.
        end_seconds: where it really ends.
        probabilities: of each class, float32 of shape (windows, classes).
        embeddings: of shape (windows, size), or None.
        rejects: files that could not be used; none of their windows is among these.
        warnings: of units that were labelled all the same, a reject's fields each; a unit may have several.
        scored: number of units that were labelled.
        known: of how many of them the features were taken from a set.
    """

    windows: list[int]
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]
    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.floating] | None
    rejects: list[Reject]
    warnings: list[Reject]
    scored: int
    known: int = 0

    def rows(self, paths: Sequence[str]) -> WindowRows:
        """Returns the windows; `paths` are those of the units."""
        counts = np.array(self.windows, np.int64)
        return WindowRows(paths, counts, self.start_seconds, self.end_seconds, self.probabilities, self.embeddings)


@dataclass(frozen=True)
class PartNote:
    """The note of a part: what it is of, and all but the columns.

    Attributes:
        job: name of the job's folder.
        crc32c: CRC-32C of the columns.
        classes: number of classes of which there are probabilities.
        embedding: type and size of the embedding of a window, such as `<f4` and 128; None where there is none.
        scored: as in `Labels`, as are the following.
        known: of how many units the features were taken from a set.
        windows: number of windows labelled of each unit, 0 of a reject.
        rejects: files that could not be used: path, stage, reason and message.
        warnings: of units that were labelled all the same, with the same fields.
    """

    job: str
    crc32c: int
    classes: int
    embedding: tuple[str, int] | None
    scored: int
    known: int
    windows: list[int]
    rejects: list[Reject]
    warnings: list[Reject]

    @property
    def num_bytes(self) -> int:
        """Bytes of the columns."""
        return sum(self.windows) * sum(np.dtype(kind).itemsize * size for kind, size in self._columns)

    @property
    def _columns(self) -> list[tuple[str, int]]:
        columns = [("<f8", 1), ("<f8", 1), ("<f4", self.classes)]
        return columns if self.embedding is None else [*columns, self.embedding]

    def to_json(self) -> str:
        """Returns the text of the note."""
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
                classes=values["classes"],
                embedding=tuple(values["embedding"]) if values["embedding"] else None,
                scored=values["scored"],
                known=values["known"],
                windows=values["windows"],
                rejects=_from_rows(values["rejects"]),
                warnings=_from_rows(values["warnings"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the note of a part: {error!r}") from error

    def labels(self, columns: bytes) -> Labels:
        """Returns what came of the units; raises `ValueError` where these are not the columns of the note."""
        if len(columns) != self.num_bytes or google_crc32c.value(columns) != self.crc32c:
            raise ValueError("its columns are not those of its note")
        windows, first = sum(self.windows), 0
        found = []
        for kind, size in self._columns:
            found.append(np.frombuffer(columns, kind, windows * size, first).reshape(windows, size))
            first += found[-1].nbytes
        start_seconds, end_seconds, probabilities, *embeddings = found
        return Labels(
            windows=self.windows,
            start_seconds=start_seconds[:, 0],
            end_seconds=end_seconds[:, 0],
            probabilities=probabilities,
            embeddings=embeddings[0] if embeddings else None,
            rejects=self.rejects,
            warnings=self.warnings,
            scored=self.scored,
            known=self.known,
        )


def part_content(job: str, labels: Labels) -> bytes:
    """Returns the content of the file of a part; `job` is the name of the job's folder."""
    embeddings = labels.embeddings
    columns: list[NDArray[np.floating]] = [labels.start_seconds, labels.end_seconds, labels.probabilities]
    if embeddings is not None:
        columns.append(embeddings)
    content = b"".join(np.ascontiguousarray(column, column.dtype.newbyteorder("<")).tobytes() for column in columns)
    note = PartNote(
        job=job,
        crc32c=google_crc32c.value(content),
        classes=labels.probabilities.shape[1],
        embedding=None if embeddings is None else (embeddings.dtype.newbyteorder("<").str, embeddings.shape[1]),
        scored=labels.scored,
        known=labels.known,
        windows=labels.windows,
        rejects=labels.rejects,
        warnings=labels.warnings,
    )
    text = note.to_json().encode()
    return _HEADER.pack(_MARK, len(text), google_crc32c.value(text)) + text + content


def note_length(content: bytes) -> int:
    """Returns up to where the note of a part goes; raises `ValueError` where this is not how a part begins."""
    if len(content) < _HEADER.size or not content.startswith(_MARK):
        raise ValueError("not a part of a scoring, or it was cut off")
    return _HEADER.size + int(_HEADER.unpack_from(content)[1])


def read_note(content: bytes) -> PartNote:
    """Returns the note of a part from its first `note_length` bytes, or more; raises `ValueError` for a damaged one."""
    text = content[_HEADER.size : note_length(content)]
    _, length, crc32c = _HEADER.unpack_from(content)
    if (len(text), google_crc32c.value(text)) != (length, crc32c):
        raise ValueError("its note is damaged")
    return PartNote.from_json(text)


def _to_rows(rejects: Iterable[Reject]) -> list[list[str]]:
    return [[reject.path, reject.stage, reject.reason, reject.message] for reject in rejects]


def _from_rows(rows: Iterable[Sequence[str]]) -> list[Reject]:
    return [Reject(path=path, stage=stage, reason=reason, message=message) for path, stage, reason, message in rows]
