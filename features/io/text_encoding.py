"""In which encoding a text file is, by its first bytes."""

import codecs
from pathlib import Path

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # begins like the mark of UTF-16
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def text_encoding(path: str | Path) -> str:
    """Returns the encoding of a text file for `open`: UTF-8, or UTF-16 and UTF-32 as Windows programs write them.

    Without a byte order mark, UTF-16 is what has a zero in the first two bytes: text in UTF-8 has none.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        start = file.read(4)
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            return encoding
    if 0 in start[:2] and any(start[:2]):
        return "utf-16-be" if start[0] == 0 else "utf-16-le"
    return "utf-8-sig"
