"""What the frames of a FLAC say of its length, where its header says less, and whether another one follows."""

import functools
from typing import NamedTuple

from features.audio.endings import behind_id3
from features.audio.file_view import Reader, find_marks, reader

_MARK = b"fLaC"
_INFO_AT, _INFO_BYTES = 8, 34
# How the header of the one block that has to come first begins: it is the last, or others follow.
_INFO_HEADERS = (b"\0\0\0\x22", b"\x80\0\0\x22")
_MAX_BLOCKS = 10_000
_TAIL_BYTES = 2**16
_LEAST_HEADER_BYTES, _FRAME_HEADER_BYTES = 6, 16
_ID3V1_BYTES = 128
_MOST_TAG_BYTES = 2**24
# By the code in a frame's header; two others say that the number follows.
_BLOCK_SAMPLES = (0, 192, 576, 1152, 2304, 4608, 0, 0, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768)
_MORE_BYTES_OF_RATE = {12: 1, 13: 2, 14: 2}


class FlacStream(NamedTuple):
    """A FLAC, and what is not as its header says.

    Attributes:
        header: with which it is to be read, in place of all before `begin`; empty where that is as it should be.
        begin: behind its header.
        end: where another FLAC begins, else that of the file.
        counted: samples per channel that its frames hold, where its header says fewer, else 0.
        stated: samples per channel that its header says.
    """

    header: bytes
    begin: int
    end: int
    counted: int
    stated: int


def read_stream(descriptor: int, at: int, size: int) -> FlacStream | None:
    """Looks at a FLAC that begins at a place of an open file; None where there is none.

    Frames say where their samples lie in the recording, so the last one shows how long that is. One that was cut off
    has its last frame earlier; that is left to decoding.
    """
    read = reader(descriptor)
    raw = read(at, _INFO_AT + _INFO_BYTES)
    if raw[:4] != _MARK or raw[4:8] not in _INFO_HEADERS or len(raw) < _INFO_AT + _INFO_BYTES:
        return None
    info = raw[_INFO_AT:]
    sound = _behind_blocks(read, at + len(_MARK))
    # One of another encoder may begin with the other header; to look for both takes twice as long.
    end = next(find_marks(read, raw[:8], sound, size), size)
    if end < size:
        end = _before_tag(read, sound, end)
    stated = int.from_bytes(info[13:18], "big") & 0xF_FFFF_FFFF
    counted = _counted(read, info, stated, sound, end) if stated else 0
    header = b""
    if end < size or counted:
        samples = (info[13] >> 4 << 36 | (counted or stated)).to_bytes(5, "big")
        header = raw[: _INFO_AT + 13] + samples + raw[_INFO_AT + 18 :]
    return FlacStream(header, at + len(raw), end, counted, stated)


def _before_tag(read: Reader, sound: int, end: int) -> int:
    """Returns where an ID3v2 tag begins that ends at a place, else that place."""
    for place in find_marks(read, b"ID3", max(sound, end - _MOST_TAG_BYTES), end):
        if place + behind_id3(read(place, 10)) == end:
            return place
    return end


def _behind_blocks(read: Reader, at: int) -> int:
    """Returns where the first frame begins, behind blocks that may hold a picture."""
    for _ in range(_MAX_BLOCKS):
        header = read(at, 4)
        at += 4 + int.from_bytes(header[1:], "big")
        if len(header) < 4 or header[0] & 0x80:
            break
    return at


def _counted(read: Reader, info: bytes, stated: int, sound: int, end: int) -> int:
    """Returns how many samples per channel the frames hold if these are more than stated, else 0."""
    first = read(sound, _FRAME_HEADER_BYTES)
    begins = _extent(first, info)
    if begins is None:
        return 0
    tail_at = max(sound, end - min(_TAIL_BYTES, int.from_bytes(info[7:10], "big") or _TAIL_BYTES) - _ID3V1_BYTES)
    tail = read(tail_at, end - tail_at)
    place = tail.rfind(first[:2])
    while place >= 0:
        extent = _extent(tail[place : place + _FRAME_HEADER_BYTES], info)
        if extent is not None:
            counted = extent[1] - begins[0]
            return counted if counted > stated and _is_frame(tail[place:]) else 0
        place = tail.rfind(first[:2], 0, place)
    return 0


def _extent(header: bytes, info: bytes) -> tuple[int, int] | None:
    """Returns where in the recording the samples of a frame begin and end; None for what is no header of one."""
    if len(header) < _LEAST_HEADER_BYTES or header[0] != 0xFF or header[1] & 0xFE != 0xF8 or header[3] & 1:
        return None
    # A number as UTF-8 has it, of up to seven bytes.
    more = max(0, 7 - (header[4] ^ 0xFF).bit_length())
    at = 5 + more
    if more > 6 or (more == 0 and header[4] & 0x80):
        return None
    number = header[4] & (0x3F >> more if more else 0x7F)
    for byte in header[5:at]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    code = header[2] >> 4
    samples = _BLOCK_SAMPLES[code]
    if code in (6, 7):
        samples = int.from_bytes(header[at : at + code - 5], "big") + 1
        at += code - 5
    at += _MORE_BYTES_OF_RATE.get(header[2] & 15, 0)
    if not samples or at >= len(header) or _crc(header[:at], 8, 0x07) != header[at]:
        return None
    begin = number if header[1] & 1 else number * int.from_bytes(info[:2], "big")
    return begin, begin + samples


def _is_frame(content: bytes) -> bool:
    """Returns whether this is one frame by the checksum at its end, perhaps with a tag behind it."""
    return _crc(content, 16, 0x8005) == 0 or (
        content[-_ID3V1_BYTES:][:3] == b"TAG" and _crc(content[:-_ID3V1_BYTES], 16, 0x8005) == 0
    )


def _crc(content: bytes, bits: int, polynomial: int) -> int:
    table, crc, mask = _crc_table(bits, polynomial), 0, (1 << bits) - 1
    for byte in content:
        crc = (crc << 8 & mask) ^ table[(crc >> bits - 8) ^ byte]
    return crc


@functools.cache
def _crc_table(bits: int, polynomial: int) -> tuple[int, ...]:
    table = []
    for value in range(256):
        crc = value << bits - 8
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc >> bits - 1 else 0)
            crc &= (1 << bits) - 1
        table.append(crc)
    return tuple(table)
