"""A recording that is opened once: read into memory where that is faster, and shown to be unchanged at the end."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType

from features.audio.decode import AudioInfo, AudioSource, file_error, probe, probe_plain
from features.audio.plain_wav import HEADER_BYTES
from features.audio.remote import COPIES, Listed, ReadAhead, read_small, version_of
from features.errors import ClipError, Reason
from features.io.file_time import mtime_ns
from features.io.filesystem import filesystem_of, is_uri
from features.io.local_copy import ending_of
from features.io.parallel import map_ahead
from features.io.regular_file import open_regular
from features.io.temporary import temporary_folder

# A file up to this size is read once and hashed and decoded from memory. To read a larger one twice, in pieces, costs
# less than memory for all of it, taken anew for each file: a second of 5 MiB is hashed and computed in half the time.
_IN_MEMORY_BYTES = 2**20
# So much is read of an object whose header is wanted: of a short one it is all, and a second request costs more.
_HEAD_BYTES = 2**16
_CHANGED = "the file changed while it was read"


@dataclass(slots=True)
class Recording:
    """A recording as it was when it was opened; the end of a `with` block of it checks that it still is.

    Attributes:
        path: of the file, as `os.fsdecode` gives it, or the URI of an object.
        size: its bytes.
        mtime_ns: its modification time, None of an object.
        content: all of its bytes, None where they are not held in memory.
        plain_info: what the header of a plain WAV says, None for everything else.
        version: of an object where it is known, None of a file.
    """

    path: str
    size: int
    mtime_ns: int | None
    content: bytes | None
    plain_info: AudioInfo | None
    version: str | None = None
    _copy: str | None = field(default=None, repr=False)

    @property
    def source(self) -> AudioSource:
        """What `decode` takes: the content, or the path where another process opens the file itself.

        Of a large object that is a plain WAV it is the URI: of that the parts alone are read that are asked for.
        """
        if self.content is not None and self.plain_info is not None:
            return self.content
        return self.path if self.plain_info is not None and self._copy is None else self.file

    @property
    def file(self) -> str:
        """The path of a file of this machine that holds it: of an object a copy, which is made now."""
        if not is_uri(self.path):
            return self.path
        if self._copy is None and self.content is not None:
            descriptor, path = tempfile.mkstemp(ending_of(self.path), dir=temporary_folder())  # by it decoders go
            with open(descriptor, "wb") as file:
                file.write(self.content)
            self._copy = path
        elif self._copy is None:
            try:
                self._copy = COPIES.take(self.path, self.version or "", self.size)
            except OSError as error:
                raise file_error(error) from error
        return self._copy

    def probe(self) -> AudioInfo:
        """Returns what `features.audio.decode.probe` says of it; raises `ClipError` as that does."""
        return self.plain_info or probe(self.file)

    def check_unchanged(self) -> None:
        """Raises `ClipError` where the file that is decoded is not the one that was opened any more."""
        if self.source is not self.path:
            return
        try:
            if is_uri(self.path):
                entry = filesystem_of(self.path).status(self.path)
                now: tuple[int, int | str | None] = entry.size, version_of(entry)
            else:
                status = os.stat(self.path)
                now = status.st_size, mtime_ns(status)
        except OSError as error:
            raise ClipError("decode", Reason.VANISHED, "the file went away while it was read") from error
        if now != (self.size, self.version if is_uri(self.path) else self.mtime_ns):
            raise ClipError("decode", Reason.VANISHED, _CHANGED)

    def __enter__(self) -> "Recording":
        """Returns the recording itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Checks that it is unchanged: then a `ClipError` is of the file that was opened, not of what replaced it."""
        try:
            if error is None or isinstance(error, ClipError):
                self.check_unchanged()
        finally:
            if self._copy is not None and self.content is not None:
                os.unlink(self._copy)
            elif self._copy is not None:
                COPIES.give_back(self.path, self.version or "")
            self._copy = None


def open_recording(path: str, whole: bool, ahead: ReadAhead | None = None, listed: Listed | None = None) -> Recording:
    """Opens a recording.

    Args:
        path: of the file, as `os.fsdecode` gives it, or the URI of an object.
        whole: whether all of it is wanted, so that a small file is read into memory; else its header is read.
        ahead: what reads objects before they are opened.
        listed: what is known of an object; another version than that is refused.

    Raises:
        ClipError: the file is missing, may not be read, is not a regular file, or changed while it was read.
    """
    try:
        if is_uri(path):
            return _open_object(listed or Listed(path), whole, ahead)
        descriptor, status = open_regular(path)
        try:
            size, time_ns = status.st_size, mtime_ns(status)
            if not whole or size > _IN_MEMORY_BYTES:
                return Recording(path, size, time_ns, None, probe_plain(os.read(descriptor, HEADER_BYTES), size))
            content = os.read(descriptor, size)
            while len(content) < size and (more := os.read(descriptor, size - len(content))):
                content += more
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise file_error(error) from error
    if not len(content) == size == after.st_size or mtime_ns(after) != time_ns:
        raise ClipError("decode", Reason.VANISHED, _CHANGED)
    return Recording(path, size, time_ns, content, probe_plain(content, size))


def _open_object(listed: Listed, whole: bool, ahead: ReadAhead | None) -> Recording:
    uri, _, version = listed
    store, content = filesystem_of(uri), None
    if whole:
        content = ahead.take(uri) if ahead else None
        content = read_small(listed) if content is None else content
    elif version is None:
        head = store.read_range(uri, 0, _HEAD_BYTES)
        content = head if len(head) < _HEAD_BYTES else None
    if content is not None:
        return Recording(uri, len(content), None, content, probe_plain(content, len(content)), version)
    now = store.status(uri)
    if version not in (None, version_of(now)):
        raise ClipError("decode", Reason.VANISHED, _CHANGED)
    head = store.read_range(uri, 0, HEADER_BYTES)
    return Recording(uri, now.size, None, None, probe_plain(head, now.size), version_of(now))


def probe_at(path: str) -> AudioInfo:
    """Returns what `features.audio.decode.probe` says of a file or an object; raises `ClipError` as that does."""
    if not is_uri(path):
        return probe(path)
    with open_recording(path, whole=False) as recording:
        return recording.probe()


def probe_all(paths: Iterable[str]) -> Iterator[AudioInfo | ClipError]:
    """Yields what `probe_at` says of each file or object, or its error; objects are asked many at once."""
    places = list(paths)
    at_once = map_ahead(_probed, filter(is_uri, places))  # of files each would wait for the others
    for path in places:
        yield next(at_once) if is_uri(path) else _probed(path)


def _probed(path: str) -> AudioInfo | ClipError:
    try:
        return probe_at(path)
    except ClipError as error:
        return error
