"""Plain PCM WAV, read by hand: faster than through soundfile, and with the same samples."""

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.errors import ClipError, Reason
from features.io.filesystem import filesystem_of, is_uri
from features.io.regular_file import open_regular

# What a clips table calls the decoder of these.
WAV = "wav"
HEADER_BYTES = 4096
_MAX_CHANNELS = 1024  # libsndfile's
_PCM, _EXTENSIBLE = 1, 0xFFFE
_PCM_GUID = struct.pack("<H", _PCM) + bytes.fromhex("0000000010008000 00aa00389b71")
# Chunks that do not change what the samples are.
_HARMLESS_CHUNKS = (b"LIST", b"cue ", b"JUNK", b"bext", b"id3 ")
# Samples that begin like this are taken by libsndfile for something else that was put into a WAV.
FOREIGN_STARTS = (b"OggS", b"wvpk")
# Of 8-bit samples and of floats libsndfile has rules of its own.
SAMPLE_BYTES = (2, 3, 4)
# What brings 16 bits to a full scale of 1; a power of two, so that samples times it are exact.
PCM_SCALE = np.float32(1.0 / 32768.0)


class PlainWav(NamedTuple):
    """Where the samples of a plain WAV are.

    Attributes:
        frames: samples per channel.
        channels: number of channels.
        rate_hz: sample rate.
        offset: of the first sample within the file.
        sample_bytes: of a sample of one channel.
    """

    frames: int
    channels: int
    rate_hz: int
    offset: int
    sample_bytes: int = 2


def plain_wav(head: bytes, size: int, sample_bytes: tuple[int, ...] = (2,)) -> PlainWav | None:
    """Finds the samples of a WAV whose header leaves no room for interpretation.

    Args:
        head: how the file begins, or all of it.
        size: of the file.
        sample_bytes: which widths of samples are taken, of `SAMPLE_BYTES`.

    Returns:
        Where they are, if it is PCM of such a width, all sizes agree and every chunk is known, else None: all that is
        not plain is left to soundfile.
    """
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    if struct.unpack_from("<I", head, 4)[0] + 8 not in (size, size - 1):
        return None
    form = found = None
    position = 12
    while position + 8 <= len(head):
        name, length = head[position : position + 4], struct.unpack_from("<I", head, position + 4)[0]
        position += 8
        if name == b"fmt " and form is None and length in (16, 40) and position + length <= len(head):
            form = _form(head[position : position + length])
        elif name == b"data" and form is not None and found is None:
            found = _samples(form, length, position, sample_bytes)
            start = head[position : position + 4]
            if found is None or start in FOREIGN_STARTS or (len(start) < 4 and len(head) < size):
                return None
        elif name not in _HARMLESS_CHUNKS and (name, length) != (b"fact", 4):  # another length leads libsndfile astray
            return None
        position += length + (length & 1)
    # What follows the samples may change what they are, and must have been seen too.
    return found if position in (size, size + 1) else None


def _form(content: bytes) -> tuple[int, ...]:
    """Returns the format of samples; of the extensible kind as what it says that they are."""
    form = struct.unpack_from("<HHIIHH", content)
    if len(content) == 40 and form[0] == _EXTENSIBLE:
        more, valid_bits = struct.unpack_from("<HH", content, 16)
        if more == 22 and valid_bits == form[-1] and content[24:] == _PCM_GUID:
            return (_PCM, *form[1:])
    return form if len(content) == 16 else (_EXTENSIBLE, *form[1:])


def _samples(form: tuple[int, ...], length: int, position: int, sample_bytes: tuple[int, ...]) -> PlainWav | None:
    tag, channels, rate_hz, _, frame_bytes, bits = form
    width = bits // 8
    if tag != _PCM or bits % 8 or width not in sample_bytes:
        return None
    if not 0 < channels <= _MAX_CHANNELS or not 0 < rate_hz < 2**31:
        return None
    if frame_bytes != width * channels or length == 0 or length % frame_bytes:
        return None
    return PlainWav(length // frame_bytes, channels, rate_hz, position, width)


def read_plain(source: bytes | str, offset: int, shape: tuple[int, int], sample_bytes: int) -> NDArray[np.float32]:
    """Reads samples of a plain WAV.

    Args:
        source: path or content of the file, or the URI of an object.
        offset: of the first byte, behind a header.
        shape: samples per channel, and channels.
        sample_bytes: of a sample of one channel, of `SAMPLE_BYTES`.

    Returns:
        float32 of this shape, full scale at 1.

    Raises:
        ClipError: the file ends before.
        OSError: it cannot be read.
    """
    count = shape[0] * shape[1]
    before = 1 if sample_bytes == 3 else 0  # three bytes are read as four, of which the first is another sample's
    begin, length = offset - before, before + sample_bytes * count
    if isinstance(source, str) and is_uri(source):
        content: bytes | NDArray[np.uint8] = filesystem_of(source).read_range(source, begin, length)
    elif isinstance(source, bytes):
        content, before = source, offset
    else:
        descriptor, _ = open_regular(source)
        with open(descriptor, "rb", buffering=0) as file:
            content = np.fromfile(file, np.uint8, length, offset=begin)
    if len(content) < before + sample_bytes * count:
        raise ClipError("decode", Reason.VANISHED, "the file became shorter while it was read")
    return _scaled(content, before, count, sample_bytes).reshape(shape)


def _scaled(content: bytes | NDArray[np.uint8], offset: int, count: int, sample_bytes: int) -> NDArray[np.float32]:
    """Returns so many samples that begin at an offset of some bytes; of 24 bits a byte before it is read too."""
    if sample_bytes == 3:
        if not count:
            return np.empty(0, np.float32)
        whole = np.ndarray((count,), "<i4", content, offset - 1, (3,)) >> 8
    else:
        whole = np.frombuffer(content, f"<i{sample_bytes}", count, offset)
    samples = whole.astype(np.float32)
    samples *= np.float32(2.0 ** (1 - 8 * sample_bytes))  # exact: the scale is a power of two
    return samples
