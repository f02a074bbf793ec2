"""Reads a recording block by block, from places that do not depend on who reads it or where reading began."""

import numpy as np
from numpy.typing import NDArray

from features.audio.decode import AudioInfo, AudioSource, decode_part
from features.audio.protocol import Decoded
from features.errors import ClipError, Reason
from features.frontend.spec import FeatureSpec
from features.frontend.waveform import source_frames


class BlockReader:
    """Gives stretches of a recording, one after the other, which may overlap; each block is decoded once.

    A decoder may come to other last digits after a jump to another place, so decoding begins where blocks do.
    """

    def __init__(
        self, source: AudioSource, info: AudioInfo, spec: FeatureSpec, block_samples: int, last_frame: int
    ) -> None:
        """Decodes nothing yet.

        Args:
            source: path or content of the file.
            info: what `probe` said of it.
            spec: the front end.
            block_samples: length of a block at the spec's rate; the first one begins with the recording.
            last_frame: behind the last frame that will be asked for.
        """
        self._source = source
        self._info = info
        self._spec = spec
        self._block_samples = block_samples
        self._last_frame = min(last_frame, info.frames)
        self._held = Decoded(np.empty((0, info.channels), np.float32))
        self._begin = self._end = 0  # of what is held, in frames

    def read(self, begin: int, end: int) -> tuple[NDArray[np.float32], bool]:
        """Returns the frames of a stretch, without those at its end that are missing, and whether others are missing.

        Args:
            begin: its first frame, not before that of an earlier stretch.
            end: behind its last frame.

        Raises:
            ClipError: what `decode_part` raises, but for damage behind the first block, which is missing then.
        """
        if begin >= self._end:
            self._begin = self._end = self._begin_of(self._block_at(begin))
            self._held = Decoded(self._held.samples[:0])
        while self._end < min(end, self._last_frame):
            self._read_block(begin)
        return self._held.part(begin - self._begin, end - self._begin)

    def _read_block(self, begin: int) -> None:
        """Adds the next block to what is held from a frame on."""
        first = self._end
        self._end = min(self._begin_of(self._block_at(first) + 1), self._last_frame)
        try:
            block = decode_part(self._source, self._info, first, self._end - first, forward=True)
        except ClipError as error:
            if first == 0 or error.reason != Reason.DAMAGED:
                raise
            block = Decoded(self._held.samples[:0])
        if begin < first:
            block = _joined(self._held, begin - self._begin, first - self._begin, block)
        self._begin, self._held = min(begin, first), block

    def _block_at(self, frame: int) -> int:
        """Returns the number of the block that has a frame."""
        return ((frame + 1) * self._spec.sample_rate_hz - 1) // (self._block_samples * self._info.rate_hz)

    def _begin_of(self, block: int) -> int:
        return source_frames(block * self._block_samples, self._spec, self._info.rate_hz)


def _joined(held: Decoded, begin: int, border: int, block: Decoded) -> Decoded:
    """Returns what is held from `begin` to a border, and a block behind it; where that is heard, a gap is zeros."""
    missing = [(max(0, first - begin), behind - begin) for first, behind in held.missing if behind > begin]
    there = held.samples[begin:border]
    if not len(block.samples):
        return Decoded(there, tuple(missing))
    gap = border - begin - len(there)
    if gap:
        missing.append((len(there), border - begin))
    missing += [(first + border - begin, behind + border - begin) for first, behind in block.missing]
    zeros = np.zeros((gap, there.shape[1]), np.float32)
    return Decoded(np.concatenate([there, zeros, block.samples]), tuple(missing))
