"""Headers of the frames of MPEG audio: how many bytes and samples a frame has."""

import functools

HEADER_BYTES = 4
_MPEG1, LAYER1, LAYER3 = 3, 3, 1
_MONO = 3
# Bit rates in kbit/s by (whether MPEG-1, layer as its two bits say).
_LOW_RATES = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_BIT_RATES = {
    (True, 3): tuple(range(32, 449, 32)),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): _LOW_RATES,
    (False, 1): _LOW_RATES,
}
_RATES_HZ = (44_100, 48_000, 32_000)
_RATE_DIVISORS = {3: 1, 2: 2, 0: 4}  # MPEG-1, MPEG-2, MPEG-2.5


class Lengths(dict[bytes, int]):
    """Bytes of a frame by the four of its header, filled as it is asked: 0 for what is no header of the same stream."""

    def __init__(self, by_three: dict[bytes, int], mono: bool) -> None:
        """Takes the bytes of a frame by the first three of its header, and whether the stream is mono."""
        super().__init__()
        self._by_three, self._mono = by_three, mono

    def __missing__(self, head: bytes) -> int:
        """Returns the bytes of a frame that begins so; no key is kept that is no header, as there are many of these."""
        length = self._by_three.get(head[:3], 0)
        if not length or len(head) < HEADER_BYTES or _is_mono(head) != self._mono:
            return 0
        self[head] = length
        return length


def frame_samples(second: int) -> int:
    """Returns the samples of a frame by the second byte of its header."""
    version, layer = second >> 3 & 3, second >> 1 & 3
    if layer == LAYER1:
        return 384
    return 1152 if layer != LAYER3 or version == _MPEG1 else 576


def frame_lengths(head: bytes) -> Lengths | None:
    """Returns the lengths for a stream that has a frame with such a header, None if that is not a header.

    Version, layer, sample rate and whether it is mono stay the same throughout a stream; the bit rate, a byte of
    padding, a checksum and how two channels are coded come and go. The lengths of one stream are one object.
    """
    if len(head) < HEADER_BYTES or head[0] != 0xFF:
        return None
    version, layer, rate = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 2 & 3
    if head[1] & 0xE0 != 0xE0 or version == 1 or layer == 0 or rate == 3:
        return None
    return _stream_lengths(version, layer, rate, _is_mono(head))


def _is_mono(head: bytes) -> bool:
    return head[3] >> 6 == _MONO


@functools.cache
def _stream_lengths(version: int, layer: int, rate: int, mono: bool) -> Lengths:
    second = 0xE0 | version << 3 | layer << 1
    rate_hz = _RATES_HZ[rate] // _RATE_DIVISORS[version]
    slot = 4 if layer == LAYER1 else 1
    lengths = {}
    for number, kbits in enumerate(_BIT_RATES[version == _MPEG1, layer], start=1):
        for padding in (0, 1):
            slots = frame_samples(second) // 8 * kbits * 1000 // (rate_hz * slot) + padding
            for private in (0, 1):
                for check in (0, 1):
                    third = number << 4 | rate << 2 | padding << 1 | private
                    lengths[bytes((0xFF, second | check, third))] = slots * slot
    return Lengths(lengths, mono)
