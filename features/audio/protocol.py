"""What both ends of the socket to a decoding process share: messages, and the limits of a request."""

import mmap
import os
import resource
import struct
import tempfile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

REQUEST_BYTES = 4096

# Kind and length of each message of an answer: blocks of samples, then a line of JSON, which ends it. The samples of
# the first block, where they fit, lie in memory that both processes share, and not in the message.
MESSAGE = struct.Struct("<cI")

SHARED, SAMPLES, END = b"M", b"S", b"E"

SHARED_BYTES = 4 * 2**20

# What recordings have; a header that says another rate is damaged, and to resample it may take forever.
RATES_HZ = range(100, 768_001)

# So many files are decoded with one request at most, each of which takes milliseconds; one that does not come to its
# end within these seconds is left to requests of its own.
TOGETHER = 8

TOGETHER_SECONDS = 5.0

_LEAST_SECONDS = 60.0

_BYTES_A_SECOND = 2**20

_LEAST_BYTES = 64 * 2**20

_BYTES_A_BYTE = 512

# Device, number, size and modification time.
FileIdentity = tuple[int, int, int, int]


class OpenFile(NamedTuple):
    """A file as a decoder gets it.

    Attributes:
        descriptor: by which it is open.
        size: its bytes.
        mp3: whether its name says that it is an MP3.
        identity: by which it is recognised, None for one without a name.
    """

    descriptor: int
    size: int
    mp3: bool
    identity: FileIdentity | None


class CodecInfo(NamedTuple):
    """What the header of a file says, or counting its frames where the header does not.

    Attributes:
        frames: samples per channel that are promised.
        channels: number of channels.
        rate_hz: sample rate.
        truncated: whether the file has fewer bytes than it promises, or fewer frames where they were counted.
        end_unverified: whether only its last frame shows that it was not cut off, as in a FLAC.
        size_note: by how much header and file disagree, where that is no loss of sound that is known.
        joined_note: what follows the sound that is another recording and not used.
        decoder: name and version of what decodes it.
        in_order: whether it is decoded from its beginning on, as no place in it can be gone to, or none exactly.
    """

    frames: int
    channels: int
    rate_hz: int
    truncated: bool
    end_unverified: bool
    size_note: str
    joined_note: str = ""
    decoder: str = ""
    in_order: bool = False


class Decoded(NamedTuple):
    """What was decoded of a file.

    Attributes:
        samples: float32 of shape (frames, channels).
        missing: begin and end of frames, in their order, that are zeros as a damage took them.
    """

    samples: NDArray[np.float32]
    missing: tuple[tuple[int, int], ...] = ()

    def part(self, begin: int, end: int) -> tuple[NDArray[np.float32], bool]:
        """Returns some frames, without those at their end that are missing, and whether others of them are missing."""
        end, lacks = min(end, len(self.samples)), False
        for first, behind in reversed(self.missing):
            if first < end <= behind:
                end = max(first, begin)
            else:
                lacks |= first < end and begin < behind
        return self.samples[begin:end], lacks


class ClipLength(NamedTuple):
    """How much of a recording becomes a clip.

    Attributes:
        samples: at a rate, None for all.
        rate_hz: that rate.
        centre: whether the middle is used of one that is longer, else its beginning.
    """

    samples: int | None
    rate_hz: int
    centre: bool

    def part(self, frames: int, rate_hz: int) -> tuple[int, int]:
        """Returns which part of so many frames is used: how many are skipped, and how many then taken."""
        if self.samples is None:
            return 0, frames
        wanted = min(frames, max(1, self.samples * rate_hz // self.rate_hz))
        return ((frames - wanted) // 2 if self.centre else 0), wanted


def open_shared_memory() -> int:
    """Returns a descriptor of memory that processes can share, of which nothing is taken before it is used.

    It has `SHARED_BYTES`, or less where files may not become as large (`ulimit -f`).
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("samples")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    os.ftruncate(descriptor, SHARED_BYTES if most == resource.RLIM_INFINITY else min(SHARED_BYTES, most // 4 * 4))
    return descriptor


def shared_samples(memory: int) -> NDArray[np.float32]:
    """Maps what `open_shared_memory` has opened."""
    return np.frombuffer(mmap.mmap(memory, 0), np.float32)


def limit_seconds(size: int) -> float:
    """Returns how long the decoding of a part of a file of `size` bytes may take: a minute, and a second per MiB."""
    return _LEAST_SECONDS + size / _BYTES_A_SECOND


def limit_bytes(size: int) -> int:
    """Returns how many bytes of samples a file of `size` bytes may become: 64 MiB, and 512 per byte.

    Opus at 6 kbit/s, 48 kHz, has 256 bytes of float32 per byte; a header that promises much more is not believed.
    """
    return _LEAST_BYTES + _BYTES_A_BYTE * size
