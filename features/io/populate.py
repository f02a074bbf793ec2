"""Has the system map the pages of a file at once, where it can."""

import ctypes

import numpy as np
from numpy.typing import NDArray

_MADV_POPULATE_READ = 22  # of linux/mman.h, since Linux 5.14


def populate(content: NDArray[np.uint8]) -> None:
    """Reads and maps the pages of a mapped file, which begins where a page does; other threads go on meanwhile.

    Without it each of them is mapped when it is met, which takes longer and changes nothing else; so it is where the
    system does not know how.
    """
    try:
        madvise = ctypes.CDLL(None).madvise
    except (AttributeError, OSError):
        return
    madvise(ctypes.c_void_p(content.ctypes.data), ctypes.c_size_t(content.nbytes), _MADV_POPULATE_READ)
