"""A file as a decoder is to see it: without what is no sound, or with the header that it should have."""

import io
import os
from collections.abc import Callable, Iterator

# What decoders look at to find a tag at the end of a file.
_TAG_BYTES = 128
_BLOCK_BYTES = 2**16  # what is larger would be memory that the system clears anew for each


class FileView(io.RawIOBase):
    """A part of an open file, from which nothing is copied.

    It may claim to be longer than it is. Behind its bytes there is then nothing to read but, at the claimed end, zeros:
    there a decoder looks for a tag, and one that finds nothing would not seek.
    """

    def __init__(self, descriptor: int, begin: int, end: int, header: bytes = b"", claimed: int = 0) -> None:
        """Shows a part of an open file.

        Args:
            descriptor: of the file; its position stays.
            begin: first byte of the part.
            end: behind its last byte.
            header: what is shown before it.
            claimed: how long all that claims to be, if that is longer than it is.
        """
        self._descriptor, self._begin, self._header = descriptor, begin, header
        self._size = len(header) + max(0, end - begin)
        self._claimed = max(self._size, claimed)
        self._at = 0

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def tell(self) -> int:
        """Returns the position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a position, which may be the claimed end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._claimed}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # soundfile gives a buffer of cffi
        """Reads what is there, or the zeros of the claimed end."""
        wanted = max(0, min(len(buffer), self._size - self._at))
        if self._at < len(self._header):
            content = self._header[self._at : self._at + wanted]
        elif wanted or self._at < self._claimed - _TAG_BYTES:
            content = os.pread(self._descriptor, wanted, self._begin + self._at - len(self._header))
        else:
            content = bytes(max(0, min(len(buffer), self._claimed - self._at)))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


Reader = Callable[[int, int], bytes]
"""Returns so many bytes of a file from a place on, fewer where it ends."""


def reader(descriptor: int) -> Reader:
    """Returns what reads an open file; its position stays. How the file begins is read once."""
    begin = os.pread(descriptor, _BLOCK_BYTES, 0)

    def read(place: int, size: int) -> bytes:
        if place + size <= len(begin):
            return begin[place : place + size]
        return os.pread(descriptor, size, place)

    return read


def plain_reader(descriptor: int) -> Reader:
    """Returns what reads an open file, and no more than is asked for; its position stays."""
    return lambda place, size: os.pread(descriptor, size, place)


def buffered_reader(fetch: Reader, block_bytes: int) -> Reader:
    """Returns what reads at least so many bytes at a time, and answers from the last of them where it can."""
    begin, block, is_last = 0, b"", False

    def read(place: int, size: int) -> bytes:
        nonlocal begin, block, is_last
        if place < begin or (place + size > begin + len(block) and not is_last):
            wanted = max(size, block_bytes)
            begin, block = place, fetch(place, wanted)
            is_last = len(block) < wanted
        return block[place - begin : place - begin + size]

    return read


def find_marks(read: Reader, mark: bytes, begin: int, end: int) -> Iterator[int]:
    """Yields the places at which some bytes stand in a part of a file."""
    while begin < end:
        block = read(begin, min(_BLOCK_BYTES, end - begin))
        place = block.find(mark)
        while place >= 0:
            yield begin + place
            place = block.find(mark, place + 1)
        if len(block) < len(mark):
            return
        begin += max(1, len(block) - len(mark) + 1)
