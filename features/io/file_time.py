"""Times of files as tables can hold them."""

import os

_LATEST_NS = 2**63 - 1


def mtime_ns(status: os.stat_result) -> int:
    """Returns the modification time of a file in nanoseconds since 1970, as a 64-bit number.

    File systems keep later times than 2262, when that ends, and earlier ones than 1677: they count as these.
    """
    return max(-_LATEST_NS, min(status.st_mtime_ns, _LATEST_NS))


# What file systems keep of a time: many of the network whole seconds, SMB and NTFS 100 ns. The two seconds of FAT are
# left out: archives give files times in whole seconds, and of these two that follow each other are two.
_RESOLUTIONS_NS = (1_000_000_000, 1_000_000, 1_000, 100)


def same_time(one_ns: int, other_ns: int) -> bool:
    """Returns whether two modification times may be one, as mounts of different hosts give it.

    They are equal, or one has no more digits than a file system of a coarser resolution keeps, and the other is equal
    to it when it is cut off there. A file that changed has another time by far more than that.
    """
    if one_ns == other_ns:
        return True
    return any(
        (one_ns % step == 0 or other_ns % step == 0) and one_ns // step == other_ns // step for step in _RESOLUTIONS_NS
    )
