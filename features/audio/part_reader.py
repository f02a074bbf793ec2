"""Reads stretches of the parts of a file. What was read last stays open: to open it may be to look at all of it."""

import os
from collections import deque
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
# Blocks of windows overlap, and begin in front of the first window of a unit: so many samples of all channels that were
# decoded last are kept.
_KEPT_SAMPLES = 2**23


class _Stop(NamedTuple):
    """The frame before which decoding in order stopped, and why."""

    frame: int
    why: str


class _PartReader:
    """A part of a file; what it reads follows from the place and the manner alone, whatever was read before.

    Of MPEG audio the last digits follow also from all that was decoded since it was opened, and libsndfile 1.2 gives
    some hundred wrong samples after a jump in a Vorbis that it has decoded from: so there is one jump after each
    opening. That of MPEG audio looks at all that is before the place: where stretches follow one another there is none.

    What is decoded from its beginning on is so once: the last of it is kept, and where a damage ended it, if one did.
    Behind that it is read from places in the file, as far as it has any.
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
        self._last: deque[NDArray[np.float32]] = deque()  # blocks before that frame, of what is decoded in order
        self._stop: _Stop | None = None

    def read(self, start: int, frames: int, forward: bool) -> Iterator[NDArray[np.float32]]:
        """Does what `read_part` does."""
        if self._audio.can_seek and not (self._mpeg and forward):
            self._go_towards(start)
            yield from self._behind(start, frames)
            return
        if self._stop is not None and start >= self._stop.frame:
            yield from self._behind_stop(start, frames, self._stop)
            return
        if self._jumped or start < self._next - sum(map(len, self._last)):
            self._reopen()
        for block in self._again(start, frames):
            yield block
            start, frames = start + len(block), frames - len(block)
        if frames:
            yield from self._in_order(start, frames)

    def _again(self, start: int, frames: int) -> list[NDArray[np.float32]]:
        """Returns those of some frames that are kept."""
        found = []
        begin = self._next - sum(map(len, self._last))
        for block in self._last:
            here = block[max(0, start - begin) : max(0, start + frames - begin)]
            found += [here] if len(here) else []
            begin += len(block)
        return found

    def _in_order(self, start: int, frames: int) -> Iterator[NDArray[np.float32]]:
        """Decodes on up to a frame, and from there on, and yields the latter."""
        if self._stop is not None and self._next == self._stop.frame:
            raise soundfile.SoundFileError(self._stop.why)
        if self._mpeg and not self._next:
            self._seek(0)
        try:
            yield from self._behind(start, frames, keep=True)
            if self._next == start + frames or self.ended:
                return
            error: Exception = soundfile.SoundFileError("it ends early")
        except (soundfile.SoundFileError, OSError) as stopped:
            error = stopped
        self._stop = _Stop(self._next, str(error))
        if start < self._next:
            raise error
        yield from self._behind_stop(start, frames, self._stop)

    def _behind_stop(self, start: int, frames: int, stop: _Stop) -> Iterator[NDArray[np.float32]]:
        """Yields some frames behind the place where decoding in order stops, as one who begins there decodes them."""
        if self._audio.can_seek:
            self._go_towards(start)
        if not self._jumped:  # there is no such place, and from its beginning on it would stop again
            raise soundfile.SoundFileError(stop.why)
        yield from self._behind(start, frames)

    def _behind(self, start: int, frames: int, keep: bool = False) -> Iterator[NDArray[np.float32]]:
        """Decodes up to a frame, and from there on, and yields the latter."""
        if before := start - self._next:
            for block in blocks(self._audio, before):
                self._went(block, keep)
            if keep and self._next < start:
                return
        for block in blocks(self._audio, frames):
            self._went(block, keep)
            yield block

    def _went(self, block: NDArray[np.float32], keep: bool) -> None:
        self._next += len(block)
        if keep:
            self._last.append(block)
            while sum(map(len, self._last)) - len(self._last[0]) >= _KEPT_SAMPLES // self._audio.channels:
                self._last.popleft()

    def _go_towards(self, start: int) -> None:
        """Goes to a frame, or to one before it from which it is to be decoded."""
        place = start
        if self._mpeg:
            place = max(0, start - _MPEG_BEFORE)
        elif self._audio.subtype == "VORBIS" and start > 0 and self._audio.frames - start < MOST_PAGE_FRAMES:
            # Within the last page of a stream libsndfile lands some hundred frames beside the one that it is asked for.
            last_page = self._audio.frames - last_page_frames(self._descriptor, self._part.begin, self._part.end)
            place = min(start, max(0, last_page - 1))
        if (self._next or self._stop) and (self._mpeg or self._audio.format == "OGG"):
            self._reopen()
        self._last.clear()
        self._jumped = True
        self._seek(place)

    def _seek(self, place: int) -> None:
        if place == self._next == 0 and not self._audio.was_read and self._audio.format == "FLAC":
            return  # to decode one from its beginning gives what a jump there does, which decodes its first frame twice
        try:
            self._audio.seek(place)  # to 0 as well: an MP3's last digits depend on whether there was a seek
            self._next = place
        except (soundfile.SoundFileError, OSError):  # at the end of a FLAC that was cut off or does not say its length
            self._reopen()

    def _reopen(self) -> None:
        self._audio.close()
        self._audio, self._next = open_part(self._descriptor, self._mp3, self._part), 0
        self._jumped = False
        self._last.clear()

    @property
    def ended(self) -> bool:
        """Whether nothing follows what was read."""
        return bool(self._next >= self._audio.frames)

    @property
    def stops(self) -> bool:
        """Whether it is open, and known where decoding in order stops for a damage."""
        return self._stop is not None and not self._audio.closed

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
        if kept.reader.stops:
            _kept.append(kept)
        else:
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
