"""A folder of an object store that is worked on as one of this machine: fetched, and sent as files are finished."""

import os
from collections.abc import Sequence
from pathlib import Path

from features.io.atomic import PARTIAL_SUFFIX
from features.io.filesystem import filesystem_of, join
from features.io.local_copy import copy
from features.io.parallel import map_ahead

# Modification time and size: a file that is finished is never written into again.
_State = tuple[int, int]


class Mirror:
    """A folder of this machine that stands for one of a store.

    A file appears in the store whole, by one request, when it is whole here. Files appear in the order in which they
    were written here, and go in the opposite one, after those have appeared that replace them: so what is last here, as
    it says that the rest is whole, is last there.
    """

    def __init__(self, uri: str, folder: Path, but: Sequence[str] = ()) -> None:
        """Names both; nothing is fetched or sent.

        Args:
            uri: of the folder in the store, which nobody else writes at the time.
            folder: of this machine, empty.
            but: how the names of files begin, relative to the folder, that are neither fetched nor sent.
        """
        self.uri, self.folder, self._but = uri, folder, tuple(but)
        self._sent: dict[str, _State] = {}

    def fetch(self, only: Sequence[str] = (), but: Sequence[str] = ()) -> None:
        """Fetches files with the times that they have there.

        Args:
            only: how their names begin, relative to the folder; all without it.
            but: how those begin that are left out besides, and stay there as they are.
        """
        left_out = (*self._but, *but)
        there = list(filesystem_of(self.uri).list(self.uri))
        names = {entry.path[len(self.uri) + 1 :]: entry for entry in there}
        folders = {name[:end] for name in names for end, letter in enumerate(name) if letter == "/"}
        wanted = [name for name in names
                  if name not in folders  # which some programs mark by an object of their name
                  and (not only or name.startswith(tuple(only))) and not name.startswith(left_out)]  # fmt: skip
        for name in wanted:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)

        def take(name: str) -> None:
            path = self.folder / name
            copy(names[name].path, str(path))
            os.utime(path, ns=(names[name].mtime_ns,) * 2)

        for name, _ in zip(wanted, map_ahead(take, wanted), strict=True):
            self._sent[name] = _state(self.folder / name)

    def send(self) -> None:
        """Sends what is new or changed since it was sent or fetched, and removes there what is no longer here."""
        files = ((path.relative_to(self.folder).as_posix(), path) for path in self.folder.rglob("*") if path.is_file())
        here = {name: _state(path) for name, path in files
                if PARTIAL_SUFFIX not in name and not name.startswith(self._but)}  # fmt: skip
        store = filesystem_of(self.uri)
        for name in sorted(here, key=lambda name: (here[name][0], name)):
            if self._sent.get(name) != here[name]:
                store.write(join(self.uri, name), self.folder / name)
                self._sent[name] = here[name]
        gone = self._sent.keys() - here.keys()
        for name in sorted(gone, key=lambda name: (self._sent[name][0], name), reverse=True):
            store.delete(join(self.uri, name))
            del self._sent[name]


def _state(path: Path) -> _State:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
