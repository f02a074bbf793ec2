"""Decodes through soundfile whatever it reads. This runs in a process of its own, see `decoder_client`."""

import contextlib
from collections.abc import Iterator

import numpy as np
import soundfile
from numpy.typing import NDArray

from features.audio.containers import inspect
from features.audio.foreign import foreign_kind
from features.audio.part_reader import read_part
from features.audio.protocol import CodecInfo
from features.audio.sound_file import UNKNOWN_FORMAT, UNKNOWN_FRAMES
from features.audio.sound_parts import leave, length, open_planned, stretches_at
from features.errors import ClipError, Reason

DECODER = f"libsndfile {soundfile.__libsndfile_version__}"
_UNSUPPORTED_ENCODING = 4
# So many zeros of all channels are given at a time.
_ZEROS = 2**20


def probe_coded(descriptor: int, size: int, mp3: bool, leave_open: bool = False) -> CodecInfo:
    """Reads the header of an open file, and counts its frames where the header cannot be believed.

    Args:
        descriptor: of the file.
        size: bytes of the file.
        mp3: whether its name says that it is an MP3.
        leave_open: whether its samples are asked for next, and before the descriptor is closed.

    Raises:
        ClipError: it is not audio that soundfile reads, or damaged, which is seen also where its frames are counted.
    """
    try:
        plan, audio = open_planned(descriptor, mp3)
        with contextlib.ExitStack() as closing:
            closing.enter_context(audio)
            container, parts = plan.container, plan.parts
            if len(parts) > 1:
                frames, missing = sum(part.frames for part in parts), plan.cut_off
            else:
                frames, missing = length(audio, parts[0])
            info = CodecInfo(
                frames, audio.channels, audio.samplerate, missing or container.cut_off,
                end_unverified=audio.format == "FLAC" and audio.frames != UNKNOWN_FRAMES,
                size_note=container.note, joined_note=plan.joined,
                in_order=not audio.can_seek or audio.subtype.startswith("MPEG"),
            )  # fmt: skip
            if leave_open and len(parts) == 1 and not audio.was_read:
                closing.pop_all()
                leave(audio)
            return info
    except soundfile.LibsndfileError as error:
        container, kind = inspect(descriptor, size), foreign_kind(descriptor)
        if kind or container.holds_sound or error.code == _UNSUPPORTED_ENCODING:
            reason = Reason.UNSUPPORTED_CODEC
        elif error.code == UNKNOWN_FORMAT and not container.familiar:
            reason = Reason.NOT_AUDIO
        else:
            reason = Reason.DAMAGED
        said = error.error_string.rstrip(".")
        if said.startswith("File does not exist"):  # it says so of an MP3 too in which it finds nothing
            said = "no frame of sound can be found"
        raise ClipError("decode", reason, f"{f'{kind}, ' if kind else ''}libsndfile: {said}") from error


def read_coded(
    descriptor: int, mp3: bool, part: tuple[int, int], forward: bool, missing: list[tuple[int, int]]
) -> Iterator[NDArray[np.float32]]:
    """Decodes a part of an open file.

    Args:
        descriptor: of the file.
        mp3: whether its name says that it is an MP3.
        part: first frame to read, and how many at most.
        forward: as in `features.audio.decode.decode_part`.
        missing: where it is added which frames, from the first one on, are given as zeros: what a part of a joined file
            lacks for a damage, where a later part is heard.

    Yields:
        float32 of shape (frames, channels), full scale at 1, block by block, up to where the file ends, or where
        decoding stops for a damage.

    Raises:
        ClipError: there is damage before the first frame that was requested.
    """
    done = lacking = 0
    damage: Exception | None = None
    try:
        stretches = stretches_at(descriptor, mp3, *part)
    except (soundfile.SoundFileError, OSError) as error:
        stretches, damage = [], error
    for stretch in stretches:
        wanted = stretch.frames
        lacking += wanted
        try:
            for block in read_part(descriptor, mp3, stretch, forward):
                if before := lacking - wanted:
                    missing.append((done, done + before))
                    yield from _zeros(before, block.shape[1])
                    done, lacking = done + before, wanted
                yield block
                done, lacking, wanted = done + len(block), lacking - len(block), wanted - len(block)
        except (soundfile.SoundFileError, OSError) as error:
            damage = error
    if damage is not None and not done:
        raise ClipError("decode", Reason.DAMAGED, f"decoding stopped: {damage}") from damage


def _zeros(frames: int, channels: int) -> Iterator[NDArray[np.float32]]:
    block = max(1, _ZEROS // channels)
    for done in range(0, frames, block):
        yield np.zeros((min(block, frames - done), channels), np.float32)
