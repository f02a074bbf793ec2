"""The frames of MPEG audio (MP3 and its siblings), found by their headers alone: nothing is decoded.

Decoders guess how long an MP3 without a length header is from the bit rate of its first frame, which is wrong where the
rate varies, and where tags are counted as sound. A frame says how long it is, so to walk from one to the next is exact.
"""

import os
from typing import Literal, NamedTuple

from features.audio.endings import behind_id3
from features.audio.file_view import FileView
from features.audio.mpeg_header import HEADER_BYTES, LAYER1, LAYER3, Lengths, frame_lengths, frame_samples

_BLOCK_BYTES = 2**16  # what is larger would be memory that the system clears anew for each
_SEARCHED_BYTES = 2**12  # the first frame is mostly where it is looked for
_MARK_WITHIN_BYTES = 200
_XING_FRAMES = 1
_XING_BYTES = 2
_VBRI_AT = 36  # of its frame; its number of frames is 14 bytes further
_BEFORE_MARK = bytes(9)  # at least so many zeros lie between a frame's own header and one without sound
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
    return _with_sound(sounds)


def _with_sound(sounds: list[MpegSound]) -> tuple[MpegSound, ...]:
    """Leaves out headers that no frame follows; where there is nothing else, decoding has to show what is there."""
    kept: list[MpegSound] = []
    header = None
    for sound in sounds:
        if sound.length == "counted" and not sound.frames:
            header = sound
        else:
            kept.append(sound._replace(headed=sound.headed or header is not None))
            header = None
    if not kept:
        return (sounds[0]._replace(end=sounds[-1].end, length="unknown"),)
    if header is not None:  # what it promises does not follow
        kept[-1] = kept[-1]._replace(cut_off=kept[-1].cut_off or header.cut_off)
    return tuple(kept)


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
    begin = first if stated is None else first + lengths[head[:HEADER_BYTES]]
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
        # Where it is found again at a place from which nothing could be walked, the file is being written to.
        if headed or found is not lengths or told or (again <= at and not more):
            if headed or _walk(descriptor, again, end, found, 2)[0] == 2:  # encoders count one more or less
                follows = again
            break
        clean, at = False, again
    rest = os.pread(descriptor, HEADER_BYTES, at) if at < follows else b""
    # A last frame that lacks nothing but its padding is no sound, since decoders do not take it, and no loss.
    slot = 4 if head[1] >> 1 & 3 == LAYER1 else 1
    partial = lengths[rest[:3] + (rest[3:] or head[3:4])] > follows - at + slot
    if told and stated is not None and (follows == end or told - count <= 1):
        # Where the walk came to the end, it shows what is missing, else the size, which encoders count in their ways.
        fewer = told - count > (0 if partial else 1) and (partial or _after_tags(descriptor, at, end) == end)
        cut_off = follows == end and (fewer or first + stated.size - _TOLERANCE_BYTES > end)
        return MpegSound(first, end if follows == end else at, "told", 0, cut_off, headed=False), follows
    cut_off = damaged or partial or (stated is not None and stated.frames - count > 1)
    if not clean:
        return MpegSound(begin, follows, "unknown", 0, cut_off, stated is not None), follows
    return MpegSound(begin, at, "counted", count * frame_samples(head[1]), cut_off, stated is not None), follows


def _frame_at(descriptor: int, at: int) -> _Frame:
    """Looks at a place where a frame may begin."""
    head = os.pread(descriptor, _MARK_WITHIN_BYTES, at)
    lengths = frame_lengths(head)
    return _Frame(head, lengths, _stated(head[: lengths[head[:HEADER_BYTES]]]) if lengths is not None else None)


def _stated(head: bytes) -> _Stated | None:
    """Returns what a frame states, given as far as a mark may stand in it, if it is a header without sound."""
    if len(head) < HEADER_BYTES or head[1] >> 1 & 3 != LAYER3:
        return None
    if (at := max(head.find(b"Xing"), head.find(b"Info"))) >= 0:
        flags, at = int.from_bytes(head[at + 4 : at + 8], "big"), at + 8
        frames = size = 0
        if flags & _XING_FRAMES:
            frames, at = int.from_bytes(head[at : at + 4], "big"), at + 4
        if flags & _XING_BYTES:
            size = int.from_bytes(head[at : at + 4], "big")
        return _Stated(frames, size, believed=True)
    if head[_VBRI_AT : _VBRI_AT + 4] == b"VBRI":
        size, frames = (int.from_bytes(head[_VBRI_AT + at : _VBRI_AT + at + 4], "big") for at in (10, 14))
        return _Stated(frames, size, believed=False)
    return None


def frames_only(descriptor: int, sound: MpegSound) -> FileView:
    """Returns the frames of an open file, for decoders that guess from a file's size how far they may read.

    It claims to be so long that no guess is too low.
    """
    claimed = ((sound.end - sound.begin) // _LEAST_FRAME_BYTES + 1) * _MOST_FRAME_BYTES
    return FileView(descriptor, sound.begin, sound.end, claimed=claimed)


def _walk(descriptor: int, at: int, end: int, lengths: Lengths, most: int) -> tuple[int, int, int]:
    """Returns how many frames of sound follow one another from a place on, where the last one ends, and begins."""
    frames, begin = 0, at
    while True:
        limit = end - at
        block = os.pread(descriptor, max(0, min(_BLOCK_BYTES, limit)), at)
        last = len(block) - (_MARK_WITHIN_BYTES if len(block) < limit else HEADER_BYTES)
        place = before = 0
        while place < last and frames < most:
            behind = place + lengths[block[place : place + HEADER_BYTES]]
            # Few frames begin with a zero; what is before the mark of a header without sound is nothing else.
            if (
                behind == place
                or behind > limit
                or (
                    not block[place + HEADER_BYTES]
                    and block.startswith(_BEFORE_MARK, place + HEADER_BYTES)
                    and _stated(block[place : min(behind, place + _MARK_WITHIN_BYTES)])
                )
            ):
                return frames, at + place, at + before if place else begin
            frames += 1
            before = place
            place = behind
        if place:
            begin = at + before
        at += place
        if not place or frames == most:
            return frames, at, begin


def _first_frame(descriptor: int, at: int, end: int) -> tuple[Lengths | None, int]:
    """Finds the first frame from a place on that others follow.

    Returns:
        The lengths of its stream and its place; None and -1 where there is none.
    """
    while at < end:
        block = os.pread(descriptor, min(_SEARCHED_BYTES, end - at), at)
        place = block.find(b"\xff")
        while 0 <= place <= len(block) - HEADER_BYTES:
            found = frame_lengths(block[place : place + HEADER_BYTES])
            if found is not None and _chain(descriptor, at, end, found, block, place):
                return found, at + place
            place = block.find(b"\xff", place + 1)
        if len(block) < HEADER_BYTES:
            break
        at += len(block) - HEADER_BYTES + 1
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
        mark = block[place : place + HEADER_BYTES]
        if len(mark) < HEADER_BYTES:
            mark = os.pread(descriptor, HEADER_BYTES, at + place)
        length = lengths[mark]
        if not length:
            return mark[:3] in (b"TAG", b"APE", b"ID3", b"LYR")
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
