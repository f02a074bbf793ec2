"""Clips that need no decoding: plain WAVs of one channel at the rate of the spec, whose samples are the waveform."""

import functools
import os
import stat
import sys
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.audio.decode import LEAST_RATE_HZ, MOST_RATE_HZ
from features.audio.plain_wav import FOREIGN_STARTS, HEADER_BYTES, WAV, plain_wav
from features.audio.protocol import ClipLength
from features.frontend.spec import LOUDEST, MEAN, FeatureSpec
from features.frontend.waveform import clip_length

# Of a larger file, less may be used than is read here.
_MOST_BYTES = 2**20
_FIRST_BYTES = 512


class PlainClip(NamedTuple):
    """A clip that is ready for the front end.

    Attributes:
        content: of its file.
        waveform: int16 of shape (spec.clip_samples,); without a clip length, of the file's.
        seconds: duration of the clip before it was fitted.
        warning: `silent`, or empty.
        decoder: what read it, as `features.audio.decode.AudioInfo` has it.
    """

    content: bytes
    waveform: NDArray[np.int16]
    seconds: float
    warning: str
    decoder: str = WAV


class PlainClips:
    """Reads files as `open_recording`, `decode_clip` and `fit_clips` do, with fewer steps, where all is plain.

    Whatever is not as it was listed, or asks for a second look, is left to them, and so are errors.

    Attributes:
        spec: the front end.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        """Takes the front end; of one that is a network, or wants another channel than the first, none is read here."""
        self.spec = spec
        self._length, self._least_samples = clip_length(spec), spec.least_samples if spec.clip_samples is None else 0
        self._reads = spec.fft_samples is not None and spec.channels in (MEAN, LOUDEST, 1) and sys.byteorder == "little"

    def read(self, path: str, size: int, mtime_ns: int) -> PlainClip | None:
        """Reads a file of the file system that is a clip, from its first sample to its last.

        Args:
            path: of the file.
            size: its bytes when it was listed.
            mtime_ns: its modification time then.

        Returns:
            The clip, None where it has to be read in another way.
        """
        if not self._reads or size > _MOST_BYTES:
            return None
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # which never waits for a pipe
            try:
                content = os.read(descriptor, size)
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            return None
        # As it was listed when all of it was read: so it was in between.
        if (len(content), status.st_size, status.st_mtime_ns) != (size, size, mtime_ns):
            return None
        begin = content.find(b"data", 0, HEADER_BYTES) + 8
        used = _used_samples(content[:begin], size, self._length, self._least_samples)
        if used is None or content[begin : begin + 4] in FOREIGN_STARTS or not stat.S_ISREG(status.st_mode):
            return None
        begin, wanted, seconds = used
        waveform = np.frombuffer(content, np.int16, wanted, begin)
        # Most sounds have one within their first samples.
        sounds = content[begin : begin + min(_FIRST_BYTES, 2 * wanted)].strip(b"\0") or waveform.any()
        if self._length.samples is not None and wanted < self._length.samples:
            samples, waveform = waveform, np.zeros(self._length.samples, np.int16)
            waveform[:wanted] = samples
        return PlainClip(content, waveform, seconds, "" if sounds else "silent")


@functools.lru_cache(1024)
def _used_samples(head: bytes, size: int, length: ClipLength, least_samples: int) -> tuple[int, int, float] | None:
    """Returns where the samples begin that are used of a file, how many they are, and the seconds of all of them.

    Returns None where the header does not end where the samples begin, says another number of channels than one or
    another rate than the clip's, or something follows the samples.
    """
    wav = plain_wav(head + bytes(4), size)  # what samples begin with is looked at elsewhere
    if wav is None or wav.offset != len(head) or wav.channels != 1 or wav.rate_hz != length.rate_hz:
        return None
    if not LEAST_RATE_HZ <= wav.rate_hz <= MOST_RATE_HZ or wav.frames < least_samples:
        return None
    skipped, wanted = length.part(wav.frames, wav.rate_hz)
    return wav.offset + 2 * skipped, wanted, wav.frames / wav.rate_hz
