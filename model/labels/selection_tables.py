"""Files that programs for sound open beside a recording: Raven's selection tables, and Audacity's label tracks.

One file a recording, in a folder beside the labels, named by the recording's path and `.txt`. A recording without a
line has one too, so that it is told from one that could not be used: a selection table with nothing but its header, or
an empty label track.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import google_crc32c
import pyarrow as pa

from features.errors import UsageError
from features.io.atomic import PARTIAL_SUFFIX, naming_full_disk
from features.io.filesystem import filesystem_of, is_uri, join
from features.io.parallel import map_ahead
from features.sources.paths import clip_file, escape_path

RAVEN, AUDACITY = SELECTION_FORMS = ("raven", "audacity")
_ENDING = ".txt"
# Names of 255 bytes are the most that file systems take; what is written beside one first has a longer name.
_MOST_NAME_BYTES = 200
_RAVEN_OWN = ("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)",
              "Begin Path", "File Offset (s)", "Annotation")  # fmt: skip
_RAVEN_TITLES = {
    "probability": "Probability",
    "rank": "Rank",
    "peak_probability": "Peak Probability",
    "mean_probability": "Mean Probability",
    "windows": "Windows",
}
_LINE_COLUMNS = ("path", "start_seconds", "end_seconds", "label")
_ONE_CELL = str.maketrans("\t\r\n", "   ")
_IN_HEXADECIMAL = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


@dataclass(frozen=True)
class SelectionForm:
    """How the files of a folder are written.

    Attributes:
        name: one of `SELECTION_FORMS`.
        root: where the paths of recordings begin, which Raven opens by their whole path.
        high_hz: the highest frequency that the network's features have.
    """

    name: str
    root: str
    high_hz: float

    def header(self, columns: Sequence[str]) -> str:
        """Returns the first line of a file of lines with these columns; an Audacity label track has none."""
        if self.name == AUDACITY:
            return ""
        return "\t".join([*_RAVEN_OWN, *map(_raven_title, columns)]) + "\n"

    def lines(self, path: str, rows: Mapping[str, Sequence[Any]]) -> Iterator[str]:
        """Yields the lines of a recording; every number that is not a whole one has a decimal point.

        Raven's tables have all columns of the rows. Audacity's labels have no line of frequencies, all alike: readers
        mix up tracks of which some have one.
        """
        starts, ends, labels = (rows[name] for name in _LINE_COLUMNS[1:])
        if self.name == AUDACITY:
            for start, end, label in zip(starts, ends, labels, strict=True):
                yield f"{start:.6f}\t{end:.6f}\t{_cell(label)}\n"
            return
        place = _cell(_place_text(clip_file(self.root, path)))
        columns = [values for name, values in rows.items() if name not in _LINE_COLUMNS]
        further = zip(*columns, strict=True) if columns else [()] * len(labels)
        lines = zip(starts, ends, labels, further, strict=True)
        for number, (start, end, label, values) in enumerate(lines, start=1):
            box = [f"{start:.6f}", f"{end:.6f}", "0.0", f"{self.high_hz:.1f}"]
            cells = [str(number), "Spectrogram 1", "1", *box, place, box[0], _cell(label), *map(_value, values)]
            yield "\t".join(cells) + "\n"


def check_selection_forms(names: Sequence[str]) -> None:
    """Raises `UsageError` where `--labels` names what is no form, or names one twice."""
    for name in names:
        if name not in SELECTION_FORMS:
            raise UsageError(f"--labels is one of {', '.join(SELECTION_FORMS)}, not {name!r}")
    if len(set(names)) < len(names):
        raise UsageError(f"--labels names a form once, not {' and '.join(names)}")


def selection_file(path: str) -> str:
    r"""Returns the name, relative to the folder, of the file of a recording; no two recordings have the same one.

    It is the path as it is and `.txt`. So that it stays in the folder and that no folder has the name of a file, the
    parts `.`, `..` and those that are empty, as at the beginning of an absolute path, are written in hexadecimal, as
    are control characters and the dot of a folder whose name ends in `.txt`. A part of more than 200 bytes ends in
    the SHA-256 of all of it.

    Args:
        path: of the recording, escaped: a backslash of its own stands there twice.
    """
    *folders, name = path.translate(_IN_HEXADECIMAL).split("/")
    return "/".join([*map(_folder_part, folders), _short(_folder_part(name) if name in ("", ".", "..") else name)
                     + _ENDING])  # fmt: skip


def _folder_part(name: str) -> str:
    if name in ("", ".", ".."):
        return "".join(f"\\x{ord(character):02x}" for character in name or "/")
    return _short(name.removesuffix(_ENDING) + "\\x2etxt" if name.endswith(_ENDING) else name)


def _short(name: str) -> str:
    encoded = name.encode()
    if len(encoded) <= _MOST_NAME_BYTES:
        return name
    digest = hashlib.sha256(encoded).hexdigest()
    return encoded[: _MOST_NAME_BYTES - 32].decode(errors="ignore") + "\\" + digest[:31]


class SelectionTables:
    """The files of all recordings in one folder, which appear when they are finished and not before.

    They are written into a folder of their own first. In the place of an older folder they come one after the other,
    and files of it that belong to no recording any more leave. It is used in a `with` block by one process at a time;
    nothing is left of files that are not finished there.

    Attributes:
        folder: of the files, a path or a URI.
        checksums: CRC-32C of each file that was written, by the path of its recording.
    """

    def __init__(self, folder: str, form: SelectionForm) -> None:
        """Nothing is written before the block begins.

        Args:
            folder: of the files, a path or a URI.
            form: how they are written.
        """
        self.folder = folder
        self.checksums: dict[str, int] = {}
        self._form = form
        self._kept: set[str] = set()
        self._made: set[Path] = set()

    @property
    def form(self) -> str:
        """Which of `SELECTION_FORMS` its files have."""
        return self._form.name

    def append(self, paths: Sequence[str], rows: pa.Table) -> None:
        """Writes the files of recordings.

        Args:
            paths: of the recordings, escaped, each whole and not written before.
            rows: their lines, in the same order: `path`, `start_seconds`, `end_seconds`, `label`, and further columns.
        """
        header = self._form.header([name for name in rows.column_names if name not in _LINE_COLUMNS])
        of_path = _rows_of(rows["path"])
        columns = rows.to_pydict()
        with naming_full_disk(self.folder):
            for path in paths:
                file = self._staged / selection_file(path)
                if file.parent not in self._made:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    self._made.add(file.parent)
                some = of_path.get(path, slice(0))
                lines = self._form.lines(path, {name: values[some] for name, values in columns.items()})
                content = (header + "".join(lines)).encode()
                file.write_bytes(content)
                self.checksums[path] = google_crc32c.value(content)

    def keep(self, paths: Iterable[str]) -> None:
        """Has the files of recordings stay as they are in the folder, where an earlier scoring wrote them.

        Raises:
            UsageError: some are not there.
        """
        names = set(map(selection_file, paths))
        if missing := names - (set(self._names()) if names else set()):
            raise UsageError(f"{self.folder} has no {min(missing)} any more, and its recording is not labelled again; "
                             "--overwrite scores everything anew")  # fmt: skip
        self._kept |= names

    def check_unchanged(self, checksums: Mapping[str, int]) -> None:
        """Raises `UsageError` where a file that an earlier scoring wrote is not there, or has another content now.

        Args:
            checksums: of the files, as `checksums` has them.
        """
        self.keep(checksums)
        filesystem = filesystem_of(self.folder)
        files = [join(self.folder, selection_file(path)) for path in checksums]
        read = map(filesystem.read, files) if filesystem.is_local else map_ahead(filesystem.read, files)
        for file, content, checksum in zip(files, read, checksums.values(), strict=True):
            if google_crc32c.value(content) != checksum:
                raise UsageError(f"{file} is not as score has written it: somebody has changed it since, and its "
                                 "recording is not labelled again; --overwrite scores everything anew")  # fmt: skip

    def finish(self) -> None:
        """Has the files appear in the folder."""
        if not is_uri(self.folder) and not os.path.lexists(self.folder):
            os.replace(self._staged, self.folder)
        else:
            self._replace()

    def _replace(self) -> None:
        filesystem = filesystem_of(self.folder)
        for name in self._names():
            if name.endswith(_ENDING) and name not in self._kept and not (self._staged / name).exists():
                filesystem.delete(join(self.folder, name))
                if filesystem.is_local:
                    _remove_empty(Path(join(self.folder, name)).parent, Path(self.folder))
        names = [str(path.relative_to(self._staged)) for path in self._staged.rglob("*") if path.is_file()]
        if filesystem.is_local:
            for name in names:
                os.makedirs(os.path.dirname(join(self.folder, name)), exist_ok=True)
                os.replace(self._staged / name, join(self.folder, name))
            return
        for _ in map_ahead(lambda name: filesystem.write(join(self.folder, name), self._staged / name), names):
            pass

    def _names(self) -> list[str]:
        """Returns the paths of the files that are in the folder, relative to it."""
        found = filesystem_of(self.folder).list(self.folder)
        return [str(entry.path)[len(self.folder) :].lstrip("/") for entry in found]

    def __enter__(self) -> "SelectionTables":
        """Makes the folder that is written into first."""
        if is_uri(self.folder):
            self._staged = Path(tempfile.mkdtemp(prefix="soundmill-"))
        else:
            self._staged = Path(f"{self.folder}{PARTIAL_SUFFIX}")
            shutil.rmtree(self._staged, ignore_errors=True)  # of a run that was killed
            self._staged.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes what is not part of the folder."""
        shutil.rmtree(self._staged, ignore_errors=True)


def _remove_empty(folder: Path, root: Path) -> None:
    """Removes a folder below another where nothing is in it, and those that it was the last one in."""
    while folder != root:
        try:
            folder.rmdir()
        except OSError:  # something is in it
            return
        folder = folder.parent


def _rows_of(paths: pa.ChunkedArray) -> dict[str, slice]:
    """Returns which rows are of each path; those of a path follow one another."""
    encoded = paths.combine_chunks().dictionary_encode()
    found: dict[str, slice] = {}
    names, first = encoded.dictionary.to_pylist(), 0
    for run in encoded.indices.value_counts().to_pylist():
        found[names[run["values"]]] = slice(first, first + run["counts"])
        first += run["counts"]
    return found


def _place_text(place: str) -> str:
    try:
        place.encode()
    except UnicodeEncodeError:  # some bytes are not UTF-8, and the file shall be
        return escape_path(os.fsencode(place))
    return place


def _value(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else _cell(str(value))


def _raven_title(name: str) -> str:
    """Returns the title of a further column, which is no second one of those that there are anyway."""
    title = _cell(name)
    is_taken = title in _RAVEN_OWN or title in _RAVEN_TITLES.values()
    return _RAVEN_TITLES.get(name, f"{title} of the recording" if is_taken else title)


def _cell(text: str) -> str:
    """Returns a text as a cell holds it: a tab or a line would end it, and a quote at its beginning make it longer."""
    text = text.translate(_ONE_CELL)
    return "'" + text[1:] if text.startswith('"') else text
