"""The temporary folder of this process, for files that are wanted by their paths; it goes with the process."""

import atexit
import os
import shutil
import threading

_lock = threading.Lock()
_folders: dict[int, str] = {}  # by process: one that was forked has its own, and leaves its parent's alone


def temporary_folder() -> str:
    """Returns the folder, which is made when it is first asked for.

    Who removes what is in it when it is not needed any more leaves room; what is there at the end of the process goes.
    """
    import tempfile  # which many commands do not need

    with _lock:
        if os.getpid() not in _folders:
            _folders[os.getpid()] = tempfile.mkdtemp(prefix="soundmill-")
        return _folders[os.getpid()]


def remove_temporary_folder() -> None:
    """Removes the folder where there is one: before `os._exit`, which ends a process without what else removes it."""
    folder = _folders.pop(os.getpid(), None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _start_anew() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it


atexit.register(remove_temporary_folder)
os.register_at_fork(after_in_child=_start_anew)
