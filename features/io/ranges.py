"""Files of stores as files that can be read from any place, for libraries that read ranges of them."""

import io
import os

import pyarrow as pa

from features.io.entry import AnyPath
from features.io.filesystem import filesystem_of

_END_BYTES = 2**20


class RangeReader(io.RawIOBase):
    """An object that is read range by range, one request each; its end, where formats have their footer, is held."""

    def __init__(self, path: AnyPath) -> None:
        """Asks for its size, and for its end; raises `FileNotFoundError`."""
        super().__init__()
        self._files, self._path, self._at = filesystem_of(path), path, 0
        self._size = self._files.status(path).size
        first = max(0, self._size - _END_BYTES)
        self._end_at, self._end = first, self._files.read_range(path, first, self._size - first)

    def read(self, size: int = -1) -> bytes:
        """Returns so many bytes, or what there is."""
        length = max(0, self._size - self._at if size < 0 else min(size, self._size - self._at))
        if self._at >= self._end_at:
            content = self._end[self._at - self._end_at :][:length]
        else:
            content = self._files.read_range(self._path, self._at, length)
        self._at += len(content)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a place."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Returns the place."""
        return self._at

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True


def arrow_file(path: AnyPath) -> pa.NativeFile:
    """Opens a file of this machine, or an object, of which ranges are read, for pyarrow."""
    return pa.OSFile(os.fspath(path)) if filesystem_of(path).is_local else pa.PythonFile(RangeReader(path), mode="r")
