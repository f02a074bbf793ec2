"""Finds the recording that annotations are of: by the name of their file, or as a row of it names it."""

import os
import re
import unicodedata
from collections.abc import Iterable

from features.errors import UsageError
from features.sources.paths import below, escape_path, is_absolute

# As Raven, BirdNET-Analyzer and people name the files beside a recording X or X.wav: X.Table.1.selections.txt,
# X.BirdNET.selection.table.txt, X.BirdNET.results.txt, X.selections.txt, X.txt.
_ENDING = re.compile(
    r"(\.Table\.\d+)?(\.BirdNET)?(\.selections?(\.table)?|\.selection[_ ]table|\.results)?\.(txt|tsv)$", re.IGNORECASE
)


class RecordingNames:
    """The recordings below a root, by all that annotations may call them."""

    def __init__(self, root: str, paths: Iterable[str]) -> None:
        """Takes the recordings.

        Args:
            root: that their paths are relative to.
            paths: as `features.sources.paths.escape_path` writes them.
        """
        self._root = os.fsencode(root)
        self._paths: dict[str, str] = {}
        self._stems: dict[str, list[str]] = {}
        self._names: dict[str, list[str]] = {}
        self._name_stems: dict[str, list[str]] = {}
        for path in paths:
            text = _plain(path)
            self._paths[text] = path
            name = text.rpartition("/")[2]
            for index, key in ((self._stems, _stem(text)), (self._names, name), (self._name_stems, _stem(name))):
                index.setdefault(key, []).append(path)

    def of_file(self, name: str) -> str | None:
        """Returns the recording that a file of annotations is named after; None where there is none.

        That in the same folder comes first, a name with its ending before one without. Where one of the two lies
        deeper, the folders that both have are the same.

        Args:
            name: of the file, relative to the folder of annotations.

        Raises:
            UsageError: it may be several.
        """
        text = _plain(_ENDING.sub("", name.replace(os.sep, "/")))
        short = text.rpartition("/")[2]
        exact = [self._paths[text]] if text in self._paths else []
        near = [[one for one in index.get(short, []) if _may_be_beside(_plain(one), text)]
                for index in (self._names, self._name_stems)]  # fmt: skip
        tries = (exact, self._stems.get(text), *near)
        return self._only(next(filter(None, tries), []), name)

    def of_row(self, path: str, file: str, where: str) -> str | None:
        """Returns the recording that a row names; None where there is none.

        One of another format and the same name is it where the one that is named is not there.

        Args:
            path: as the row has it, of whichever computer; empty where it has none.
            file: its name; empty where the row has none.
            where: the place of the row.

        Raises:
            UsageError: it may be several.
        """
        for written in filter(None, (path.strip(), file.strip())):
            text = _plain(written.replace("\\", "/"))
            if is_absolute(text) and "\0" not in text:
                own = escape_path(below(self._root, os.fsencode(text)))
                if own in self._paths:
                    return self._paths[own]
            parts = text.split("/")
            found = self._names.get(parts[-1]) or self._name_stems.get(_stem(parts[-1]), [])
            if found:
                alike = [_alike(_plain(one).split("/"), parts) for one in found]
                return self._only([one for one, count in zip(found, alike, strict=True) if count == max(alike)], where)
        return None

    def _only(self, found: list[str], where: str) -> str | None:
        if len(found) > 1:
            raise UsageError(f"{where} may be of {found[0]} or of {found[1]}; put it into a folder like that of its "
                             "recording, or name "
                             "it after the recording with its ending")  # fmt: skip
        return found[0] if found else None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _stem(path: str) -> str:
    return os.path.splitext(path)[0]


def _may_be_beside(recording: str, file: str) -> bool:
    """Returns whether the folders that both paths have are the same, counted from their ends."""
    folders, others = recording.split("/")[:-1], file.split("/")[:-1]
    both = min(len(folders), len(others))
    return folders[len(folders) - both :] == others[len(others) - both :]


def _alike(path: list[str], other: list[str]) -> int:
    """Returns how many of the last parts of two paths are equal."""
    count = 0
    for one, two in zip(reversed(path), reversed(other), strict=False):
        if one != two:
            break
        count += 1
    return count
