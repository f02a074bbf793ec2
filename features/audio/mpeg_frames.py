"""The frames of MPEG audio (MP3 and its siblings), found by their headers alone: nothing is decoded.

Decoders guess how long an MP3 without a length header is from the bit rate of its first frame, which is wrong where the
rate varies, and where tags are counted as sound. A frame says how long it is, so to walk from one to the next is exact.
"""

import os
from typing import Literal, NamedTuple

from features.audio.endings import behind_id3
from features.audio.file_view import FileView
from features.audio.mpeg_header import LAYER1, LAYER3, Lengths, frame_lengths, frame_samples

_BLOCK_BYTES = 2**16  # what is larger would be memory that the system clears anew for each
_SEARCHED_BYTES = 2**12  # the first frame is mostly where it is looked for
_HEADER_BYTES = 4
_XING_WITHIN_BYTES = 200
_XING_FRAMES = 1
_XING_BYTES = 2
_VBRI_AT = 36  # of its frame; its number of frames is 14 bytes further
_MARKS = (b"Xing", b"Info", b"VBRI")
# Where one of these may stand in a frame, by channels and version, and how far that reaches; before it are zeros.
_MARK_PLACES, _MARK_BYTES = (13, 21, 36), 40
_BEFORE_MARK = bytes(9)
_MOST_FRAME_BYTES = 2_881
_LEAST_FRAME_BYTES = 24
_TOLERANCE_BYTES = 4096  # encoders count the last frame, the header's own and tags in their own ways
# So many frames that follow one another are no accident.
_CHAIN = 3
_ID3V1_BYTES = 128
_APE_HEADER_BYTES = 32


class MpegSound(NamedTuple):
    """Where the frames of a file are, and how long they are together.

    Attributes:
        begin: of the first frame of sound.
        end: behind the last byte that may belong to one.
        length: `told` by a Xing or Info header that decoders believe, `counted` where every frame follows the one
            before it, `unknown` where only decoding shows, as something else lies between frames.
        frames: samples per channel where they were counted, else 0.
        cut_off: whether the last frame is not whole, less is there than a header says, or something that is no tag lies
            between frames.
        headed: whether a header without sound, which decoders may take for a frame of it, lies before `begin`.
    """

    begin: int
    end: int
    length: Literal["told", "counted", "unknown"]
    frames: int
    cut_off: bool
    headed: bool


class _Stated(NamedTuple):
    """What a header says that takes the place of the first frame: 0 for what it does not say.

    Attributes:
        frames: how many follow it.
        size: bytes of them and of itself.
        believed: whether decoders go by it.
    """

    frames: int
    size: int
    believed: bool


class _Frame(NamedTuple):
    """How a frame begins, the lengths of those of its stream, and what it states if it is a header without sound.

    `lengths` is None where it is no frame.
    """

    head: bytes
    lengths: Lengths | None
    stated: _Stated | None


def find_sounds(descriptor: int, begin: int, end: int, searched: bool = True) -> tuple[MpegSound, ...]:
    """Walks the frame headers of an open file, but where a header at its beginning agrees with where it ends.

    Args:
        descriptor: of the file; its position stays.
        begin: where to look from, such as that of the data of a WAV.
        end: where the file, or the data in it, ends.
        searched: whether something else than a tag may come before the first frame.

    Returns:
        One, or several where files were joined that a decoder takes for more than one; none where it is not searched
        for and does not begin there.
    """
    frame = _frame_at(descriptor, begin)
    if frame.lengths is None:
        begin = _after_tags(descriptor, begin, end)
        frame = _frame_at(descriptor, begin)
        if frame.lengths is None and not searched:
            return ()
    sound, begin = _find_sound(descriptor, begin, end, frame)
    sounds = [sound]
    while begin < end:
        sound, begin = _find_sound(descriptor, begin, end, _frame_at(descriptor, begin))
        sounds.append(sound)
    return tuple(sounds)


def _find_sound(descriptor: int, at: int, end: int, frame: _Frame) -> tuple[MpegSound, int]:
    """Returns the sound that begins at a place or behind it, and where the next one begins: at the end if none does."""
    stated = frame.stated
    if stated and stated.believed and stated.frames and stated.size:
        behind = at + stated.size
        if behind == end or (behind < end and _after_tags(descriptor, behind, end) == end):
            return MpegSound(at, end, "told", 0, cut_off=False, headed=False), end
    lengths, first = _first_frame(descriptor, at, end)
    if lengths is None:
        return MpegSound(at, end, "unknown", 0, cut_off=False, headed=False), end
    if first > at:
        frame = _frame_at(descriptor, first)
        stated = frame.stated
    head = frame.head
    told = stated.frames if stated and stated.believed else 0
    begin = first if stated is None else first + lengths[head[:3]]
    count, at, clean, damaged, follows = 0, begin, True, False, end
    while at < end:
        more, at, last = _walk(descriptor, at, end, lengths, told - count if told else end)
        count += more
        if at == end:
            break
        after = _after_tags(descriptor, at, end)
        # Where no tag follows, another frame may begin before the last one ends: that was cut off.
        found, again = _first_frame(descriptor, after if after > at or not more else last + 1, end)
        if found is None:
            break
        if again < after:
            count, at, after = count - 1, again, -1
        damaged |= again != after
        headed = _frame_at(descriptor, again).stated is not None
        if headed or found != lengths or told:
            if headed or _walk(descriptor, again, end, found, 2)[0] == 2:  # encoders count one more or less
                follows = again
            break
        clean, at = False, again
    if told and (follows == end or told - count <= 1):
        cut_off = follows == end and stated is not None and first + stated.size - _TOLERANCE_BYTES > end
        return MpegSound(first, end if follows == end else at, "told", 0, cut_off, headed=False), follows
    rest = os.pread(descriptor, _HEADER_BYTES, at) if at < follows else b""
    # A last frame that lacks nothing but its padding is no sound, since decoders do not take it, and no loss.
    slot = 4 if head[1] >> 1 & 3 == LAYER1 else 1
    partial = lengths.get(rest[:3], 0) > follows - at + slot
    cut_off = damaged or partial or (stated is not None and stated.frames - count > 1)
    if not clean:
        return MpegSound(begin, follows, "unknown", 0, cut_off, stated is not None), follows
    return MpegSound(begin, at, "counted", count * frame_samples(head[1]), cut_off, stated is not None), follows


def _frame_at(descriptor: int, at: int) -> _Frame:
    """Looks at a place where a frame may begin."""
    head = os.pread(descriptor, _XING_WITHIN_BYTES, at)
    lengths = frame_lengths(head[1], head[2]) if head[:1] == b"\xff" and len(head) > 2 else None
    if lengths is None:
        return _Frame(head, None, None)
    head = head[: lengths.get(head[:3], 0)]
    if (at := max(head.find(b"Xing"), head.find(b"Info"))) >= 0 and head[1] >> 1 & 3 == LAYER3:
        flags, at = int.from_bytes(head[at + 4 : at + 8], "big"), at + 8
        frames = size = 0
        if flags & _XING_FRAMES:
            frames, at = int.from_bytes(head[at : at + 4], "big"), at + 4
        if flags & _XING_BYTES:
            size = int.from_bytes(head[at : at + 4], "big")
        return _Frame(head, lengths, _Stated(frames, size, believed=True))
    if head[_VBRI_AT : _VBRI_AT + 4] == b"VBRI":
        size, frames = (int.from_bytes(head[_VBRI_AT + at : _VBRI_AT + at + 4], "big") for at in (10, 14))
        return _Frame(head, lengths, _Stated(frames, size, believed=False))
    return _Frame(head, lengths, None)


def frames_only(descriptor: int, sound: MpegSound) -> FileView:
    """Returns the frames of an open file, for decoders that guess from a file's size how far they may read.

    It claims to be so long that no guess is too low.
    """
    claimed = ((sound.end - sound.begin) // _LEAST_FRAME_BYTES + 1) * _MOST_FRAME_BYTES
    return FileView(descriptor, sound.begin, sound.end, claimed=claimed)


def _walk(descriptor: int, at: int, end: int, lengths: Lengths, most: int) -> tuple[int, int, int]:
    """Returns how many frames of sound follow one another from a place on, where the last one ends, and begins."""
    frames, begin, get = 0, at, lengths.get
    while True:
        limit = end - at
        block = os.pread(descriptor, max(0, min(_BLOCK_BYTES, limit)), at)
        last = len(block) - (_MARK_BYTES if len(block) < limit else _HEADER_BYTES)
        place = before = 0
        while place < last and frames < most:
            behind = place + get(block[place : place + 3], limit + 1)
            # Few frames begin with a zero; what is before the mark of a header without sound is nothing else.
            if behind > limit or (not block[place + _HEADER_BYTES] and _is_marked(block, place)):
                return frames, at + place, at + before if place else begin
            frames += 1
            before = place
            place = behind
        if place:
            begin = at + before
        at += place
        if not place or frames == most:
            return frames, at, begin


def _is_marked(block: bytes, place: int) -> bool:
    """Returns whether a frame has the mark of a header without sound."""
    return block.startswith(_BEFORE_MARK, place + _HEADER_BYTES) and any(
        block.startswith(_MARKS, place + mark) for mark in _MARK_PLACES
    )


def _first_frame(descriptor: int, at: int, end: int) -> tuple[Lengths | None, int]:
    """Finds the first frame from a place on that others follow.

    Returns:
        The lengths of its stream and its place; None and -1 where there is none.
    """
    while at < end:
        block = os.pread(descriptor, min(_SEARCHED_BYTES, end - at), at)
        place = block.find(b"\xff")
        while 0 <= place < len(block) - 2:
            found = frame_lengths(block[place + 1], block[place + 2])
            if found and _chain(descriptor, at, end, found, block, place):
                return found, at + place
            place = block.find(b"\xff", place + 1)
        if len(block) < _HEADER_BYTES:
            break
        at += len(block) - 2
    return None, -1


def _chain(descriptor: int, at: int, end: int, lengths: Lengths, block: bytes, place: int) -> bool:
    """Returns whether several frames follow one another, or frames up to the end or to a tag.

    Args:
        descriptor: of the file.
        at: where a block of it begins.
        end: where the sound may end.
        lengths: of the frames.
        block: the block.
        place: in the block, where the first frame is.
    """
    for done in range(_CHAIN):
        mark = block[place : place + 3] if place < len(block) - 2 else os.pread(descriptor, 3, at + place)
        length = lengths.get(mark, 0)
        if not length:
            return mark in (b"TAG", b"APE", b"ID3", b"LYR")
        place += length
        if at + place >= end:
            return at + place == end or done > 0
    return True


def _after_tags(descriptor: int, at: int, end: int) -> int:
    """Returns the place behind ID3v2, ID3v1 and APE tags and zeros that begin at a place."""
    while at < end:
        head = os.pread(descriptor, _APE_HEADER_BYTES, at)
        if tag := behind_id3(head):
            at += tag
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
