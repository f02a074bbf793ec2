"""Which part of an MPEG-4 or QuickTime file's sound is to be used, as its index says; nothing is decoded.

Encoders put samples before the sound and fill its last packet behind it. The edit list of a track, and the tag iTunSMPB
of Apple's encoders, say where the sound lies between. Versions of ffmpeg follow them to different extents, so that
here all that is decoded is requested of it, and cut afterwards.
"""

import os
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from features.errors import ClipError, Reason

_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide")
_MOST_BOXES = 100_000  # a fragmented file has two for each second or so
_MOST_EDITS = 64
_WHOLE_RATE = 0x10000
_EMPTY = -1
_MOST_TAG_BYTES = 512
_TAG = re.compile(rb"iTunSMPB.*?[0-9A-F]{8} ([0-9A-F]{8}) ([0-9A-F]{8}) ([0-9A-F]{16})", re.DOTALL | re.IGNORECASE)
NO_SOUND_TRACK = "there is no sound track in this video"

_Place = tuple[int, int]


class SoundPart(NamedTuple):
    """Which part of all that is decoded of a track is its sound.

    Attributes:
        start_ticks: where it begins.
        ticks: how long it is, None for all that follows.
        ticks_a_second: the unit.
        tag: samples before it, behind it and of it by iTunSMPB; None where it is not there.
    """

    start_ticks: int
    ticks: int | None
    ticks_a_second: int
    tag: tuple[int, int, int] | None

    def frames(self, decoded: int, rate_hz: int) -> tuple[int, int]:
        """Returns first frame and number of frames of the sound.

        Args:
            decoded: frames that were decoded.
            rate_hz: their rate; that of the track may be half of it, in HE-AAC.
        """
        start, end = round(self.start_ticks * rate_hz / self.ticks_a_second), decoded
        if self.ticks is not None:
            end = round((self.start_ticks + self.ticks) * rate_hz / self.ticks_a_second)
        # The tag is exact; it is believed where it accounts for all that is there.
        if self.tag and (scale := decoded / max(1, sum(self.tag))) in (1, 2):
            start, end = int(self.tag[0] * scale), int((self.tag[0] + self.tag[2]) * scale)
        start, end = min(start, decoded), min(end, decoded)
        return start, max(0, end - start)


def sound_part(descriptor: int, size: int) -> SoundPart | None:
    """Reads the index of a file.

    Args:
        descriptor: of the file; its position stays.
        size: its bytes.

    Returns:
        Which part is the sound; None for all other kinds of file, and where neither a tag nor one edit says it.

    Raises:
        ClipError: there is no index, as the file was cut off or its writer did not end; or no sound in it.
    """
    if os.pread(descriptor, 8, 0)[4:] not in _FIRST_BOXES:
        return None
    within = size + 1  # a byte more than there is, so that what ends there is seen to have been cut off
    index = next((place for name, *place in _boxes(descriptor, 0, within) if name == b"moov"), None)
    if index is None:
        raise ClipError("decode", Reason.DAMAGED, "its index (moov) is missing: it was cut off, or is not finished")
    tracks = [track for name, *track in _boxes(descriptor, *index) if name == b"trak"]
    kinds = [_kind(descriptor, track) for track in tracks]
    if b"soun" in kinds:
        first = kinds.index(b"soun")
        return _part(descriptor, index, tracks[first]) if all(kinds[:first]) else None
    if index[1] > size:
        raise ClipError("decode", Reason.DAMAGED, "its index (moov) was cut off")
    if kinds and all(kinds):
        raise ClipError("decode", Reason.UNSUPPORTED_CODEC, NO_SOUND_TRACK)
    return None


def _part(descriptor: int, index: list[int], track: list[int]) -> SoundPart | None:
    movie_hz, _ = _clock(descriptor, index, b"mvhd")
    track_hz, track_ticks = _clock(descriptor, track, b"mdia", b"mdhd")
    if not movie_hz or not track_hz:
        return None
    tag = _tag(descriptor, index)
    edits = _edits(descriptor, track)
    while edits and edits[0][1] == _EMPTY:  # sound that begins later is no silence before it
        edits = edits[1:]
    if not edits:
        return SoundPart(tag[0], None, track_hz, tag) if tag else None
    if len(edits) > 1 or edits[0][1] < 0 or edits[0][2] != _WHOLE_RATE:
        return None
    duration, start, _ = edits[0]
    if not duration:
        return SoundPart(start, None, track_hz, tag)
    # The clock of the movie is coarse, often of milliseconds: where they agree the track's own is exact.
    rest = track_ticks - start
    ticks = rest if abs(duration * track_hz - rest * movie_hz) < track_hz else round(duration * track_hz / movie_hz)
    return SoundPart(start, ticks, track_hz, tag)


def _kind(descriptor: int, track: list[int]) -> bytes:
    """Returns what a track is, `soun` or something else; empty where it does not say."""
    for at, _ in _inner(descriptor, track, b"mdia", b"hdlr"):
        return os.pread(descriptor, 12, at)[8:]
    return b""


def _boxes(descriptor: int, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields name, begin and end of the content of the boxes that begin between two places and end there at most."""
    for _ in range(_MOST_BOXES):
        head = os.pread(descriptor, 16, at) if at < end else b""
        if len(head) < 8:
            return
        size, header = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(head[8:16], "big"), 16
        elif size == 0:
            size = end - at
        if size < header or at + header > end:
            return
        yield head[4:8], at + header, min(at + size, end)
        at += size


def _inner(descriptor: int, outer: list[int], *names: bytes) -> list[_Place]:
    """Returns begin and end of the boxes that are reached by these names, one within the other."""
    places: list[_Place] = [(outer[0], outer[1])]
    for name in names:
        places = [(begin, end) for place in places for found, begin, end in _boxes(descriptor, *place) if found == name]
    return places


def _clock(descriptor: int, outer: list[int], *names: bytes) -> tuple[int, int]:
    """Returns ticks a second and the duration that a header of a movie or of a track's media says; zeros for none."""
    for at, _ in _inner(descriptor, outer, *names):
        head = os.pread(descriptor, 32, at)
        if len(head) == 32:
            return struct.unpack_from(">IQ" if head[0] else ">II", head, 20 if head[0] else 12)
    return 0, 0


def _edits(descriptor: int, track: list[int]) -> list[tuple[int, int, int]]:
    """Returns duration, start and rate of the edits of a track."""
    for at, end in _inner(descriptor, track, b"edts", b"elst"):
        content = os.pread(descriptor, min(end - at, 8 + 20 * _MOST_EDITS), at)
        entry = struct.Struct(">QqI" if content[:1] == b"\1" else ">IiI")
        count = min(int.from_bytes(content[4:8], "big"), max(0, len(content) - 8) // entry.size)
        return [entry.unpack_from(content, 8 + number * entry.size) for number in range(count)]
    return []


def _tag(descriptor: int, index: list[int]) -> tuple[int, int, int] | None:
    """Returns the samples before, behind and of the sound by iTunSMPB, None where it is not there."""
    for at, end in _inner(descriptor, index, b"udta", b"meta"):
        for begin, _ in ((at, end), (at + 4, end)):  # of MPEG-4 with a version, of QuickTime without
            for place, behind in _inner(descriptor, [begin, end], b"ilst", b"----"):
                found = _TAG.search(os.pread(descriptor, min(_MOST_TAG_BYTES, behind - place), place))
                if found:
                    before, after, samples = (int(number, 16) for number in found.groups())
                    return before, after, samples
    return None
