"""Headers of the frames of MPEG audio: how many bytes and samples a frame has."""

import functools

_MPEG1, LAYER1, LAYER3 = 3, 3, 1
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

Lengths = dict[bytes, int]
"""Bytes of a frame by the first three of its header, for all headers that one stream may have."""


def frame_samples(second: int) -> int:
    """Returns the samples of a frame by the second byte of its header."""
    version, layer = second >> 3 & 3, second >> 1 & 3
    if layer == LAYER1:
        return 384
    return 1152 if layer != LAYER3 or version == _MPEG1 else 576


@functools.cache
def frame_lengths(second: int, third: int) -> Lengths | None:
    """Returns the lengths for a stream that has a frame with such a header, None if that is not a header.

    Version, layer and sample rate stay the same throughout a stream; the bit rate, a byte of padding and a checksum
    come and go.
    """
    version, layer, rate = second >> 3 & 3, second >> 1 & 3, third >> 2 & 3
    if second & 0xE0 != 0xE0 or version == 1 or layer == 0 or rate == 3:
        return None
    rate_hz = _RATES_HZ[rate] // _RATE_DIVISORS[version]
    slot = 4 if layer == LAYER1 else 1
    lengths = {}
    for number, kbits in enumerate(_BIT_RATES[version == _MPEG1, layer], start=1):
        for padding in (0, 1):
            slots = frame_samples(second) // 8 * kbits * 1000 // (rate_hz * slot) + padding
            for private in (0, 1):
                for check in (0, 1):
                    third = number << 4 | rate << 2 | padding << 1 | private
                    lengths[bytes((0xFF, second & 0xFE | check, third))] = slots * slot
    return lengths
