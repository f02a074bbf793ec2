"""Finds the files that lists and tables name, where another system has written their paths."""

import os
import unicodedata
from collections.abc import Callable

from features.io.filesystem import is_uri
from features.sources.object_tree import ObjectTree
from features.sources.paths import below, escaped_path, is_absolute


class FileFinder:
    r"""Finds files below a root by paths that may be written otherwise than the file system has them.

    These are the same to it: the composed and decomposed forms of Unicode (macOS has the second), upper and lower case,
    `\` and `/`, and spaces around a name. So is a path as CSV files of soundmill have it. A file that is there as it is
    written is always the one that is meant.
    """

    def __init__(self, root: bytes, tree: Callable[[], ObjectTree | None] = lambda: None) -> None:
        """Keeps the root; a folder is listed once, when a path leads into it that is not there as written.

        Args:
            root: absolute path, or a URI.
            tree: returns the objects below a root that is a URI; where there are none, none is found.
        """
        self._root, self._tree = root, tree
        self._names: dict[bytes, dict[str, list[bytes]]] = {}

    def find(self, written: bytes) -> list[bytes]:
        """Returns the files or folders that a path may mean, relative to the root: several where it is ambiguous."""
        stripped = os.fsencode(os.fsdecode(written).strip())
        for path in dict.fromkeys((written, stripped, escaped_path(stripped), stripped.replace(b"\\", b"/"))):
            if path is None:
                continue
            if is_uri(os.fsdecode(self._root)) and not is_absolute(os.fsdecode(path)):
                if found := self._objects(below(self._root, path)):
                    return found
                continue
            if is_uri(os.fsdecode(path)):
                return []
            if os.path.lexists(os.path.join(self._root, path)):
                return [below(self._root, path)]
            found = self._alike(path)
            if found:
                return found
        return []

    def _objects(self, path: bytes) -> list[bytes]:
        tree = self._tree()
        if tree is None:
            return []
        if path in tree.entries or path in tree.names:
            return [path]
        found = [b""]
        for part in path.split(b"/"):
            folders = {folder: tree.names.get(folder, ()) for folder in found}
            found = [
                folder + b"/" + name if folder else name
                for folder, names in folders.items()
                for name in sorted(names)
                if _key(name) == _key(part)
            ]
        return found

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
