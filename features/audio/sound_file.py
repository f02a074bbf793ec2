"""Opens what soundfile reads, and reads it block by block, up to where it ends or decoding stops for a damage."""

import functools
import itertools
import os
import tempfile
from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from features.audio.file_view import FileView
from features.errors import ClipError, Reason

# What libsndfile says where a header names no length, as a FLAC's does that was streamed: its SF_COUNT_MAX.
UNKNOWN_FRAMES = 2**63 - 1
UNKNOWN_FORMAT = 1
# So many samples of all channels are decoded at a time.
_BLOCK_SAMPLES = 2**20
# The bits of a NaN that no decoder gives.
_UNTOUCHED = 0x7FC5_0D17


class SoundFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file that libsndfile has opened.

    Attributes:
        was_read: whether samples of it were asked for.
    """

    def __init__(self, source: int | FileView, mp3: bool = False) -> None:
        """Opens a descriptor or a view; `mp3` says whether the file's name says that it is an MP3."""
        if isinstance(source, FileView):
            super().__init__(source)
            return
        # Not by its path: where libsndfile does not know a file, it would take one named .au or .snd for samples.
        descriptor = source
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            super().__init__(descriptor, closefd=False)
        except soundfile.LibsndfileError as error:
            if error.code != UNKNOWN_FORMAT or not mp3:
                raise
            # What comes before the first frame of an MP3 is passed over only where the name says that it is one.
            with tempfile.TemporaryDirectory() as folder:
                link = os.path.join(folder, "link.mp3")
                os.symlink(f"/dev/fd/{descriptor}", link)
                try:
                    super().__init__(link)
                except soundfile.LibsndfileError:
                    raise error from None

    was_read = False

    @functools.cached_property
    def format(self) -> str:
        """Name of its container; libsndfile is asked once."""
        return str(super().format)

    @functools.cached_property
    def subtype(self) -> str:
        """Name of its encoding."""
        return str(super().subtype)

    def seekable(self) -> bool:
        """Returns False, or every read would end with a seek to where it has come to, which codecs take long for."""
        return False

    @property
    def can_seek(self) -> bool:
        """Whether it can be tried to seek."""
        return bool(super().seekable())


def blocks(audio: SoundFile, frames: int) -> Iterator[NDArray[np.float32]]:
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


def _read(audio: SoundFile, frames: int) -> tuple[NDArray[np.float32], Exception | None]:
    """Reads up to so many frames; where decoding stops, returns those before that place and why."""
    audio.was_read = True
    samples = np.empty((frames, audio.channels), np.float32)
    bits = samples.view(np.uint32)
    bits[...] = _UNTOUCHED
    try:
        return audio.read(out=samples), None
    except (soundfile.SoundFileError, OSError) as error:
        # soundfile does not say how far it came; what it has written shows.
        written = np.flatnonzero((bits != _UNTOUCHED).any(axis=1))
        return samples[: written[-1] + 1 if len(written) else 0], error


def count(audio: SoundFile, most: int) -> tuple[int, bool]:
    """Returns how many frames can be decoded, and whether decoding stopped for a damage after them.

    Raises:
        ClipError: they are more than `most`; some decoders continue after a file's end as long as its header promises.
    """
    frames = 0
    try:
        for block in blocks(audio, UNKNOWN_FRAMES):
            frames += len(block)
            if frames > most:
                raise ClipError("decode", Reason.DAMAGED, f"it decodes to more than {most:,} frames, "
                                "which a file of its size cannot hold")  # fmt: skip
    except (soundfile.SoundFileError, OSError):
        if not frames:
            raise
        return frames, True
    return frames, False
