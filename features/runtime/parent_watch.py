"""Lets a process end with the one that started it, however that died."""

import os
import threading
import time

from features.io.temporary import remove_temporary_folder

_CHECK_SECONDS = 0.5


def end_with_parent(parent: int) -> None:
    """Ends this process when its parent, which has this number, has ended; a thread checks twice a second."""
    threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_CHECK_SECONDS)
    remove_temporary_folder()
    os._exit(1)
