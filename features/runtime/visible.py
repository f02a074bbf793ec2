"""Lines for a terminal: what they hold of names and labels moves no cursor, begins no line and turns no text around."""

import re
import sys
import unicodedata
from collections.abc import Iterable

# Controls of terminals (C0, DEL, C1), ends of lines, controls of direction, and what stands for bytes of no text.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# From letters that are written from right to left to the last of their name, which may hold digits and spaces.
_LETTER = "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001eeff]"
_RIGHT_TO_LEFT = re.compile(rf"{_LETTER}+(?:[\d_ .-]*{_LETTER}+)*")
_COMMAND = re.compile(r"\b(?:soundmill [a-z]+|python -m \S+) ")
_ISOLATE, _END = "\u2068", "\u2069"


def visible(text: str) -> str:
    r"""Returns text as one line that shows the controls in it: `\x1b`, `\u202e`, and a byte of no text as `\xff`."""
    return _CONTROLS.sub(_shown, text)


def isolated(line: str) -> str:
    """Returns a line in which names that are written from right to left do not turn around what follows them.

    A command at its end, and a line of code, which is set in, stay as they are: a name that is copied from one has to
    be the file's.
    """
    if line.startswith("  "):
        return line
    command = _COMMAND.search(line)
    end = command.start() if command else len(line)
    return _RIGHT_TO_LEFT.sub(lambda name: f"{_ISOLATE}{name[0]}{_END}", line[:end]) + line[end:]


def num_columns(text: str) -> int:
    """Returns how many columns of a terminal a text takes: characters of Chinese, Japanese and Korean are two wide."""
    return sum(map(_columns, text))


def name_column(names: Iterable[str]) -> list[str]:
    """Returns names as a table shows them one below the other: each `visible`, with blanks up to the widest."""
    shown = [*map(visible, names)]
    width = max(map(num_columns, shown))
    return [name + " " * (width - num_columns(name)) for name in shown]


def _columns(sign: str) -> int:
    if unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def print_lines(lines: Iterable[str], end: str = "\n") -> None:
    """Prints lines, each as `visible` returns it; `end` follows the last one."""
    shown = [*map(visible, lines)]
    if sys.stdout.isatty():
        shown = [*map(isolated, shown)]
    print(*shown, sep="\n", end=end, file=sys.stdout, flush=True)


def _shown(control: re.Match[str]) -> str:
    code = ord(control[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # a byte that is not UTF-8, as `os.fsdecode` returns it
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
