"""A real terminal: what programs write to it, and what a person sees on its screen."""

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
from collections.abc import Iterator

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])(?:;\d+)*m")
_CHARACTER = re.compile(r"\x1b\[[\d;?]*([A-Za-z])|[^\x1b]")
# What changes how programs draw.
_VARIABLES = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM", "COLUMNS", "LINES")


class Terminal:
    """The end of a terminal at which a person sits."""

    def __init__(self, columns: int = 120) -> None:
        self._bytes = b""
        self._master, self._slave = os.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def start(self, *command: object, **environment: str) -> subprocess.Popen:
        """Starts Python, as the leader of a group of processes, with this as its standard error."""
        kept = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
        return subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=subprocess.PIPE, stderr=self._slave, text=True, start_new_session=True,
            env={**kept, "TERM": "xterm-256color", **environment},
        )  # fmt: skip

    @contextlib.contextmanager
    def as_stderr(self) -> Iterator[None]:
        """Makes it the standard error of this process."""
        stderr = open(self._slave, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        with contextlib.redirect_stderr(stderr):
            yield
        with contextlib.suppress(OSError):  # it has hung up
            stderr.close()

    def text(self, seconds: float = 0.0) -> str:
        """All that came out, with its control codes, after a wait for more of it."""
        while select.select([self._master], [], [], seconds)[0]:
            self._bytes += os.read(self._master, 65_536)
            seconds = 0.0
        return self._bytes.decode(errors="ignore")  # the last character may be half there

    def wait_for(self, pattern: str, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text(0.1)):
            assert time.monotonic() < end, f"no {pattern} in {self.text()!r}"

    def lines(self) -> list[str]:
        """What stands on the screen, of endless height and width, without the blanks at the ends of lines."""
        lines, row, column = [""], 0, 0
        for match in _CHARACTER.finditer(self.text()):
            code, move = match[0], match[1]
            if code == "\r":
                column = 0
            elif code == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif move == "A":
                row -= int(code[2:-1])
            elif move == "K":
                lines[row] = "" if code[2:-1] == "2" else lines[row][:column]
            elif move is None:
                lines[row] = lines[row][:column].ljust(column) + code + lines[row][column + 1 :]
                column += 1
            else:
                assert move in "mhl", f"a control code that this screen does not know: {code!r}"
        return [line.rstrip() for line in lines]

    def has_cursor(self) -> bool:
        return self.text().rfind("\x1b[?25l") <= self.text().rfind("\x1b[?25h")

    def hang_up(self) -> None:
        os.close(self._master)
