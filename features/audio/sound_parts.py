"""The parts of a file that are decoded one by one: itself, the links of an Ogg, or the MP3s that were joined to one."""

import contextlib
import functools
import os
import re
from collections.abc import Callable
from typing import NamedTuple

import soundfile

from features.audio.containers import Container, inspect, not_used
from features.audio.file_view import FileView
from features.audio.mpeg_frames import MpegSound, find_sounds, frames_only
from features.audio.ogg_links import MOST_PAGE_FRAMES, last_page_frames
from features.audio.sound_file import UNKNOWN_FRAMES, SoundFile, blocks, count
from features.errors import ClipError
from features.runtime.quantities import counted

# A FLAC of silence has 4,681 frames per byte, GSM, the densest of the codecs of a fixed rate, 160 in 33; a header that
# promises more is not believed, the frames are counted.
_MOST_FRAMES_A_BYTE = 2**13
_MOST_FRAMES_A_BYTE_OF_FIXED_RATE = 8
# Frames of MPEG audio take bits and overlap from those before them, at low bit rates of several; read from a place, the
# first ones are not what they are in the whole.
_MPEG_BEFORE = 8 * 1152
_VARIABLE_RATE = re.compile("FLAC|VORBIS|OPUS|MPEG|ALAC")


class Part(NamedTuple):
    """A part of a file that a decoder reads as a file.

    Attributes:
        begin: its first byte.
        end: behind its last byte.
        header: what it is to begin with in place of what is before `begin`.
        viewed: whether the decoder sees these alone, else the file as it is.
        mpeg: where its frames are and how long they are, of MPEG audio.
        frames: samples per channel, 0 where it is the only part and they were not asked for.
    """

    begin: int
    end: int
    header: bytes = b""
    viewed: bool = True
    mpeg: MpegSound | None = None
    frames: int = 0


class Plan(NamedTuple):
    """How a file is read.

    Attributes:
        container: what it says of itself.
        parts: which are heard one after the other.
        cut_off: whether something is known to be missing at the end of one of several parts.
        joined: what follows them that does not fit the first one, empty if nothing does.
    """

    container: Container
    parts: tuple[Part, ...]
    cut_off: bool
    joined: str


# That of the last file: the requests for its windows follow one another.
_last: dict[tuple[int | bool, ...], Plan] = {}


def open_planned(descriptor: int, mp3: bool) -> tuple[Plan, SoundFile]:
    """Returns how an open file is read, and its first part, opened.

    Args:
        descriptor: of the file.
        mp3: whether its name says that it is an MP3.

    Raises:
        ClipError: one of several parts decodes to more than it can hold.
        soundfile.SoundFileError: soundfile does not read it.
    """
    status = os.fstat(descriptor)
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, mp3)
    plan = _last.get(key)
    if plan is not None and status.st_nlink:  # one without a name may be another that has its number again
        return plan, _open(descriptor, mp3, plan.parts[0])
    _last.clear()
    plan, audio = _plan(descriptor, mp3, status.st_size)
    _last[key] = plan
    return plan, audio


def length(audio: SoundFile, part: Part) -> tuple[int, bool]:
    """Returns how many frames a part has, counted where no header can be believed, and whether some are missing.

    Raises:
        ClipError: it decodes to more than it can hold.
        soundfile.SoundFileError: nothing of it can be decoded.
    """
    cut_off = part.mpeg is not None and part.mpeg.cut_off
    if part.mpeg is not None and part.mpeg.length == "counted":
        return part.mpeg.frames, cut_off
    promised, size = audio.frames, part.end - part.begin + len(part.header)
    most = size * _MOST_FRAMES_A_BYTE_OF_FIXED_RATE
    if part.mpeg is not None or (promised > most and _VARIABLE_RATE.search(f"{audio.format} {audio.subtype}")):
        most = size * _MOST_FRAMES_A_BYTE
    if part.mpeg is not None and part.mpeg.length == "unknown":
        frames, stopped = count(audio, most)
        return frames, cut_off or stopped
    if promised <= most:
        return promised, cut_off
    frames, stopped = count(audio, most)
    return frames, stopped or promised != UNKNOWN_FRAMES


def parts_at(descriptor: int, mp3: bool, start: int, frames: int) -> list[tuple[Callable[[], SoundFile], int]]:
    """Finds the parts that hold some frames.

    Args:
        descriptor: of the file.
        mp3: whether its name says that it is an MP3.
        start: first frame to read.
        frames: how many to read at most.

    Returns:
        What opens each part at the first of the frames, and how many of them it has.
    """
    plan, audio = open_planned(descriptor, mp3)
    if len(plan.parts) == 1:
        return [(functools.partial(_at, descriptor, mp3, plan.parts[0], audio, start), frames)]

    def open_at(part: Part, first: int) -> SoundFile:
        return _at(descriptor, mp3, part, _open(descriptor, mp3, part), first)

    found: list[tuple[Callable[[], SoundFile], int]] = []
    for part in plan.parts:
        if here := min(frames, max(0, part.frames - start)):
            found.append((functools.partial(open_at, part, start), here))
        start, frames = max(0, start - part.frames), frames - here
    return found


def _plan(descriptor: int, mp3: bool, size: int) -> tuple[Plan, SoundFile]:
    sounds = find_sounds(descriptor, 0, size, searched=False) if mp3 else ()
    container = Container(size) if sounds else inspect(descriptor, size)
    if container.links not in ((), ((0, size),)):
        return _joined(descriptor, mp3, container, [Part(*link) for link in container.links], size)
    part = Part(0, size, viewed=False)
    if container.header:
        part = Part(container.begin, container.end, container.header)
    audio = _open(descriptor, mp3, part)
    if not sounds and audio.subtype.startswith("MPEG"):
        sounds = find_sounds(descriptor, container.begin, container.end)
    if len(sounds) > 1:
        parts = [Part(sound.begin, sound.end, mpeg=sound) for sound in sounds]
        with contextlib.suppress(soundfile.LibsndfileError):
            return _joined(descriptor, mp3, container, parts, container.end)
    for sound in sounds[:1]:
        part = part._replace(mpeg=sound)
        # libsndfile guesses a length that no header tells, and reads no further.
        guessed = sound.length != "told" and (sound.length == "unknown" or sound.frames > audio.frames)
        if sound.headed or guessed:
            frames_alone = Part(sound.begin, sound.end, mpeg=sound)
            with contextlib.suppress(soundfile.LibsndfileError):
                audio, part = _open(descriptor, mp3, frames_alone), frames_alone
    return Plan(container, (part,), False, container.joined), audio


def _joined(descriptor: int, mp3: bool, container: Container, parts: list[Part], end: int) -> tuple[Plan, SoundFile]:
    """Plans to read parts up to the first one that has another rate, or other channels, or cannot be read.

    Raises:
        ClipError: the first one decodes to more than it can hold.
        soundfile.SoundFileError: the first one cannot be read.
    """
    first = _open(descriptor, mp3, parts[0])
    used: list[Part] = []
    cut_off, joined = False, container.joined
    for part in parts:
        why = "it cannot be decoded"
        try:
            with _open(descriptor, mp3, part) as audio:
                if (audio.channels, audio.samplerate) == (first.channels, first.samplerate):
                    frames, missing = length(audio, part)
                    used.append(part._replace(frames=frames))
                    cut_off |= missing
                    continue
                why = f"it has {counted(audio.channels, 'channel')} at {audio.samplerate:,} Hz"
        except (ClipError, soundfile.SoundFileError):
            if not used:
                raise
        joined = f"{not_used(end - part.begin)}: {why}"
        break
    return Plan(container, tuple(used), cut_off, joined), first


def _open(descriptor: int, mp3: bool, part: Part) -> SoundFile:
    if not part.viewed:
        return SoundFile(descriptor, mp3)
    if part.mpeg is not None and part.mpeg.length != "told":
        return SoundFile(frames_only(descriptor, part.mpeg))
    return SoundFile(FileView(descriptor, part.begin, part.end, part.header))


def _at(descriptor: int, mp3: bool, part: Part, audio: SoundFile, start: int) -> SoundFile:
    """Goes to a frame of a part."""
    done = 0
    if audio.can_seek:
        place = start
        if audio.subtype.startswith("MPEG"):
            place = max(0, start - _MPEG_BEFORE)
        elif audio.subtype == "VORBIS" and start > 0 and audio.frames - start < MOST_PAGE_FRAMES:
            # Within the last page of a stream libsndfile lands some hundred frames beside the one that it is asked for.
            last_page = audio.frames - last_page_frames(descriptor, part.begin, part.end)
            place = min(start, max(0, last_page - 1))
        try:
            audio.seek(place)  # to 0 as well: an MP3's last digits depend on whether there was a seek
            done = place
        except (soundfile.SoundFileError, OSError):  # at the end of a FLAC that was cut off or does not say its length
            audio = _open(descriptor, mp3, part)
    if done < start:
        for _ in blocks(audio, start - done):
            pass
    return audio
