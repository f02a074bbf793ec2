"""A real terminal, as a program sees it, and what a person would see on it."""

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])(?:;\d+)*m")
ENVIRONMENT = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM", "COLUMNS", "LINES")


class Terminal:
    """The end of a terminal at which a person sits.

    Attributes:
        slave: the program's end.
    """

    def __init__(self, columns: int = 120) -> None:
        self._bytes = b""
        self._master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self, seconds: float = 0.0) -> str:
        """Returns all text so far, after waiting for more of it."""
        while select.select([self._master], [], [], seconds)[0]:
            try:
                self._bytes += os.read(self._master, 65_536)
            except OSError:  # no program holds it any more
                break
            seconds = 0.0
        return self.text

    @property
    def text(self) -> str:
        """All that came out, with its control codes."""
        return self._bytes.decode(errors="ignore")

    def wait_for(self, pattern: str, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not re.search(pattern, self.read(0.1)):
            assert time.monotonic() < end, f"no {pattern} in {self.text!r}"

    def hang_up(self) -> None:
        os.close(self._master)


def screen(text: str) -> list[str]:
    """The lines that stand on a screen after this text, blanks at their ends left out."""
    lines, row, column = [""], 0, 0
    for code, move in re.findall(r"(\x1b\[[\d;?]*([A-Za-z])|[^\x1b])", text):
        if code == "\r" or move == "G":
            column = 0
        elif code == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif move == "A":
            row -= int(code[2:-1] or 1)
        elif move == "K":
            lines[row] = "" if code[2:-1] == "2" else lines[row][:column]
        elif not move:
            lines[row] = lines[row][:column].ljust(column) + code + lines[row][column + 1 :]
            column += 1
        else:
            assert move in "mhl", f"a control code that this screen does not know: {code!r}"
    return [line.rstrip() for line in lines]


@contextlib.contextmanager
def as_stderr(terminal: Terminal) -> Iterator[None]:
    """Makes a terminal this process's standard error."""
    stderr = open(terminal.slave, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    with contextlib.redirect_stderr(stderr):
        yield
    with contextlib.suppress(OSError):  # it has hung up
        stderr.close()


def start(terminal: Terminal, command: Sequence[object], **environment: str) -> subprocess.Popen:
    """Starts Python with a terminal as its standard error, and standard output elsewhere."""
    kept = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE, stderr=terminal.slave, text=True, start_new_session=True,
        env={**kept, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
