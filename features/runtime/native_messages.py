"""Holds back what native code writes to standard error when all is well."""

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

from features.runtime.log import LOG
from features.runtime.visible import visible

ALL_MESSAGES = re.compile("")
"""All that native code writes about its work where a failure is an exception."""
# Standard error belongs to the whole process: one thread at a time changes it.
_stderr_lock = threading.RLock()


@contextlib.contextmanager
def quiet_stderr(pattern: re.Pattern[str]) -> Iterator[None]:
    """Holds back the lines of native code on standard error in which `pattern` is found, and lets others through."""
    if sys.stderr is None:  # whoever started this process closed it: its number may be another file's
        yield
        return
    # Two that overlapped would leave standard error in a deleted file: the second would take the first's for it.
    with _stderr_lock, tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            for line in file.read().decode(errors="replace").splitlines():
                if pattern.search(line):
                    LOG.debug("%s", line)
                else:
                    print(visible(line), file=sys.stderr)
