"""The frames of MPEG audio (MP3 and its siblings), found by their headers alone: nothing is decoded.

Decoders guess how long an MP3 without a length header is from the bit rate of its first frame, which is wrong where the
rate varies, and where tags are counted as sound. A frame says how long it is, so to walk from one to the next is exact.
"""

import functools
import os
from typing import Literal, NamedTuple

from features.audio.file_view import FileView

_BLOCK_BYTES = 2**18
_SEARCHED_BYTES = 2**12  # the first frame is mostly where it is looked for
_HEADER_BYTES = 4
_XING_WITHIN_BYTES = 200
_XING_FRAMES = 1
# A VBRI header stands 32 bytes behind that of its frame; the number of frames is 14 bytes further.
_VBRI_AT, _VBRI_FRAMES_AT = 36, 50
_MOST_FRAME_BYTES = 2_881
_LEAST_FRAME_BYTES = 24
# So many frames that follow one another are no accident.
_CHAIN = 3
_ID3V1_BYTES = 128
_APE_HEADER_BYTES = 32
_MPEG1, _LAYER1, _LAYER3 = 3, 3, 1
# Bit rates in kbit/s by (whether MPEG-1, layer as its two bits say).
_LOW_RATES = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_BIT_RATES = {
    (True, 3): tuple(range(32, 449, 32)),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): _LOW_RATES,
    (False, 1): _LOW_RATES,
}
_RATES_HZ = (44_100, 48_000, 32_000)
_RATE_DIVISORS = {3: 1, 2: 2, 0: 4}  # MPEG-1, MPEG-2, MPEG-2.5

Lengths = dict[int, int]
"""Bytes of a frame by the second and third byte of its header, for all headers that one stream may have."""


class MpegSound(NamedTuple):
    """Where the frames of a file are, and how long they are together.

    Attributes:
        begin: of the first frame of sound.
        end: behind the last byte that may belong to one.
        length: `told` by a Xing or Info header that decoders believe, `counted` where every frame follows the one
            before it, `unknown` where only decoding shows, as something else lies between frames.
        frames: samples per channel where they were counted, else 0.
        cut_off: whether the last frame is not whole, fewer are there than a VBRI header says, or something that is
            no tag lies between frames.
        headed: whether a header without sound, which decoders may take for a frame of it, lies before `begin`.
    """

    begin: int
    end: int
    length: Literal["told", "counted", "unknown"]
    frames: int
    cut_off: bool
    headed: bool


def find_sound(descriptor: int, begin: int, end: int) -> MpegSound:
    """Walks the frame headers of an open file; the last answer is remembered.

    Args:
        descriptor: of the file; its position stays.
        begin: where to look from, such as that of the data of a WAV.
        end: where the file, or the data in it, ends.
    """
    status = os.fstat(descriptor)
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, begin, end)
    if key not in _last or not status.st_nlink:  # one without a name may be another that has its number again
        _last.clear()
        _last[key] = _find_sound(descriptor, begin, end)
    return _last[key]


# What is known of the last file: its parts follow one another.
_last: dict[tuple[int, ...], MpegSound] = {}


def _find_sound(descriptor: int, begin: int, end: int) -> MpegSound:
    at = _after_tags(descriptor, begin, end)
    lengths, first = _first_frame(descriptor, at, end)
    if lengths is None:
        return MpegSound(at, end, "unknown", 0, cut_off=False, headed=False)
    head = os.pread(descriptor, _XING_WITHIN_BYTES, first)
    told, headed = 0, False
    if (xing := max(head.find(b"Xing"), head.find(b"Info"))) >= 0 and head[1] >> 1 & 3 == _LAYER3:
        if int.from_bytes(head[xing + 4 : xing + 8], "big") & _XING_FRAMES:
            return MpegSound(first, end, "told", 0, cut_off=False, headed=False)
        headed = True
    elif head[_VBRI_AT : _VBRI_AT + 4] == b"VBRI":
        headed, told = True, int.from_bytes(head[_VBRI_FRAMES_AT : _VBRI_FRAMES_AT + 4], "big")
    if headed:
        first += lengths[head[1] << 8 | head[2]]
    count, at, clean, damaged = 0, first, True, False
    while True:
        more, at = _walk(descriptor, at, end, lengths)
        count += more
        after = _after_tags(descriptor, at, end)
        _, again = _first_frame(descriptor, after, end, lengths)
        if again < 0:
            break
        clean, damaged, at = False, damaged or again > after, again
    last = os.pread(descriptor, _HEADER_BYTES, at) if at < end else b""
    # A last frame that lacks nothing but its padding is no sound, since decoders do not take it, and no loss.
    slot = 4 if head[1] >> 1 & 3 == _LAYER1 else 1
    partial = len(last) > 2 and last[0] == 0xFF and lengths.get(last[1] << 8 | last[2], 0) > end - at + slot
    cut_off = damaged or partial or told - count > 1
    if not clean:
        return MpegSound(first, end, "unknown", 0, cut_off, headed)
    return MpegSound(first, at, "counted", count * _frame_samples(head[1]), cut_off, headed)


def frames_only(descriptor: int, sound: MpegSound) -> FileView:
    """Returns the frames of an open file, for decoders that guess from a file's size how far they may read.

    It claims to be so long that no guess is too low.
    """
    claimed = ((sound.end - sound.begin) // _LEAST_FRAME_BYTES + 1) * _MOST_FRAME_BYTES
    return FileView(descriptor, sound.begin, sound.end, claimed=claimed)


def _frame_samples(second: int) -> int:
    """Returns the samples of a frame by the second byte of its header."""
    version, layer = second >> 3 & 3, second >> 1 & 3
    if layer == _LAYER1:
        return 384
    return 1152 if layer != _LAYER3 or version == _MPEG1 else 576


@functools.cache
def _frame_lengths(second: int, third: int) -> Lengths | None:
    """Returns the lengths for a stream that has a frame with such a header, None if that is not a header.

    Version, layer and sample rate stay the same throughout a stream; the bit rate, a byte of padding and a checksum
    come and go.
    """
    version, layer, rate = second >> 3 & 3, second >> 1 & 3, third >> 2 & 3
    if second & 0xE0 != 0xE0 or version == 1 or layer == 0 or rate == 3:
        return None
    rate_hz = _RATES_HZ[rate] // _RATE_DIVISORS[version]
    slot = 4 if layer == _LAYER1 else 1
    lengths = {}
    for number, kbits in enumerate(_BIT_RATES[version == _MPEG1, layer], start=1):
        for padding in (0, 1):
            slots = _frame_samples(second) // 8 * kbits * 1000 // (rate_hz * slot) + padding
            for private in (0, 1):
                for check in (0, 1):
                    key = (second & 0xFE | check) << 8 | number << 4 | rate << 2 | padding << 1 | private
                    lengths[key] = slots * slot
    return lengths


def _walk(descriptor: int, at: int, end: int, lengths: Lengths) -> tuple[int, int]:
    """Returns how many frames follow one another from a place on, and where the last of them ends."""
    frames = 0
    while True:
        block = os.pread(descriptor, max(0, min(_BLOCK_BYTES, end - at)), at)
        place, last = 0, len(block) - 2
        while place < last:
            length = lengths.get(block[place + 1] << 8 | block[place + 2], 0) if block[place] == 0xFF else 0
            if not length or at + place + length > end:
                return frames, at + place
            frames += 1
            place += length
        if not place:
            return frames, at
        at += place


def _first_frame(descriptor: int, at: int, end: int, lengths: Lengths | None = None) -> tuple[Lengths | None, int]:
    """Finds the first frame from a place on that others follow, of a known stream where its lengths are given.

    Returns:
        The lengths of its stream and its place; None and -1 where there is none.
    """
    while at < end:
        block = os.pread(descriptor, min(_SEARCHED_BYTES, end - at), at)
        place = block.find(b"\xff")
        while 0 <= place < len(block) - 2:
            found = _frame_lengths(block[place + 1], block[place + 2])
            if found and lengths in (None, found) and _chain(descriptor, at + place, end, found):
                return found, at + place
            place = block.find(b"\xff", place + 1)
        if len(block) < _HEADER_BYTES:
            break
        at += len(block) - 2
    return None, -1


def _chain(descriptor: int, at: int, end: int, lengths: Lengths) -> bool:
    """Returns whether several frames follow one another, or frames up to the end or to a tag."""
    for done in range(_CHAIN):
        head = os.pread(descriptor, _HEADER_BYTES, at)
        length = lengths.get(head[1] << 8 | head[2], 0) if len(head) > 2 and head[0] == 0xFF else 0
        if not length:
            return head[:3] in (b"TAG", b"APE", b"ID3", b"LYR")
        at += length
        if at >= end:
            return at == end or done > 0
    return True


def _after_tags(descriptor: int, at: int, end: int) -> int:
    """Returns the place behind ID3v2, ID3v1 and APE tags and zeros that begin at a place."""
    while at < end:
        head = os.pread(descriptor, _APE_HEADER_BYTES, at)
        if head[:3] == b"ID3" and len(head) >= 10:
            size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
            at += 10 + size + (10 if head[5] & 0x10 else 0)
        elif head[:3] == b"TAG":
            at += _ID3V1_BYTES
        elif head[:8] == b"APETAGEX" and len(head) == _APE_HEADER_BYTES:
            at += _APE_HEADER_BYTES + int.from_bytes(head[12:16], "little")
        elif head[:1] == b"\0":
            block = os.pread(descriptor, min(_BLOCK_BYTES, end - at), at)
            at += len(block) - len(block.lstrip(b"\0"))
        else:
            break
    return min(at, end)
