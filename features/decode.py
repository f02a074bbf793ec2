"""From a file to samples: soundfile for all that it reads, a direct path for plain 16-bit PCM WAV."""

import contextlib
import errno
import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from features.errors import ClipError, Reason

Source = bytes | str
"""The content of a file, or the path of one as `os.fsdecode` gives it."""

_HEADER_BYTES = 4096
_MAX_CHANNELS = 1024  # libsndfile's
# Chunks that do not change what the samples are.
_HARMLESS_CHUNKS = (b"LIST", b"cue ", b"JUNK", b"bext", b"fact", b"id3 ")
_PCM_SCALE = np.float32(1.0 / 32768.0)
# What libsndfile says where a header names no length, as a FLAC's does that was streamed: its SF_COUNT_MAX.
_UNKNOWN_FRAMES = 2**63 - 1
# What has to be decoded although nobody wants it, is decoded by so many samples of all channels.
_BLOCK_SAMPLES = 2**20
# How files begin that are audio in a container that libsndfile does not open: (offset, bytes).
_FOREIGN_AUDIO = ((4, b"ftyp"), (0, b"\x30\x26\xb2\x75"), (0, b"\x1a\x45\xdf\xa3"))
_FAMILIAR_AUDIO = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"caff", b".snd", b"riff", b"ID3")
_LIBSNDFILE_UNKNOWN_FORMAT = 1
_LIBSNDFILE_UNSUPPORTED_ENCODING = 4


@dataclass(frozen=True)
class AudioInfo:
    """What the header says.

    Attributes:
        frames: samples a channel that are there to be read.
        channels: number of channels.
        rate_hz: sample rate.
        truncated: whether the header promises more than the file holds.
        pcm_offset: where the samples of a plain 16-bit PCM WAV begin, None for everything else.
    """

    frames: int
    channels: int
    rate_hz: int
    truncated: bool = False
    pcm_offset: int | None = None


class _SoundFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    def seekable(self) -> bool:
        """Tells whether a seek can be relied on: it fails at the end of a file whose length is not known."""
        return bool(self.frames != _UNKNOWN_FRAMES and super().seekable())


def probe(source: Source) -> AudioInfo:
    """Reads the header of a file, and counts its frames where the header does not.

    Raises:
        ClipError: the file is missing, may not be read, is empty, is not audio that soundfile reads, or is damaged
            where its frames are counted.
    """
    head, size = _head(source)
    if size == 0:
        raise ClipError("decode", Reason.EMPTY, "the file has no bytes")
    plain, truncated = _plain_wav(head, size)
    if plain is not None:
        return plain
    with _open(source, head) as audio:
        frames = audio.frames if audio.frames != _UNKNOWN_FRAMES else _pass_over(audio, _UNKNOWN_FRAMES)
        return AudioInfo(frames, audio.channels, audio.samplerate, truncated)


def decode(source: Source, info: AudioInfo, start: int = 0, frames: int | None = None) -> NDArray[np.float32]:
    """Decodes a part of a file.

    Args:
        source: the path of the file, or its content.
        info: what `probe` said of it.
        start: first frame to read.
        frames: how many to read, None for all that follow.

    Returns:
        float32 of shape (frames read, channels), full scale at 1; fewer frames than asked for where the file ends.

    Raises:
        ClipError: the file is damaged, or holds values that are not finite.
    """
    start = min(start, info.frames)
    wanted = min(info.frames - start, info.frames if frames is None else frames)
    if info.pcm_offset is not None:
        return _read_pcm(source, info, start, wanted)
    with _open(source, b"") as audio:
        if audio.seekable():
            with _damage_named():
                audio.seek(start)  # to 0 as well: an MP3's last digits depend on whether there was a seek
        else:
            _pass_over(audio, start)
        samples = _read(audio, wanted)
    # A sum is finite only if every term is, unless large terms overflow it: look closer only then.
    with np.errstate(invalid="ignore"):
        total = samples.sum(dtype=np.float64)
    if not np.isfinite(total) and not np.isfinite(samples).all():
        raise ClipError("decode", Reason.NOT_FINITE, "the samples hold NaN or infinity")
    return samples


def is_plain_wav(content: bytes) -> bool:
    """Tells whether a file's content is 16-bit PCM WAV that is read without soundfile."""
    return _plain_wav(content, len(content))[0] is not None


def file_error(error: OSError) -> ClipError:
    """Turns an error of the operating system into the reason code that fits."""
    text = error.strerror or str(error)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return ClipError("decode", Reason.MISSING, text)
    if error.errno in (errno.EACCES, errno.EPERM):
        return ClipError("decode", Reason.PERMISSION, text)
    return ClipError("decode", Reason.UNREADABLE, text)


def _head(source: Source) -> tuple[bytes, int]:
    if isinstance(source, bytes):
        return source, len(source)
    try:
        with open(source, "rb") as file:
            return file.read(_HEADER_BYTES), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise file_error(error) from error


def _plain_wav(head: bytes, size: int) -> tuple[AudioInfo | None, bool]:
    """Finds the samples of a WAV whose header leaves no room for interpretation.

    Args:
        head: how the file begins, or all of it.
        size: of the file.

    Returns:
        What the header says where it is plain 16-bit PCM, all sizes agree and every chunk is known, else None; and
        whether the data chunk of a WAV is longer than the file. All that is not plain is soundfile's.
    """
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None, False
    plain = struct.unpack_from("<I", head, 4)[0] + 8 in (size, size - 1)
    form = info = None
    position = 12
    while position + 8 <= len(head):
        name, length = head[position : position + 4], struct.unpack_from("<I", head, position + 4)[0]
        position += 8
        if position + length > size and name == b"data" and info is None:
            # 0xFFFFFFFF is what a writer leaves that could not go back to the header.
            return None, length != 0xFFFFFFFF
        if name == b"fmt " and position + 16 <= len(head):
            plain = plain and form is None and length == 16
            form = struct.unpack_from("<HHIIHH", head, position)
        elif name == b"data" and form is not None and info is None:
            info = _pcm_info(form, length, position)
            plain = plain and info is not None
        else:
            plain = plain and name in _HARMLESS_CHUNKS
        position += length + (length & 1)
    # What follows the samples may change what they are, and must have been seen too.
    return (info if plain and position in (size, size + 1) else None), False


def _pcm_info(form: tuple[int, ...], length: int, position: int) -> AudioInfo | None:
    tag, channels, rate_hz, _, frame_bytes, bits = form
    if tag != 1 or bits != 16 or not 0 < channels <= _MAX_CHANNELS or not 0 < rate_hz < 2**31:
        return None
    if frame_bytes != 2 * channels or length == 0 or length % frame_bytes:
        return None
    return AudioInfo(length // frame_bytes, channels, rate_hz, False, position)


def _read_pcm(source: Source, info: AudioInfo, start: int, frames: int) -> NDArray[np.float32]:
    offset = (info.pcm_offset or 0) + start * 2 * info.channels
    count = frames * info.channels
    if isinstance(source, bytes):
        raw = np.frombuffer(source, dtype="<i2", count=count, offset=offset)
    else:
        try:
            raw = np.fromfile(source, dtype="<i2", count=count, offset=offset)
        except OSError as error:
            raise file_error(error) from error
    if raw.size != count:
        raise ClipError("decode", Reason.VANISHED, "the file became shorter while it was read")
    samples: NDArray[np.float32] = raw.astype(np.float32) * _PCM_SCALE  # exact: the scale is a power of two
    return samples.reshape(frames, info.channels)


def _pass_over(audio: _SoundFile, frames: int) -> int:
    """Decodes and forgets so many frames, fewer where the file ends; returns how many there were."""
    block = max(1, _BLOCK_SAMPLES // audio.channels)
    passed = 0
    while passed < frames and (count := len(_read(audio, min(block, frames - passed)))):
        passed += count
    return passed


def _read(audio: _SoundFile, frames: int) -> NDArray[np.float32]:
    with _damage_named():
        samples: NDArray[np.float32] = audio.read(frames, dtype="float32", always_2d=True)
    return samples


@contextlib.contextmanager
def _damage_named() -> Iterator[None]:
    try:
        yield
    except (soundfile.SoundFileError, OSError) as error:
        raise ClipError("decode", Reason.DAMAGED, f"decoding stopped: {error}") from error


def _open(source: Source, head: bytes) -> _SoundFile:
    try:
        return _SoundFile(io.BytesIO(source) if isinstance(source, bytes) else os.fsencode(source))
    except soundfile.LibsndfileError as error:
        foreign = any(head[at : at + len(mark)] == mark for at, mark in _FOREIGN_AUDIO)
        if foreign or error.code == _LIBSNDFILE_UNSUPPORTED_ENCODING:
            reason = Reason.UNSUPPORTED_CODEC
        elif error.code == _LIBSNDFILE_UNKNOWN_FORMAT and not head.startswith(_FAMILIAR_AUDIO):
            reason = Reason.NOT_AUDIO
        else:
            reason = Reason.DAMAGED
        raise ClipError("decode", reason, error.error_string) from error
    except OSError as error:
        raise file_error(error) from error
