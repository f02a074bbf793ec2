"""Recordings in object stores: small ones as bytes, read ahead of their use, large ones in parts or as a copy."""

import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from features.errors import ClipError, Reason
from features.io.entry import Entry
from features.io.filesystem import filesystem_of
from features.io.local_copy import copy, ending_of
from features.io.parallel import map_ahead
from features.io.store_errors import ChangedError
from features.io.temporary import temporary_folder

IN_MEMORY_BYTES = 2 * 2**20
"""An object up to this size is read by one request and held in memory."""
# Copies of larger ones are kept, since their parts follow one another; together they take so much at most, or are one.
_COPIES_BYTES = 4 * 2**30
_NO_ETAG = "modified "
CHANGED = "the file changed while it was read"


class Listed(NamedTuple):
    """A file as it was listed.

    Attributes:
        place: its path, or its URI.
        size: bytes, None where they are not known.
        version: see `version_of`; None where that does not matter.
    """

    place: str
    size: int | None = None
    version: str | None = None


def version_of(entry: Entry) -> str:
    """Returns what tells one content of an object from another: its ETag, and its time in a store that has none."""
    return entry.version or f"{_NO_ETAG}{entry.mtime_ns}"


def read_small(file: Listed) -> bytes | None:
    """Returns the content of an object, None of one that is larger than `IN_MEMORY_BYTES`.

    Raises:
        OSError: it is not there, or may not be read.
        ClipError: it has another version.
    """
    store = filesystem_of(file.place)
    if file.size is None:
        content = store.read_range(file.place, 0, IN_MEMORY_BYTES + 1)
        return content if len(content) <= IN_MEMORY_BYTES else None
    if file.size > IN_MEMORY_BYTES:
        return None
    etag = None if file.version is None or file.version.startswith(_NO_ETAG) else file.version
    try:
        return store.read(file.place, etag)
    except ChangedError as error:
        raise ClipError("decode", Reason.VANISHED, CHANGED) from error


class ReadAhead:
    """Small objects that are read before they are asked for, many at once, in the order in which they will be."""

    def __init__(self, files: Iterable[Listed]) -> None:
        """Takes the files, and asks for the first of them."""
        self._files = list(files)
        self._results = map_ahead(_attempt, self._files, lambda file: IN_MEMORY_BYTES if file.size is None
                                  else min(file.size, IN_MEMORY_BYTES))  # fmt: skip
        self._next = 0
        self._places = {file.place: number for number, file in enumerate(self._files)}

    def take(self, uri: str) -> bytes | None:
        """Returns the content of an object; None where it was not among the files, was passed over, or is large.

        Raises what `read_small` does.
        """
        place = self._places.get(uri, -1)
        result: bytes | Exception | None = None
        while self._next <= place:
            result = next(self._results)
            self._next += 1
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """Forgets what was not asked for."""
        self._results.close()

    def __enter__(self) -> "ReadAhead":
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forgets what was not asked for."""
        self.close()


def _attempt(file: Listed) -> bytes | Exception | None:
    try:
        return read_small(file)
    except (OSError, ClipError) as error:
        return error


@dataclass
class _Copy:
    path: str
    size: int
    users: int = 0


class _Copies:
    """Files of this machine that are copies of large objects, the last ones used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._copies: OrderedDict[tuple[str, str], _Copy] = OrderedDict()

    def take(self, uri: str, version: str, size: int) -> str:
        """Returns the path of the copy of an object, which stays until it is given back.

        Raises:
            OSError: it cannot be read, or there is no room for it.
            ClipError: it has another version.
        """
        with self._lock:
            copied = self._copies.pop((uri, version), None) or self._make(uri, version, size)
            self._copies[uri, version] = copied  # behind those that were used before
            copied.users += 1
            return copied.path

    def give_back(self, uri: str, version: str) -> None:
        """Says that the copy may go when there is no room for another."""
        with self._lock:
            self._copies[uri, version].users -= 1

    def _make(self, uri: str, version: str, size: int) -> _Copy:
        for key, copied in list(self._copies.items()):
            if not copied.users and sum(one.size for one in self._copies.values()) + size > _COPIES_BYTES:
                os.unlink(self._copies.pop(key).path)
        descriptor, path = tempfile.mkstemp(ending_of(uri), dir=temporary_folder())
        os.close(descriptor)
        try:
            copy(uri, path)
            now = filesystem_of(uri).status(uri)
            if (version_of(now), now.size) != (version, os.path.getsize(path)):
                raise ClipError("decode", Reason.VANISHED, CHANGED)
        except BaseException:
            os.unlink(path)
            raise
        return _Copy(path, size)


COPIES = _Copies()


def _start_anew() -> None:
    COPIES.__init__()  # type: ignore[misc]  # what there was is the other process's


os.register_at_fork(after_in_child=_start_anew)
