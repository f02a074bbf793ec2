"""Keeps the memory of one step of a training for the next."""

import ctypes

# Parameters of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# The most that mallopt takes, and more than any heap here.
_MMAP_BYTES, _TRIM_BYTES = 32 * 2**20, 2**31 - 1


def keep_freed_memory() -> bool:
    """Has the allocator of C keep what is freed, where it is glibc's; returns whether it does.

    TensorFlow 2.21 sets glibc to map each tensor above 128 KiB anew, and to give it back to the system when it is
    freed, when the first data set from a generator is iterated over (`ApplyPython311MemoryPatch`, shown by
    findings/tensorflow-generator-mmap-threshold.sh): the system then has to clear some 1,600 pages a clip, which took
    two fifths of the time of a training. What this sets before that is overwritten.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _MMAP_BYTES) and mallopt(_TRIM_THRESHOLD, _TRIM_BYTES))
