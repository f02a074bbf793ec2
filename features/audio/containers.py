"""What the container of a recording says of its own bytes: whether sound is in it, and whether it was cut off."""

import os
import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

_UNKNOWN_SIZE = 0xFFFFFFFF  # left by a writer that could not go back to the header
_MAX_CHUNKS = 10_000
_OGG_PAGE_BYTES = 65_307
_OGG_LAST_PAGE = 0x04
_XING_WITHIN_BYTES = 200
_XING_FRAMES, _XING_BYTES = 1, 2
_XING_TOLERANCE_BYTES = 4096  # encoders count the last frame, the header's own and tags in their own ways
# How files begin that are audio which libsndfile does not open: (offset, bytes).
_FOREIGN = (
    *((4, mark) for mark in (b"ftyp", b"moov", b"mdat", b"wide")),  # MPEG-4 and QuickTime
    *((0, mark) for mark in (b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9", b"ADIF")),  # AAC without a container
    (0, b"\x30\x26\xb2\x75"),  # ASF: WMA
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska and WebM
    *((0, mark) for mark in (b"#!AMR", b"wvpk", b"MAC ", b"TTA1", b"tBaK", b"MPCK", b"MP+", b"DSD ", b"FRM8")),
    *((0, mark) for mark in (b"\x0b\x77", b"\x7f\xfe\x80\x01")),  # AC-3 and DTS
)
_BIG_ENDIAN = (b"RIFX", b"FORM")
_FAMILIAR = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"fLaC", b"OggS", b"caff", b".snd", b"riff", b"ID3")


class Container(NamedTuple):
    """What a container says.

    Attributes:
        holds_sound: whether it has a format with channels and at least one byte of sound.
        cut_off: whether it promises more bytes than the file has.
        familiar: whether it begins as a kind of file that libsndfile reads.
        foreign: whether it begins as audio of a kind that libsndfile does not read.
        begin: where its sound begins, 0 where that is not known.
        end: where its sound ends, no later than the file.
    """

    holds_sound: bool
    cut_off: bool
    familiar: bool
    foreign: bool
    begin: int
    end: int


def inspect(descriptor: int, size: int) -> Container:
    """Looks at the container of an open file; nothing is decoded, and no size in it is believed.

    Args:
        descriptor: of the file; its position stays.
        size: bytes of the file.

    Returns:
        What it says. Of a FLAC only decoding shows that it was cut off, of an MP3 without a Xing header its frames.
    """
    head = os.pread(descriptor, 64, 0)
    holds_sound = cut_off = False
    begin, end = 0, size
    if (mp3 := _mp3_bytes(descriptor, head)) is not None:
        cut_off = mp3 > size
    elif head[:4] == b"OggS":
        cut_off = _ogg_without_end(descriptor, size)
    elif head[:4] == b".snd" and len(head) >= 24:
        offset, length, _, _, channels = struct.unpack_from(">5I", head, 4)
        holds_sound, cut_off = _sound(offset, length, size)
        holds_sound = holds_sound and channels > 0
    else:
        formed, kind = False, head[:4]
        for name, at, length in _chunks(descriptor, head, size):
            if name in (b"fmt ", b"COMM", b"desc"):
                formed = _is_possible(os.pread(descriptor, 8, at), name, "big" if kind in _BIG_ENDIAN else "little")
            elif name in (b"data", b"SSND"):
                sound, cut_off = _sound(at, length, size)
                holds_sound = formed and sound
                begin, end = at, min(size, at + length)
                break
    foreign = any(head[at : at + len(mark)] == mark for at, mark in _FOREIGN)
    return Container(holds_sound, cut_off, head.startswith(_FAMILIAR), foreign, begin, end)


def _sound(at: int, length: int, size: int) -> tuple[bool, bool]:
    """Returns whether bytes of sound are there, and whether some are missing."""
    return length > 0 and at < size, length != _UNKNOWN_SIZE and at + length > size


def _is_possible(form: bytes, name: bytes, order: Literal["big", "little"]) -> bool:
    """Returns whether a format has channels and a rate, as far as that is easily seen."""
    if name == b"desc":
        return True
    if name == b"COMM":
        return int.from_bytes(form[:2], order) > 0
    return int.from_bytes(form[2:4], order) > 0 and 0 < int.from_bytes(form[4:8], order) < 2**31


def _chunks(descriptor: int, head: bytes, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, place and length of the chunks of RIFF, RF64, AIFF, Wave64 and CAF files."""
    kind, long_sound = head[:4], None
    if kind in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        header, position, pad = struct.Struct(">4sI" if kind == b"RIFX" else "<4sI"), 12, 2
    elif kind == b"FORM" and head[8:11] == b"AIF":
        header, position, pad = struct.Struct(">4sI"), 12, 2
    elif kind == b"riff" and head[24:28] == b"wave":
        header, position, pad = struct.Struct("<4s12xQ"), 40, 8
    elif kind == b"caff":
        header, position, pad = struct.Struct(">4sQ"), 8, 1
    else:
        return
    for _ in range(_MAX_CHUNKS):
        read = os.pread(descriptor, header.size, position) if position < size else b""
        if len(read) < header.size:
            return
        name, length = header.unpack(read)
        at = position + header.size
        if kind == b"riff":  # here a length counts the header too
            length = max(0, length - header.size)
        elif kind == b"caff" and length >= 2**63:  # -1: to the end of the file
            length = max(0, size - at)
        elif name == b"ds64":
            sizes = os.pread(descriptor, 16, at)
            long_sound = int.from_bytes(sizes[8:16], "little")
        elif name == b"data" and length == _UNKNOWN_SIZE and long_sound is not None:
            length = long_sound
        yield name, at, length
        position = at + length + -(at + length) % pad if pad > 1 else at + length


def _mp3_bytes(descriptor: int, head: bytes) -> int | None:
    """Returns how long an MP3 is by its Xing header, nearly; None for one that has none, and for all else."""
    begin = 0
    if head[:3] == b"ID3" and len(head) >= 10:
        begin = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    frame = os.pread(descriptor, _XING_WITHIN_BYTES, begin)
    if len(frame) < 2 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:  # layer III
        return None
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    if at < 0 or not flags & _XING_BYTES:
        return None
    place = at + 8 + (4 if flags & _XING_FRAMES else 0)
    return begin + int.from_bytes(frame[place : place + 4], "big") - _XING_TOLERANCE_BYTES


def _ogg_without_end(descriptor: int, size: int) -> bool:
    """Returns whether the last page of a stream does not say that it is the last, or is not whole."""
    tail = os.pread(descriptor, _OGG_PAGE_BYTES, max(0, size - _OGG_PAGE_BYTES))
    at = tail.rfind(b"OggS")
    page = tail[at:]
    if at < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return True
    whole = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return not page[5] & _OGG_LAST_PAGE or len(page) < whole
