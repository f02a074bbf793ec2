"""Times of files as tables can hold them."""

import os

_LATEST_NS = 2**63 - 1


def mtime_ns(status: os.stat_result) -> int:
    """Returns the modification time of a file in nanoseconds since 1970, as a 64-bit number.

    File systems keep later times than 2262, when that ends, and earlier ones than 1677: they count as these.
    """
    return max(-_LATEST_NS, min(status.st_mtime_ns, _LATEST_NS))
