"""Decodes through soundfile whatever it reads. This runs in a process of its own, see `decoder_client`."""

from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from features.audio.containers import inspect
from features.audio.protocol import CodecInfo
from features.audio.sound_file import UNKNOWN_FORMAT, UNKNOWN_FRAMES, blocks
from features.audio.sound_parts import length, open_planned, opened_at
from features.errors import ClipError, Reason

DECODER = f"libsndfile {soundfile.__libsndfile_version__}"
_UNSUPPORTED_ENCODING = 4


def probe_coded(descriptor: int, size: int, mp3: bool) -> CodecInfo:
    """Reads the header of an open file, and counts its frames where the header cannot be believed.

    Args:
        descriptor: of the file.
        size: bytes of the file.
        mp3: whether its name says that it is an MP3.

    Raises:
        ClipError: it is not audio that soundfile reads, or damaged, which is seen also where its frames are counted.
    """
    try:
        plan, audio = open_planned(descriptor, mp3)
        with audio:
            container, parts = plan.container, plan.parts
            if len(parts) > 1:
                frames, missing = sum(part.frames for part in parts), plan.cut_off
            else:
                frames, missing = length(audio, parts[0])
            return CodecInfo(
                frames, audio.channels, audio.samplerate, missing or container.cut_off,
                end_unverified=audio.format == "FLAC" and audio.frames != UNKNOWN_FRAMES,
                size_note=container.note, joined_note=plan.joined,
            )  # fmt: skip
    except soundfile.LibsndfileError as error:
        container = inspect(descriptor, size)
        if container.foreign or container.holds_sound or error.code == _UNSUPPORTED_ENCODING:
            reason = Reason.UNSUPPORTED_CODEC
        elif error.code == UNKNOWN_FORMAT and not container.familiar:
            reason = Reason.NOT_AUDIO
        else:
            reason = Reason.DAMAGED
        said = error.error_string.rstrip(".")
        if said.startswith("File does not exist"):  # it says so of an MP3 too in which it finds nothing
            said = "no frame of sound can be found"
        kind = f"{container.foreign}, " if container.foreign else ""
        raise ClipError("decode", reason, f"{kind}libsndfile: {said}") from error


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
        for audio, wanted in opened_at(descriptor, mp3, start, frames):
            before = done
            with audio:
                for block in blocks(audio, wanted):
                    yield block
                    done += len(block)
            if done - before < wanted:
                return
    except (soundfile.SoundFileError, OSError) as error:
        if not done:
            raise ClipError("decode", Reason.DAMAGED, f"decoding stopped: {error}") from error
