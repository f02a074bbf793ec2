"""What a file system is asked with, and what it says of a file."""

import os
from typing import NamedTuple

AnyPath = str | os.PathLike[str]


class Entry(NamedTuple):
    """What a file system says of a file.

    Attributes:
        path: its place.
        size: in bytes.
        mtime_ns: when it was written, in nanoseconds since 1970 by the clock of the file system; a store's are whole
            seconds or milliseconds.
        version: changes with its content: the ETag of an object; of a local file its number, time and size.
    """

    path: str
    size: int
    mtime_ns: int
    version: str
