"""Files and folders that appear under their name when complete, and not before."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from features.errors import RunError, SoundmillError

PARTIAL_SUFFIX = ".partial"
_MOST_PARTS = 1024  # of one call, Linux' limit
_PARTIAL = re.compile(rf"\.\d+-[0-9a-f]{{8}}{re.escape(PARTIAL_SUFFIX)}")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# Process ids are unique on one machine only, and containers that share a disk all count from one.
_TOKEN = os.urandom(4).hex()
_TAKEN: dict[str, object] = {}  # paths of partial files that threads of this process write to


def writer_name() -> str:
    """Returns a name for what this process writes before it takes its own, which no other process gives."""
    return f"{os.getpid()}-{_TOKEN}"


def _take_partial_path(path: str) -> str:
    """Returns a path beside another that no process writes to, and no other thread of this one, until it is given back.

    Two threads may write one file at a time: a runner that takes a slow attempt for lost begins a second one.
    """
    partial, owner = f"{path}.{writer_name()}{PARTIAL_SUFFIX}", object()
    while _TAKEN.setdefault(partial, owner) is not owner:
        partial = f"{path}.{os.getpid()}-{os.urandom(4).hex()}{PARTIAL_SUFFIX}"
    return partial


class AtomicFile:
    """A binary file that takes its name when the block ends well, and leaves nothing when it does not.

    Attributes:
        num_bytes: bytes written so far.
        crc32c: CRC-32C of them.
    """

    def __init__(self, path: str | os.PathLike[str], durable: bool = True) -> None:
        """Opens a file beside `path`, whose name says that it is partial and whose it is.

        Args:
            path: that the file takes.
            durable: whether it is fsynced, so that it is whole after a power cut too; that takes a disk's time.
        """
        self._durable = durable
        self.path = os.fspath(path)
        self.num_bytes = 0
        self.crc32c = 0
        self._wanted = True
        self._partial = _take_partial_path(self.path)
        try:
            self._file: BinaryIO = open(self._partial, "wb", buffering=0)  # noqa: SIM115 - closed in __exit__
        except OSError as error:
            del _TAKEN[self._partial]
            raise _failure(error, self.path) from error

    def write(self, *parts: bytes | memoryview | NDArray[np.generic], crc32c: int | None = None) -> int:
        """Writes all parts, one after the other, and returns their length in bytes.

        Args:
            parts: what is written.
            crc32c: what `self.crc32c` is then, where that is known.

        Raises:
            RunError: no space is left.
        """
        length = 0
        for part in parts:
            # The types of arrays say from Python 3.12 on that they are buffers.
            length += len(part) if isinstance(part, bytes) else memoryview(part).nbytes  # type: ignore[arg-type]
        if crc32c is None:
            crc32c = self.crc32c
            for part in parts:
                # google_crc32c takes no memoryview, and numpy wraps one without a copy.
                crc32c = google_crc32c.extend(crc32c, np.frombuffer(part, np.uint8) if len(part) else b"")
        try:
            written = 0 if len(parts) > _MOST_PARTS else os.writev(self._file.fileno(), parts)  # type: ignore[arg-type]
            if written < length:
                self._write_rest(parts, written)
        except OSError as error:
            raise _failure(error, self.path) from error
        self.num_bytes += length
        self.crc32c = crc32c
        return length

    def _write_rest(self, parts: Sequence[bytes | memoryview | NDArray[np.generic]], written: int) -> None:
        """Writes what the system has left of some parts, of which so many bytes are written."""
        views = [memoryview(part).cast("B") for part in parts if len(part)]  # type: ignore[arg-type]
        while views:
            while views and written >= len(views[0]):
                written -= len(views.pop(0))
            if written:
                views[0] = views[0][written:]
            if views:
                written = os.writev(self._file.fileno(), views[:_MOST_PARTS])

    @property
    def partial_path(self) -> str:
        """Where it is until it has its name."""
        return self._partial

    def rename(self, path: str | os.PathLike[str]) -> None:
        """Takes another name in the same folder when the block ends, one that follows from what was written."""
        self.path = os.fspath(path)

    def discard(self) -> None:
        """Has nothing left of it when the block ends."""
        self._wanted = False

    @property
    def closed(self) -> bool:
        """Whether the block has ended; pyarrow asks before it writes."""
        return self._file.closed

    def __enter__(self) -> "AtomicFile":
        """Returns the file itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Names the file, or removes it where the block raised."""
        try:
            if kind is None and self._wanted:
                if self._durable:
                    os.fsync(self._file.fileno())
                os.replace(self._partial, self.path)
                if self._durable:
                    fsync_folder(os.path.dirname(self.path))
        except OSError as failure:  # some file systems find out late that there was no room
            raise _failure(failure, self.path) from failure
        finally:
            self._file.close()
            with contextlib.suppress(OSError):  # it is there only where it did not get its name
                os.unlink(self._partial)
            _TAKEN.pop(self._partial, None)


def write_file(path: str | os.PathLike[str], content: bytes | str, durable: bool = True) -> int:
    """Writes a whole file atomically, text as UTF-8, and returns the CRC-32C of its bytes; see `AtomicFile`."""
    with AtomicFile(path, durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return file.crc32c


def remove_partial(path: str | os.PathLike[str]) -> None:
    """Removes what writers of a file left that were killed; nobody may be writing it."""
    final = Path(path)
    try:
        names = [name for name in os.listdir(final.parent) if name.startswith(f"{final.name}.")]
    except FileNotFoundError:
        return
    for name in names:
        if _PARTIAL.fullmatch(name.removeprefix(final.name)):
            with contextlib.suppress(OSError):
                (final.parent / name).unlink()


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields an empty folder to fill that takes the name `path`, in place of an older one, when the block ends well."""
    final = Path(path)
    partial = final.with_name(f"{final.name}.{writer_name()}{PARTIAL_SUFFIX}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with naming_full_disk(final):
            partial.mkdir(parents=True)
            yield partial
            for file in partial.rglob("*"):
                if file.is_dir() or file.stat().st_nlink == 1:  # one that is linked was there before
                    _fsync(file)
            _fsync(partial)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        named = getattr(error, "filename", None)
        of_partial = isinstance(named, str | bytes) and os.fsdecode(named).startswith(str(partial))
        if isinstance(error, OSError) and of_partial:
            raise _failure(error, final) from error
        raise
    if final.exists():
        # A folder cannot be replaced in one step: the old one steps aside, and is complete until it does.
        old = final.with_name(f"{final.name}.old.{writer_name()}{PARTIAL_SUFFIX}")
        os.replace(final, old)
        os.replace(partial, final)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(partial, final)
    fsync_folder(final.parent)


def fsync_folder(path: str | os.PathLike[str]) -> None:
    """Makes the names in a folder durable; file systems that have no such call are left alone."""
    with contextlib.suppress(OSError):
        _fsync(Path(path) if os.fspath(path) else Path("."))


@contextlib.contextmanager
def naming_full_disk(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raises `RunError` in place of whatever a library raises in the block where a disk is full.

    Args:
        path: of the file or folder that the block writes.
    """
    try:
        yield
    except SoundmillError:
        raise
    except Exception as error:
        is_full = isinstance(error, OSError) and error.errno in _NO_SPACE
        # HDF5 and TensorFlow have errors of their own, with the system's words in them.
        if is_full or any(os.strerror(code) in str(error) for code in _NO_SPACE):
            raise _no_space(path) from error
        raise


def _failure(error: OSError, path: str | os.PathLike[str]) -> Exception:
    """Returns what an error of the system becomes: it names the file that was asked for, and not the partial one."""
    if error.errno in _NO_SPACE:
        return _no_space(path)
    return OSError(error.errno, error.strerror, os.fspath(path))


def _no_space(path: str | os.PathLike[str]) -> RunError:
    return RunError(
        f"no space is left on the device for {os.fspath(path)}; make room and run it again, what was finished is kept"
    )


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
