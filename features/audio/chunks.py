"""The chunks that WAV, AIFF, Wave64 and CAF files consist of."""

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from features.audio.file_view import Reader, plain_reader

UNKNOWN_SIZE = 0xFFFFFFFF  # left by a writer that could not go back to the header
# So many bytes behind the sound are padding, whatever they are.
MOST_PADDING_BYTES = 4096
# How another file begins.
_ANOTHER = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b".snd", b"riff", b"caff", b"fLaC", b"OggS")
_KNOWN_CHUNKS = (
    b"LIST",
    b"id3 ",
    b"ID3 ",
    b"bext",
    b"iXML",
    b"guan",
    b"wamd",
    b"cue ",
    b"smpl",
    b"JUNK",
    b"PEAK",
    b"fact",
)
_MAX_CHUNKS = 10_000


class Layout(NamedTuple):
    """How the chunks of a kind of container lie.

    Attributes:
        header: name and length of a chunk.
        first: place of the first chunk.
        pad: chunks begin at multiples of so many bytes.
        counts_itself: whether a length counts the chunk's header too.
        lead: bytes before the sound within its chunk.
    """

    header: struct.Struct
    first: int
    pad: int = 2
    counts_itself: bool = False
    lead: int = 0


def find_layout(head: bytes) -> Layout | None:
    """Returns how the chunks of RIFF, RF64, AIFF, Wave64 and CAF files lie, None for all else."""
    kind = head[:4]
    if kind in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return Layout(struct.Struct(">4sI" if kind == b"RIFX" else "<4sI"), 12)
    if kind == b"FORM" and head[8:11] == b"AIF":
        return Layout(struct.Struct(">4sI"), 12, lead=8)
    if kind == b"riff" and head[24:28] == b"wave":
        return Layout(struct.Struct("<4s12xQ"), 40, 8, counts_itself=True)
    return Layout(struct.Struct(">4sQ"), 8, 1, lead=4) if kind == b"caff" else None


def chunks(read: Reader, layout: Layout, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, place and length of the chunks of a file of so many bytes."""
    position, long_sound = layout.first, None
    for _ in range(_MAX_CHUNKS):
        header = read(position, layout.header.size) if position < size else b""
        if len(header) < layout.header.size:
            return
        name, length = layout.header.unpack(header)
        at = position + layout.header.size
        if layout.counts_itself:
            length = max(0, length - layout.header.size)
        elif layout.pad == 1 and length >= 2**63:  # -1 in CAF: to the end of the file
            length = max(0, size - at)
        elif name == b"ds64":
            sizes = read(at, 16)
            long_sound = int.from_bytes(sizes[8:16], "little")
        elif name == b"data" and length == UNKNOWN_SIZE and long_sound is not None:
            length = long_sound
        yield name, at, length
        position = at + length + -(at + length) % layout.pad


def follow_chunks(descriptor: int, layout: Layout, at: int, size: int) -> tuple[bool, int]:
    """Follows the chunks that begin at a place.

    Returns:
        Whether there are any that are known, or up to the end of the file or to a little padding; and where another
        file begins behind one of them, the size where none does.
    """
    for position in {at, at + -at % layout.pad}:
        known = False
        for name, begin, length in chunks(plain_reader(descriptor), layout._replace(first=position), size):
            end, known = begin + length, known or name in _KNOWN_CHUNKS
            if name not in _KNOWN_CHUNKS and not (name.isascii() and name.decode().isprintable() and end <= size):
                break
            if end < size and (place := another(descriptor, end, layout)) is not None:
                return True, place
            if size - end <= MOST_PADDING_BYTES:
                return True, size
        if known:
            return True, size
    return False, size


def another(descriptor: int, end: int, layout: Layout | None) -> int | None:
    """Returns where another file begins behind a chunk or the sound: there, a byte later, or where chunks may begin."""
    for place in (end, end + 1, end + -end % layout.pad if layout else end):
        start = os.pread(descriptor, 13, place)
        if start[:4] in _ANOTHER and len(start) == 13:
            return place
    return None
