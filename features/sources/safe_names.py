"""Names for files and folders that hold on every system, made of any text, and the text again from them."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from urllib.parse import unquote

import xxhash

from features.sources.folder_walk import is_litter

# What Windows, macOS or an object store allows in no name, or takes for something else; and what marks the rest.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*%]')
# At the beginning: a hidden file, an option of a program, a user's home; at the end: Windows leaves it out.
_FIRST, _LAST = frozenset(".-~"), "."
_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³])\s*(\..*)?", re.IGNORECASE | re.DOTALL)
_PLAIN = re.compile(r"[a-z0-9 _.,=+()-]")
_EMPTY = "%"
_CUT = "%~"
MOST_BYTES = 120
"""Of a name in UTF-8: systems allow 255, and a path has other parts."""


def safe_names(texts: Iterable[str], keep_end: bool = False) -> dict[str, str]:
    """Returns a name of at most `MOST_BYTES` for each text, of which no system takes one for another.

    What a name may not hold, or not there, stands as in a URL: `%2F` is `/`. Nothing else is changed, so most texts are
    their own names, and `text_of` returns the text; of texts that differ in case or in forms of Unicode alone more is
    written so. Of a longer one a part is left, and a hash stands for the rest.

    Args:
        texts: any that are UTF-8.
        keep_end: whether of a long text the end stays, else its beginning.
    """
    listed = list(dict.fromkeys(texts))
    alike = Counter(map(_seen, listed))
    return {text: _fitted(_quoted(text, exactly=alike[_seen(text)] > 1), text, keep_end) for text in listed}


def text_of(name: str) -> str:
    """Returns the text that has a name; raises `ValueError` where it was too long for one."""
    if _CUT in name:
        raise ValueError(f"{name!r} stands for a longer text")
    return "" if name == _EMPTY else unquote(name)


def _quoted(text: str, exactly: bool = False) -> str:
    """Writes a text as a name, however long; `exactly` where others differ from it in case or form alone."""
    # The first character is enough to make another name of one that means something.
    has_meaning = _DEVICES.fullmatch(text) is not None or text[:1] in _FIRST or is_litter(os.fsencode(text))
    last = len(text) - 1

    def write(place: int, character: str) -> str:
        unsafe = _UNSAFE.match(character) or (has_meaning and place == 0) or (place == last and character == _LAST)
        if character.isspace():
            unsafe = unsafe or character != " " or place in (0, last)
        if not (unsafe or (exactly and not _PLAIN.match(character))):
            return character
        return "".join(f"%{byte:02X}" for byte in character.encode())

    return "".join(write(*item) for item in enumerate(text)) or _EMPTY


def _fitted(name: str, text: str, keep_end: bool) -> str:
    written = name.encode()
    if len(written) <= MOST_BYTES:
        return name
    digest = xxhash.xxh3_64_hexdigest(text.encode())
    room = MOST_BYTES - len(_CUT) - len(digest)
    # A character, or what stands for one, that was cut through is left out.
    if keep_end:
        return f"{_CUT}{digest}{written[-room:].decode(errors='ignore')}"
    return f"{re.sub('%[0-9A-F]?$', '', written[:room].decode(errors='ignore'))}{_CUT}{digest}"


def _seen(text: str) -> str:
    """Returns what texts have in common whose names a system may take for one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
