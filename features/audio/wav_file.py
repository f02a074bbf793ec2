"""The content of a WAV file from samples, which has them to the last bit."""

import struct

import numpy as np
from numpy.typing import NDArray

from features.errors import RunError
from features.runtime.quantities import counted

_PCM, _FLOAT = 1, 3
_MOST_SAMPLE_BYTES = 2**32 - 2**10


def wav_file(samples: NDArray[np.float32], rate_hz: int) -> bytes:
    """Returns a WAV file that gives these samples to the last bit when it is decoded.

    It is of 16-bit or 24-bit integers where the samples are such, as those of most recordings are, else of 32-bit
    floats.

    Args:
        samples: float32 of shape (frames, channels), one frame at least, full scale at 1, finite.
        rate_hz: their rate.

    Raises:
        RunError: they are more than a WAV file can hold.
    """
    channels = samples.shape[1]
    if 4 * samples.size > _MOST_SAMPLE_BYTES:
        raise RunError(f"a WAV file has less than 4 GiB of sound, and {len(samples):,} frames of "
                       f"{counted(channels, 'channel')} may be more")  # fmt: skip
    tag, raw = _encoded(samples)
    width = raw.nbytes // samples.size
    form = struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * channels * width, channels * width, 8 * width)
    chunks = [(b"fmt ", form)]
    if tag == _FLOAT:
        chunks = [(b"fmt ", form + struct.pack("<H", 0)), (b"fact", struct.pack("<I", len(samples)))]
    head = b"".join(name + struct.pack("<I", len(content)) + content for name, content in chunks)
    padding = raw.nbytes % 2
    total = len(b"WAVE") + len(head) + len(b"data") + 4 + raw.nbytes + padding
    begin = [b"RIFF", struct.pack("<I", total), b"WAVE", head, b"data", struct.pack("<I", raw.nbytes)]
    return b"".join([*begin, raw.tobytes(), bytes(padding)])


def _encoded(samples: NDArray[np.float32]) -> tuple[int, NDArray[np.generic]]:
    """Returns the number of a format, and the samples in the narrowest one that has them all."""
    for bits in (16, 24):
        with np.errstate(over="ignore"):
            whole = samples * np.float32(2 ** (bits - 1))  # exact, but for what is too large for either
        if (whole == np.rint(whole)).all() and whole.min() >= -(2 ** (bits - 1)) and whole.max() < 2 ** (bits - 1):
            if bits == 16:
                return _PCM, whole.astype("<i2")
            return _PCM, whole.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3]
    return _FLOAT, np.ascontiguousarray(samples, "<f4")
