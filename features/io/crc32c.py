"""CRC-32C of what is put together of parts."""

import functools
import operator

import google_crc32c


def joined_crc32c(first: int, second: int, second_bytes: int) -> int:
    """Returns the CRC-32C of two parts that follow one another from theirs; the second is not read again."""
    lowest, low, high, highest = _moved(second_bytes)
    return second ^ lowest[first & 0xFF] ^ low[first >> 8 & 0xFF] ^ high[first >> 16 & 0xFF] ^ highest[first >> 24]


@functools.lru_cache
def _moved(count: int) -> list[list[int]]:
    """Returns what each byte of a CRC-32C, by its value, becomes by `count` more bytes: it is linear in its bits."""
    zeros = bytes(count)
    nothing = google_crc32c.value(zeros)
    bits = [google_crc32c.extend(1 << bit, zeros) ^ nothing for bit in range(32)]
    return [
        [functools.reduce(operator.xor, (bits[8 * place + bit] for bit in range(8) if value >> bit & 1), 0)
         for value in range(256)]
        for place in range(4)
    ]  # fmt: skip
