"""Files that get a second name: by a hard link, else by a clone or a copy."""

import contextlib
import errno
import fcntl
import os
import shutil
from pathlib import Path

LINKED, CLONED, COPIED, CUT, WRITTEN = WAYS = ("linked", "cloned", "copied", "cut", "written")
"""How a file came to be: a hard link; a clone, which shares its blocks with the original until either is changed; a
copy; a part that was cut out; or written anew."""

_CLONE = 0x40049409  # FICLONE of Linux, `_IOW(0x94, 9, int)`
# Another device, a file system without links or whose links are all taken, or a file of another user.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)


def place_file(source: str | os.PathLike[str], target: Path) -> str:
    """Gives a file a second name, or what is nearest to it, and returns which of the ways it was.

    Args:
        source: the file; where it is a symbolic link, the file that it leads to is meant.
        target: the new name, in a folder that is there.

    Raises:
        OSError: the file cannot be read, or the new one cannot be written.
    """
    real = os.path.realpath(source)
    try:
        os.link(real, target)
        return LINKED
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
    with open(real, "rb") as old, open(target, "xb") as new:
        with contextlib.suppress(OSError):  # most file systems have no clones
            fcntl.ioctl(new.fileno(), _CLONE, old.fileno())
            return CLONED
        shutil.copyfileobj(old, new, 2**20)
    return COPIED
