"""Which character stands between the columns of a text table."""

import re
from typing import TextIO

from features.errors import UsageError

# By the ending of the name: what is taken where the line with the names of the columns has it.
OWN_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
SEPARATOR_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}
SEPARATOR_LINE = "a first line sep=; (or another separator) says which it is"
_SEPARATOR_LINE = re.compile(r'"?sep=(\t|[^\w\s"])"?\s*', re.IGNORECASE)  # as spreadsheets write and read it
_QUOTED = re.compile(r'"[^"]*"')
_HEADER_CHARACTERS = 1 << 20


def find_separator(file: TextIO, name: str, ending: str) -> tuple[str, int]:
    r"""Finds the separator of a table and goes to the line with the names of its columns.

    It is what a first line such as `sep=;` says. Else it is the one of its ending, comma or tab, where the line with
    the names of the columns has it outside of quotes, or the one of comma, semicolon and tab that this line has.

    Args:
        file: at its beginning.
        name: of the file.
        ending: of its name, in lower case: one of `OWN_SEPARATORS`.

    Returns:
        The separator, and the number of lines before the names of the columns.

    Raises:
        UsageError: the line has two separators, and neither is that of the ending.
    """
    said = _SEPARATOR_LINE.fullmatch(file.readline(_HEADER_CHARACTERS))
    if said:
        return said[1], 1
    file.seek(0)
    lines = _QUOTED.sub("", file.read(_HEADER_CHARACTERS)).splitlines()
    file.seek(0)
    header = next((line for line in lines if line.strip()), "")
    own = OWN_SEPARATORS[ending]
    there = [separator for separator in SEPARATOR_NAMES if separator in header]
    if own in there or not there:
        return own, 0
    if len(there) > 1:
        both = " and ".join(f"{SEPARATOR_NAMES[separator]}s" for separator in there)
        raise UsageError(f"{name} has {both} in the line with the names of its columns, and either may separate them; "
                         f"{SEPARATOR_LINE}")  # fmt: skip
    return there[0], 0
