"""Decodes through soundfile whatever it reads. This runs in a process of its own, see `decoder_client`."""

import contextlib
import itertools
import os
import re
import tempfile
from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from features.audio.containers import Container, inspect
from features.audio.file_view import FileView
from features.audio.mpeg_frames import MpegSound, find_sound, frames_only
from features.audio.protocol import CodecInfo
from features.errors import ClipError, Reason

DECODER = f"libsndfile {soundfile.__libsndfile_version__}"
# What libsndfile says where a header names no length, as a FLAC's does that was streamed: its SF_COUNT_MAX.
_UNKNOWN_FRAMES = 2**63 - 1
# A FLAC of silence has 4,681 frames per byte, GSM, the densest of the codecs of a fixed rate, 160 in 33; a header that
# promises more is not believed, the frames are counted.
_MOST_FRAMES_A_BYTE = 2**13
_MOST_FRAMES_A_BYTE_OF_FIXED_RATE = 8
_VARIABLE_RATE = re.compile("FLAC|VORBIS|OPUS|MPEG|ALAC")
# So many samples of all channels are decoded at a time.
_BLOCK_SAMPLES = 2**20
# The bits of a NaN that no decoder gives.
_UNTOUCHED = 0x7FC5_0D17
_UNKNOWN_FORMAT = 1
_UNSUPPORTED_ENCODING = 4


class _SoundFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    def __init__(self, source: int | FileView, mp3: bool = False) -> None:
        if isinstance(source, FileView):
            super().__init__(source)
            return
        # Not by its path: where libsndfile does not know a file, it would take one named .au or .snd for samples.
        descriptor = source
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            super().__init__(descriptor, closefd=False)
        except soundfile.LibsndfileError as error:
            if error.code != _UNKNOWN_FORMAT or not mp3:
                raise
            # What comes before the first frame of an MP3 is passed over only where the name says that it is one.
            with tempfile.TemporaryDirectory() as folder:
                link = os.path.join(folder, "link.mp3")
                os.symlink(f"/dev/fd/{descriptor}", link)
                try:
                    super().__init__(link)
                except soundfile.LibsndfileError:
                    raise error from None

    def seekable(self) -> bool:
        """Returns False, or every read would end with a seek to where it has come to, which codecs take long for."""
        return False

    @property
    def can_seek(self) -> bool:
        """Whether it can be tried to seek."""
        return bool(super().seekable())


def _open(descriptor: int, mp3: bool, container: Container) -> tuple[_SoundFile, MpegSound | None]:
    """Opens a file; returns also where the frames of MPEG audio are whose length no header tells."""
    if container.header:
        audio = _SoundFile(FileView(descriptor, container.begin, container.end, container.header))
    else:
        audio = _SoundFile(descriptor, mp3)
    if not audio.subtype.startswith("MPEG"):
        return audio, None
    sound = find_sound(descriptor, container.begin, container.end)
    if sound.length == "told":
        return audio, None
    # libsndfile has guessed its length, and reads no further.
    if sound.headed or sound.length == "unknown" or sound.frames > audio.frames:
        with contextlib.suppress(soundfile.LibsndfileError):
            return _SoundFile(frames_only(descriptor, sound)), sound
    return audio, sound


def probe_coded(descriptor: int, size: int, mp3: bool) -> CodecInfo:
    """Reads the header of an open file, and counts its frames where the header cannot be believed.

    Args:
        descriptor: of the file.
        size: bytes of the file.
        mp3: whether its name says that it is an MP3.

    Raises:
        ClipError: it is not audio that soundfile reads, or damaged, which is seen also where its frames are counted.
    """
    container = inspect(descriptor, size)
    try:
        audio, mpeg = _open(descriptor, mp3, container)
        with audio:
            frames, truncated, promised = audio.frames, container.cut_off, audio.frames
            variable = _VARIABLE_RATE.search(f"{audio.format} {audio.subtype}")
            most = size * (_MOST_FRAMES_A_BYTE if variable else _MOST_FRAMES_A_BYTE_OF_FIXED_RATE)
            if mpeg is not None:
                frames, stopped = (mpeg.frames, False) if mpeg.length == "counted" else _count(audio, most)
                truncated |= mpeg.cut_off or stopped
            elif promised > most:
                frames, stopped = _count(audio, most)
                truncated |= stopped or promised != _UNKNOWN_FRAMES
            end_unverified = audio.format == "FLAC" and promised != _UNKNOWN_FRAMES
            return CodecInfo(frames, audio.channels, audio.samplerate, truncated, end_unverified, container.note)
    except soundfile.LibsndfileError as error:
        if container.foreign or container.holds_sound or error.code == _UNSUPPORTED_ENCODING:
            reason = Reason.UNSUPPORTED_CODEC
        elif error.code == _UNKNOWN_FORMAT and not container.familiar:
            reason = Reason.NOT_AUDIO
        else:
            reason = Reason.DAMAGED
        said = error.error_string.rstrip(".")
        if said.startswith("File does not exist"):  # it says so of an MP3 too in which it finds nothing
            said = "no frame of sound can be found"
        kind = f"{container.foreign}, " if container.foreign else ""
        raise ClipError("decode", reason, f"{kind}libsndfile: {said}") from error


def _count(audio: _SoundFile, most: int) -> tuple[int, bool]:
    """Returns how many frames can be decoded, and whether decoding stopped for a damage after them.

    Raises:
        ClipError: they are more than `most`; some decoders continue after a file's end as long as its header promises.
    """
    frames = 0
    try:
        for block in _blocks(audio, _UNKNOWN_FRAMES):
            frames += len(block)
            if frames > most:
                raise ClipError("decode", Reason.DAMAGED, f"it decodes to more than {most:,} frames, "
                                "which a file of its size cannot hold")  # fmt: skip
    except (soundfile.SoundFileError, OSError):
        if not frames:
            raise
        return frames, True
    return frames, False


def read_coded(descriptor: int, mp3: bool, start: int, frames: int) -> Iterator[NDArray[np.float32]]:
    """Decodes a part of an open file.

    Args:
        descriptor: of the file.
        mp3: whether its name says that it is an MP3.
        start: first frame to read.
        frames: how many to read at most.

    Yields:
        float32 of shape (frames, channels), full scale at 1, block by block, up to where the file ends, or where
        decoding stops for a damage.

    Raises:
        ClipError: there is damage before the first frame that was requested.
    """
    done = 0
    try:
        with _at(descriptor, mp3, start) as audio:
            for block in _blocks(audio, frames):
                yield block
                done += len(block)
    except (soundfile.SoundFileError, OSError) as error:
        if not done:
            raise ClipError("decode", Reason.DAMAGED, f"decoding stopped: {error}") from error


def _at(descriptor: int, mp3: bool, start: int) -> _SoundFile:
    """Opens a file and goes to a frame."""
    container = inspect(descriptor, os.fstat(descriptor).st_size)
    audio, _ = _open(descriptor, mp3, container)
    if audio.can_seek:
        try:
            audio.seek(start)  # to 0 as well: an MP3's last digits depend on whether there was a seek
        except (soundfile.SoundFileError, OSError):  # at the end of a FLAC that was cut off or does not say its length
            audio, _ = _open(descriptor, mp3, container)
        else:
            return audio
    for _ in _blocks(audio, start):
        pass
    return audio


def _blocks(audio: _SoundFile, frames: int) -> Iterator[NDArray[np.float32]]:
    """Yields what is decoded of so many frames, block by block; raises what soundfile does, after the last of them."""
    block = max(1, _BLOCK_SAMPLES // audio.channels)
    for done in itertools.count(0, block):
        wanted = max(0, min(block, frames - done))
        samples, error = _read(audio, wanted) if wanted else (np.empty((0, audio.channels), np.float32), None)
        if len(samples):
            yield samples
        if error is not None:
            raise error
        if len(samples) < block:
            return


def _read(audio: _SoundFile, frames: int) -> tuple[NDArray[np.float32], Exception | None]:
    """Reads up to so many frames; where decoding stops, returns those before that place and why."""
    samples = np.empty((frames, audio.channels), np.float32)
    bits = samples.view(np.uint32)
    bits[...] = _UNTOUCHED
    try:
        return audio.read(out=samples), None
    except (soundfile.SoundFileError, OSError) as error:
        # soundfile does not say how far it came; what it has written shows.
        written = np.flatnonzero((bits != _UNTOUCHED).any(axis=1))
        return samples[: written[-1] + 1 if len(written) else 0], error
