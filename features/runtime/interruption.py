"""Ctrl-C while a command is loaded. Commands import this first, since all that they import next takes a while.

No garbage is looked for among the objects that come meanwhile: most of them stay.

Until `features.runtime.command.run` takes over, nothing was begun that had to be ended well, so the process ends at
once: an exception could come up anywhere in other libraries, as a traceback or not at all.
"""

import contextlib
import gc
import os
import signal
import sys
from typing import NoReturn

INTERRUPTED = 130  # 128 + SIGINT, as shells count
MESSAGE = "interrupted; nothing half-written stands under its final name"
_PACKAGES = ("features", "model", "pipelines")


def begin_loading() -> None:
    """Has Ctrl-C end the process in one line; where a shell has it ignored, in its background, it stays ignored.

    No garbage is looked for until `end_loading`.
    """
    gc.disable()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def end_loading() -> None:
    """Has Ctrl-C raise `KeyboardInterrupt` again, and garbage looked for, but not among what was loaded."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: object) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, f"{MESSAGE}\n".encode())
    os._exit(INTERRUPTED)


def _is_command() -> bool:
    """Returns whether this process was started as `python -m` with a command, and does not only import one."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    package, _, name = spec.name.partition(".") if spec else ("", "", "")
    return package in _PACKAGES and "." not in name


if _is_command():
    begin_loading()
