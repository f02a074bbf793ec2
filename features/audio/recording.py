"""A recording that is opened once: read into memory where that is faster, and shown to be unchanged at the end."""

import os
from dataclasses import dataclass
from types import TracebackType

from features.audio.decode import AudioInfo, AudioSource, file_error, probe, probe_plain
from features.audio.plain_wav import HEADER_BYTES
from features.errors import ClipError, Reason
from features.io.file_time import mtime_ns
from features.io.regular_file import open_regular

# A file up to this size is read once and hashed and decoded from memory. To read a larger one twice, in pieces, costs
# less than memory for all of it, taken anew for each file: a second of 5 MiB is hashed and computed in half the time.
_IN_MEMORY_BYTES = 2**20
_CHANGED = "the file changed while it was read"


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording as it was when it was opened; the end of a `with` block of it checks that it still is.

    Attributes:
        path: of the file, as `os.fsdecode` gives it.
        size: its bytes.
        mtime_ns: its modification time.
        content: all of its bytes, None where they are not held in memory.
        plain_info: what the header of a plain WAV says, None for everything else.
    """

    path: str
    size: int
    mtime_ns: int
    content: bytes | None
    plain_info: AudioInfo | None

    @property
    def source(self) -> AudioSource:
        """What `decode` takes: the content, or the path where another process opens the file itself."""
        return self.path if self.content is None or self.plain_info is None else self.content

    def probe(self) -> AudioInfo:
        """Returns what `features.audio.decode.probe` says of it; raises `ClipError` as that does."""
        return self.plain_info or probe(self.path)

    def check_unchanged(self) -> None:
        """Raises `ClipError` where the file that is decoded is not the one that was opened any more."""
        if self.source is not self.path:
            return
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise ClipError("decode", Reason.VANISHED, "the file went away while it was read") from error
        if (status.st_size, mtime_ns(status)) != (self.size, self.mtime_ns):
            raise ClipError("decode", Reason.VANISHED, _CHANGED)

    def __enter__(self) -> "Recording":
        """Returns the recording itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Checks that it is unchanged: then a `ClipError` is of the file that was opened, not of what replaced it."""
        if error is None or isinstance(error, ClipError):
            self.check_unchanged()


def open_recording(path: str, whole: bool) -> Recording:
    """Opens a recording.

    Args:
        path: of the file, as `os.fsdecode` gives it.
        whole: whether all of it is wanted, so that a small file is read into memory; else its header is read.

    Raises:
        ClipError: the file is missing, may not be read, is not a regular file, or changed while it was read.
    """
    try:
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
