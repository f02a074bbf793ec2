"""Where files lie: a folder of this machine, or an object store by its URI. What is atomic is said here.

A place is text: a path, or `s3://BUCKET/KEY` with the key as it is, nothing in it escaped. Whoever reads or writes
files that may be in either asks `filesystem_of` and gives it whole places. A file is there whole or not at all.
"""

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from features.io.atomic import AtomicFile, write_file
from features.io.entry import AnyPath, Entry
from features.io.store_errors import ChangedError, PlaceError

_COPIED_BYTES = 2**20
SCHEMES = ("s3", "gs", "abfs", "abfss", "az")
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class Uri(str):
    """A place in an object store; parts are taken and put together as those of a `Path` are."""

    __slots__ = ()

    def __truediv__(self, name: str) -> "Uri":
        """Returns the place of something below this one."""
        return Uri(join(self, name))

    @property
    def name(self) -> str:
        """The last part of it."""
        return self.rpartition("/")[2]

    @property
    def folder(self) -> "Uri":
        """All of it but the last part."""
        return Uri(self.rpartition("/")[0])


Location = Path | Uri


class Filesystem(Protocol):
    """What is asked of a place where files lie; all paths are whole places.

    Every function may raise, besides what it names, `PermissionError`, and of a store `UsageError` (no such bucket, no
    or wrong credentials, an endpoint that does not answer) and `RunError` (it answered before and does no longer).
    """

    is_local: bool

    def read(self, path: AnyPath, version: str | None = None) -> bytes:
        """Returns a whole file; raises `FileNotFoundError`.

        Args:
            path: of the file.
            version: of a store, the one that is meant, see `Entry`; None for any.

        Raises:
            ChangedError: it has another version.
        """

    def fetch(self, path: AnyPath, version: str | None = None) -> tuple[bytes, Entry]:
        """Returns a whole file, as `read` does, and what is known of the same version of it."""

    def read_range(self, path: AnyPath, start: int, length: int) -> bytes:
        """Returns bytes of a file, fewer where it ends before, none where it does not reach `start`.

        Raises:
            FileNotFoundError: there is none.
        """

    def list(self, folder: AnyPath, recursive: bool = True) -> Iterator[Entry]:
        """Yields the files below a folder, in the order of the bytes of their places; none where there is no folder.

        Args:
            folder: with or without `/` at its end.
            recursive: whether those of folders in it are named too.
        """

    def status(self, path: AnyPath) -> Entry:
        """Returns what is known of a file; raises `FileNotFoundError`."""

    def begin(self, path: AnyPath, durable: bool = True) -> AtomicFile:
        """Returns a file to write, to be used in a `with` block: it takes its place whole when that ends well.

        Args:
            path: of the file.
            durable: see `AtomicFile`; what a store has taken is.
        """

    def write(self, path: AnyPath, content: bytes | str | Path) -> None:
        """Writes a whole file, in place of what was there, in one step.

        Args:
            path: of the file.
            content: bytes, text as UTF-8, or a local file that is copied.
        """

    def create(self, path: AnyPath, content: bytes) -> str:
        """Writes a whole file and returns its version.

        One of the same content may count as this one, as the answer to a first attempt may be lost: what is to be a
        single writer's holds the writer's name.

        Raises:
            FileExistsError: there is one.
        """

    def replace(self, path: AnyPath, content: bytes, version: str) -> str:
        """Writes a whole file in place of the one that has this version, and returns the new version.

        Raises:
            ChangedError: there is another one, or none.
        """

    def delete(self, path: AnyPath) -> None:
        """Removes a file; one that is not there is no error."""

    def now_ns(self, path: AnyPath) -> int:
        """Returns the time by the clock that dates files, in nanoseconds since 1970.

        Args:
            path: where a small file is written for it, and removed.
        """


def place(text: AnyPath) -> Location:
    """Returns a place that a user gave, of which parts can be taken; nothing is asked of it."""
    return Uri(without_slash(text)) if isinstance(text, str) and is_uri(text) else Path(text)


def without_slash(uri: str) -> str:
    """Returns a URI without the `/` at its end; those of its scheme stay."""
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.rstrip('/')}"


def absolute(path: AnyPath) -> str:
    """Returns the absolute path of a file, or a URI; without the `/` at its end."""
    return without_slash(os.fspath(path)) if is_uri(path) else os.path.abspath(path)


def is_uri(text: AnyPath) -> bool:
    """Returns whether a place is a URI; a path of this kind is meant where `./` stands before it."""
    return isinstance(text, str) and "://" in text and _URI.match(text) is not None  # most have none, and it is fast


def join(folder: str, *names: str) -> str:
    """Returns the place of something in a folder, by its path relative to it, with `/`."""
    return os.path.join(folder, *names) if not is_uri(folder) else "/".join([without_slash(folder), *names])


def exists(path: AnyPath) -> bool:
    """Returns whether there is a file."""
    try:
        filesystem_of(path).status(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def filesystem_of(place: AnyPath) -> Filesystem:
    """Returns what reads and writes a place. A store is asked when it is first used.

    Raises:
        PlaceError: it is a URI of another kind than can be read, or names no bucket.
    """
    match = _URI.match(place) if isinstance(place, str) else None
    if match is None:
        return LOCAL
    if match[1] not in SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise PlaceError(f"{place}: a place is a path, or begins with one of {schemes}; a path that looks like a URI "
                         "is given with ./ before it")  # fmt: skip
    from features.io.object_store import object_store

    return object_store(str(place))


class LocalFilesystem:
    """Folders of this machine."""

    is_local = True

    def read(self, path: AnyPath, version: str | None = None) -> bytes:
        """See `Filesystem`."""
        return self.fetch(path)[0]

    def fetch(self, path: AnyPath, version: str | None = None) -> tuple[bytes, Entry]:
        """See `Filesystem`."""
        with open(path, "rb") as file:
            return file.read(), _entry(os.fspath(path), os.fstat(file.fileno()))

    def read_range(self, path: AnyPath, start: int, length: int) -> bytes:
        """See `Filesystem`."""
        with open(path, "rb", buffering=0) as file:
            parts, end = [], start + length
            while start < end and (part := os.pread(file.fileno(), end - start, start)):
                parts.append(part)
                start += len(part)
            return b"".join(parts)

    def list(self, folder: AnyPath, recursive: bool = True) -> Iterator[Entry]:
        """See `Filesystem`."""
        try:
            with os.scandir(folder) as scan:
                found = [(os.fsencode(entry.name) + (b"/" if entry.is_dir() else b""), entry) for entry in scan]
        except (FileNotFoundError, NotADirectoryError):
            return
        for name, entry in sorted(found, key=lambda pair: pair[0]):
            if name.endswith(b"/"):
                if recursive:
                    yield from self.list(entry.path)
                continue
            with contextlib.suppress(FileNotFoundError):  # it went away, or is a link that leads nowhere
                yield _entry(entry.path, entry.stat())

    def status(self, path: AnyPath) -> Entry:
        """See `Filesystem`."""
        return _entry(os.fspath(path), os.stat(path))

    def begin(self, path: AnyPath, durable: bool = True) -> AtomicFile:
        """See `Filesystem`."""
        return AtomicFile(path, durable)

    def write(self, path: AnyPath, content: bytes | str | Path) -> None:
        """See `Filesystem`."""
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if not isinstance(content, Path):
            write_file(path, content)
            return
        with AtomicFile(path) as file, open(content, "rb") as source:
            while part := source.read(_COPIED_BYTES):
                file.write(part)

    def create(self, path: AnyPath, content: bytes) -> str:
        """See `Filesystem`."""
        with _folder_locked(path):
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))
            self.write(path, content)
            return self.status(path).version

    def replace(self, path: AnyPath, content: bytes, version: str) -> str:
        """See `Filesystem`; it is one step for those who write by `create` and `replace`."""
        with _folder_locked(path):
            try:
                if self.status(path).version != version:
                    raise ChangedError(path)
            except FileNotFoundError as error:
                raise ChangedError(path) from error
            self.write(path, content)
            return self.status(path).version

    def delete(self, path: AnyPath) -> None:
        """See `Filesystem`."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def now_ns(self, path: AnyPath) -> int:
        """See `Filesystem`."""
        self.write(path, b"")
        try:
            return os.stat(path).st_mtime_ns
        finally:
            self.delete(path)


LOCAL: Filesystem = LocalFilesystem()


def _entry(path: str, status: os.stat_result) -> Entry:
    return Entry(path, status.st_size, status.st_mtime_ns, f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}")


@contextlib.contextmanager
def _folder_locked(path: AnyPath) -> Iterator[None]:
    """Holds a lock on the folder of a file; not where a file system has no locks of folders."""
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
