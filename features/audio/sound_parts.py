"""The parts of a file that are decoded one by one: itself, the links of an Ogg, or the MP3s that were joined to one."""

import contextlib
import os
import re
from typing import NamedTuple

import soundfile

from features.audio.containers import Container, inspect, not_used
from features.audio.file_view import FileView
from features.audio.mpeg_frames import MpegSound, find_sounds, frames_only
from features.audio.sound_file import UNKNOWN_FRAMES, SoundFile, count
from features.errors import ClipError
from features.runtime.quantities import counted

# A FLAC of silence has 4,681 frames per byte, GSM, the densest of the codecs of a fixed rate, 160 in 33; a header that
# promises more is not believed, the frames are counted.
_MOST_FRAMES_A_BYTE = 2**13
_MOST_FRAMES_A_BYTE_OF_FIXED_RATE = 8
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


FileKey = tuple[int | bool, ...]
"""By which an open file is known again."""

# That of the last file: the requests for its windows follow one another.
_last: dict[FileKey, Plan] = {}


# The first part of that file, opened, where nothing was read of it; see `leave`.
_left: list[SoundFile] = []


def leave(audio: SoundFile) -> None:
    """Has the first part of the last file, which nothing was read of, used by what asks for it next.

    To open it may take as long as to decode a second of it. Before its descriptor is closed, `close_left` is called.
    """
    _left.append(audio)


def close_left() -> None:
    """Closes what was left and not used."""
    while _left:
        _left.pop().close()


def file_key(descriptor: int, mp3: bool) -> FileKey:
    """Returns device, number, size and time of change of an open file, and whether its name says that it is an MP3."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, mp3


def open_planned(descriptor: int, mp3: bool) -> tuple[Plan, SoundFile]:
    """Returns how an open file is read, and its first part, opened.

    Args:
        descriptor: of the file.
        mp3: whether its name says that it is an MP3.

    Raises:
        ClipError: one of several parts decodes to more than it can hold.
        soundfile.SoundFileError: soundfile does not read it.
    """
    plan, audio = _planned(descriptor, mp3)
    return plan, audio or open_part(descriptor, mp3, plan.parts[0])


def _planned(descriptor: int, mp3: bool) -> tuple[Plan, SoundFile | None]:
    """Returns how an open file is read, and its first part, opened, where that had to be found out."""
    key = file_key(descriptor, mp3)
    plan = _last.get(key)
    if (
        plan is not None and os.fstat(descriptor).st_nlink
    ):  # one without a name may be another that has its number again
        return plan, _left.pop() if _left else None
    close_left()
    _last.clear()
    plan, audio = _plan(descriptor, mp3, os.fstat(descriptor).st_size)
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


class Stretch(NamedTuple):
    """Frames of a part that follow one another.

    Attributes:
        part: which has them.
        audio: it opened, where it is.
        start: the first of them, counted in the part.
        frames: how many.
    """

    part: Part
    audio: SoundFile | None
    start: int
    frames: int


def stretches_at(descriptor: int, mp3: bool, start: int, frames: int) -> list[Stretch]:
    """Finds what parts hold some frames.

    Args:
        descriptor: of the file.
        mp3: whether its name says that it is an MP3.
        start: first frame to read.
        frames: how many to read at most.

    Raises:
        ClipError: one of several parts decodes to more than it can hold.
        soundfile.SoundFileError: soundfile does not read it.
    """
    plan, audio = _planned(descriptor, mp3)
    if len(plan.parts) == 1:
        return [Stretch(plan.parts[0], audio, start, frames)]
    if audio is not None:
        audio.close()
    found: list[Stretch] = []
    for part in plan.parts:
        if here := min(frames, max(0, part.frames - start)):
            found.append(Stretch(part, None, start, here))
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
    audio = open_part(descriptor, mp3, part)
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
                audio, part = open_part(descriptor, mp3, frames_alone), frames_alone
    return Plan(container, (part,), False, container.joined), audio


def _joined(descriptor: int, mp3: bool, container: Container, parts: list[Part], end: int) -> tuple[Plan, SoundFile]:
    """Plans to read parts up to the first one that has another rate, or other channels, or cannot be read.

    Raises:
        ClipError: the first one decodes to more than it can hold.
        soundfile.SoundFileError: the first one cannot be read.
    """
    first = open_part(descriptor, mp3, parts[0])
    used: list[Part] = []
    cut_off, joined = False, container.joined
    for part in parts:
        why = "it cannot be decoded"
        try:
            with open_part(descriptor, mp3, part) as audio:
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


def open_part(descriptor: int, mp3: bool, part: Part) -> SoundFile:
    """Opens a part of an open file; raises `soundfile.SoundFileError` where soundfile does not read it."""
    if not part.viewed:
        return SoundFile(descriptor, mp3)
    if part.mpeg is not None and part.mpeg.length != "told":
        return SoundFile(frames_only(descriptor, part.mpeg))
    return SoundFile(FileView(descriptor, part.begin, part.end, part.header))
