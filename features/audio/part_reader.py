"""Reads stretches of the parts of a file. What was read last stays open: to open it may be to look at all of it."""

import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from features.audio.ogg_links import MOST_PAGE_FRAMES, last_page_frames
from features.audio.sound_file import SoundFile, blocks
from features.audio.sound_parts import FileKey, Part, Stretch, file_key, open_part

# Frames of MPEG audio take bits and overlap from those before them, at low bit rates of several; read from a place, the
# first ones are not what they are in the whole.
_MPEG_BEFORE = 8 * 1152


class _PartReader:
    """A part of a file; what it reads follows from the place and the manner alone, whatever was read before.

    Of MPEG audio the last digits follow also from all that was decoded since it was opened, and libsndfile 1.2 gives
    some hundred wrong samples after a jump in a Vorbis that it has decoded from: so there is one jump after each
    opening. That of MPEG audio looks at all that is before the place: where stretches follow one another there is none.
    """

    def __init__(self, descriptor: int, mp3: bool, part: Part, audio: SoundFile | None = None) -> None:
        """Takes an open file, its part, and that opened, where it is."""
        self._descriptor = descriptor
        self._mp3 = mp3
        self._part = part
        self._audio = audio or open_part(descriptor, mp3, part)
        self._mpeg = self._audio.subtype.startswith("MPEG")
        self._next = 0  # the frame that is read next
        self._jumped = False

    def read(self, start: int, frames: int, forward: bool) -> Iterator[NDArray[np.float32]]:
        """Does what `read_part` does."""
        self._go_towards(start, forward)
        if before := start - self._next:
            for block in blocks(self._audio, before):
                self._next += len(block)
        for block in blocks(self._audio, frames):
            self._next += len(block)
            yield block

    def _go_towards(self, start: int, forward: bool) -> None:
        """Goes to a frame, or to one before it from which it is to be decoded."""
        if not self._audio.can_seek or (self._mpeg and forward):
            if start < self._next or self._jumped:
                self._reopen()
            if self._mpeg and not self._next:
                self._seek(0)
            return
        place = start
        if self._mpeg:
            place = max(0, start - _MPEG_BEFORE)
        elif self._audio.subtype == "VORBIS" and start > 0 and self._audio.frames - start < MOST_PAGE_FRAMES:
            # Within the last page of a stream libsndfile lands some hundred frames beside the one that it is asked for.
            last_page = self._audio.frames - last_page_frames(self._descriptor, self._part.begin, self._part.end)
            place = min(start, max(0, last_page - 1))
        if self._next and (self._mpeg or self._audio.format == "OGG"):
            self._reopen()
        self._jumped = True
        self._seek(place)

    def _seek(self, place: int) -> None:
        try:
            self._audio.seek(place)  # to 0 as well: an MP3's last digits depend on whether there was a seek
            self._next = place
        except (soundfile.SoundFileError, OSError):  # at the end of a FLAC that was cut off or does not say its length
            self._reopen()

    def _reopen(self) -> None:
        self._audio.close()
        self._audio, self._next = open_part(self._descriptor, self._mp3, self._part), 0
        self._jumped = False

    @property
    def ended(self) -> bool:
        """Whether nothing follows what was read."""
        return bool(self._next >= self._audio.frames)

    def close(self) -> None:
        """Closes the part, and not the file."""
        self._audio.close()


class _Kept(NamedTuple):
    key: FileKey
    part: Part
    reader: _PartReader
    descriptor: int

    def close(self) -> None:
        self.reader.close()
        os.close(self.descriptor)


# What was read last, where it was not read to its end.
_kept: list[_Kept] = []


def read_part(descriptor: int, mp3: bool, stretch: Stretch, forward: bool) -> Iterator[NDArray[np.float32]]:
    """Reads some frames of a part of an open file.

    Args:
        descriptor: of the file.
        mp3: whether its name says that it is an MP3.
        stretch: what to read; its part is closed where it is given opened.
        forward: whether stretches are asked for one after the other, as `features.audio.decode.decode_part` has it.

    Yields:
        float32 of shape (frames, channels), block by block.

    Raises:
        soundfile.SoundFileError: it cannot be opened, or decoding stops; what was decoded before has been given.
    """
    part, audio, start, frames = stretch
    if audio is not None:
        with audio:
            yield from _PartReader(descriptor, mp3, part, audio).read(start, frames, forward)
        return
    kept = _take(descriptor, mp3, part)
    try:
        yield from kept.reader.read(start, frames, forward)
    except BaseException:
        kept.close()
        raise
    if kept.reader.ended:
        kept.close()
    else:
        _kept.append(kept)


def _take(descriptor: int, mp3: bool, part: Part) -> _Kept:
    """Returns a part of an open file as it was kept, or opened anew."""
    key = file_key(descriptor, mp3)
    if _kept and _kept[0][:2] == (key, part):
        return _kept.pop()
    while _kept:
        _kept.pop().close()
    own = os.dup(descriptor)  # that of the request is closed when it is answered
    try:
        return _Kept(key, part, _PartReader(own, mp3, part), own)
    except BaseException:
        os.close(own)
        raise
