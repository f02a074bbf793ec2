"""Opens files to read them. A name that was listed as a file's may have become that of a pipe or a device since."""

import errno
import os
import stat


def open_regular(path: str) -> tuple[int, os.stat_result]:
    """Opens a regular file to read it.

    Returns:
        A descriptor, which the caller closes, and what the system says of the file.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe or a device, some of which would be waited for forever.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # the last means nothing to a regular file
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status
