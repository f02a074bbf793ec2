"""The log of every command: on the console, and in a file where one is requested."""

import logging
import os
import sys
from typing import Any, TextIO

from features.runtime.visible import isolated, visible

LOG = logging.getLogger("soundmill")

FILE_ONLY = 5  # below what the console shows even with --verbose


class _Line(logging.Formatter):
    """Shows the controls that names in a message hold, so that a message is one line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - of logging
        return visible(super().formatMessage(record))

    def formatException(self, error: Any) -> str:  # noqa: N802
        return "\n".join(map(visible, super().formatException(error).split("\n")))


class _Console(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at that moment: while a bar is drawn, lines go above it."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return isolated(line) if self.stream.isatty() else line

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def is_verbose() -> bool:
    """Returns whether `--verbose` was given."""
    return any(logging.INFO > handler.level > FILE_ONLY for handler in LOG.handlers)


def start_log(verbose: bool, log_file: str | None) -> None:
    """Sends messages to the console, and with times to a file; ends the process with 2 where that cannot be written.

    Args:
        verbose: whether the console shows what is for developers too.
        log_file: path of the file that messages are appended to, None for no file.
    """
    console = _Console()
    console.setLevel(logging.DEBUG if verbose else logging.INFO)
    console.setFormatter(_Line("%(message)s"))
    LOG.setLevel(FILE_ONLY)
    LOG.propagate = False
    LOG.handlers = [console]
    if log_file:
        try:
            file = logging.FileHandler(log_file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            LOG.error("error: cannot write --log-file %s: %s", log_file, error.strerror)
            sys.exit(2)
        file.setFormatter(_Line("%(asctime)s %(levelname)s %(message)s"))
        LOG.addHandler(file)
    if not verbose:
        # Both are talkative about themselves; their errors still come as exceptions.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
        logging.getLogger().addHandler(logging.NullHandler())
