"""Finds the files that lists and tables name, where another system has written their paths."""

import os
import unicodedata

from features.sources.paths import below, escaped_path


class FileFinder:
    r"""Finds files below a root by paths that may be written otherwise than the file system has them.

    These are the same to it: the composed and decomposed forms of Unicode (macOS has the second), upper and lower case,
    `\` and `/`, and spaces around a name. So is a path as CSV files of soundmill have it. A file that is there as it is
    written is always the one that is meant.
    """

    def __init__(self, root: bytes) -> None:
        """Keeps the root; a folder is listed once, when a path leads into it that is not there as written."""
        self._root = root
        self._names: dict[bytes, dict[str, list[bytes]]] = {}

    def find(self, written: bytes) -> list[bytes]:
        """Returns the files or folders that a path may mean, relative to the root: several where it is ambiguous."""
        stripped = os.fsencode(os.fsdecode(written).strip())
        for path in dict.fromkeys((written, stripped, escaped_path(stripped), stripped.replace(b"\\", b"/"))):
            if path is None:
                continue
            if os.path.lexists(os.path.join(self._root, path)):
                return [below(self._root, path)]
            found = self._alike(path)
            if found:
                return found
        return []

    def _alike(self, path: bytes) -> list[bytes]:
        found = [b"/" if path.startswith(b"/") else self._root]
        for part in path.split(b"/"):
            if part == b"..":
                found = [os.path.join(folder, part) for folder in found]
            elif part not in (b"", b"."):
                name = _key(part)
                found = [os.path.join(folder, one) for folder in found for one in self._listed(folder).get(name, [])]
        return [below(self._root, one) for one in found if one != self._root]

    def _listed(self, folder: bytes) -> dict[str, list[bytes]]:
        if folder not in self._names:
            names = self._names[folder] = {}
            try:
                for name in sorted(os.listdir(folder)):
                    names.setdefault(_key(name), []).append(name)
            except OSError:
                pass  # a file, or a folder that may not be read: nothing is found in it
        return self._names[folder]


def _key(name: bytes) -> str:
    text = unicodedata.normalize("NFC", os.fsdecode(name)).casefold()
    return unicodedata.normalize("NFC", text).strip()
