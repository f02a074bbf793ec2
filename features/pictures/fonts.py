"""Fonts for names in any script: those of the system where matplotlib's own lacks characters.

matplotlib shapes text, and takes each character from the first of a text's fonts that has it. What no font has is drawn
as a number, and a message says what the numbers stand for.
"""

import itertools
import os
import unicodedata
from collections.abc import Iterable, Iterator, Set
from typing import TYPE_CHECKING

from features.runtime.log import LOG

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.ft2font import FT2Font
    from matplotlib.text import Text

# Families with even strokes, which go with matplotlib's own; the others follow by their names.
_PREFERRED = ("Noto Sans", "Source Han Sans", "WenQuanYi", "Droid Sans", "Symbola")
_MOST_NAMED = 50
_CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH")


def choose_fonts(figure: "Figure", picture: str) -> None:
    """Gives the texts of a figure fonts that have their characters, and warns of characters that none has.

    Args:
        figure: about to be drawn.
        picture: its path, whose last part the warning names.
    """
    texts = _texts(figure)
    wanted = {sign for text in texts for sign in text.get_text() if _is_drawn(sign)}
    if all(map(str.isascii, wanted)):
        return
    from matplotlib.font_manager import FontProperties, findfont, get_font

    own = get_font(findfont(FontProperties()))
    missing = {sign for sign in wanted if ord(sign) not in own.get_charmap()}
    if not missing:
        return
    families = []
    for family, font in _fonts():
        found = {sign for sign in missing if _has(font, sign)}
        if found:
            families.append(family)
            missing -= found
        if not missing:
            break
    for text in texts:
        if families and not text.get_text().isascii():
            text.set_fontfamily([own.family_name, *families])
    if missing:
        numbers = _number(figure, texts, missing)
        shown = ", ".join(f"{_mark(number)} {name}" for name, number in itertools.islice(numbers.items(), _MOST_NAMED))
        more = f" and {len(numbers) - _MOST_NAMED} more" if len(numbers) > _MOST_NAMED else ""
        LOG.warning("warning: no font of this machine has all characters of %s%s, drawn by these numbers in %s; "
                    "install fonts that have them, such as Debian's %s, and draw it again", shown, more,
                    os.path.basename(picture), " and ".join(_packages(missing)))  # fmt: skip


def _texts(figure: "Figure") -> list["Text"]:
    """Returns the texts of a figure, those at ticks too, which have their text only when somebody asks for it."""
    from matplotlib.text import Text

    for axes in figure.axes:
        axes.get_xticklabels()
        axes.get_yticklabels()
    return [found for found in figure.findobj(Text) if isinstance(found, Text)]


def _fonts() -> Iterator[tuple[str, "FT2Font"]]:
    """Yields the families of the system, those that go well with matplotlib's own first."""
    from matplotlib import get_data_path
    from matplotlib.font_manager import FontProperties, findSystemFonts, fontManager, get_font

    # matplotlib keeps a list of fonts from the day of its first run; what was installed since is not on it.
    known = {os.path.realpath(font.fname) for font in fontManager.ttflist}
    for path in sorted(findSystemFonts()):
        if os.path.realpath(path) not in known:
            try:
                fontManager.addfont(path)
            except (OSError, RuntimeError, ValueError) as error:
                LOG.debug("%s is no font that can be used: %s", path, error)
    names = {font.name for font in fontManager.ttflist if not font.fname.startswith(get_data_path())}
    for name in sorted(names, key=lambda name: (_rank(name), name)):
        try:
            yield name, get_font(fontManager.findfont(FontProperties(family=name), fallback_to_default=False))
        except (OSError, RuntimeError, ValueError):  # it was removed since
            continue


def _rank(family: str) -> int:
    return next((rank for rank, name in enumerate(_PREFERRED) if family.startswith(name)), len(_PREFERRED))


def _has(font: "FT2Font", sign: str) -> bool:
    """Returns whether a font has an outline for a character; those of coloured pictures alone cannot be drawn."""
    from matplotlib.ft2font import LoadFlags

    if ord(sign) not in font.get_charmap():
        return False
    try:
        font.set_size(10, 72)
        font.load_char(ord(sign), flags=LoadFlags.NO_HINTING)
    except RuntimeError:
        return False
    return len(font.get_path()[0]) > 0


def _is_drawn(sign: str) -> bool:
    """Returns whether a character has a shape of its own, which marks of direction, variants and spaces have not."""
    is_variant = "\ufe00" <= sign <= "\ufe0f" or "\U000e0100" <= sign <= "\U000e01ef"
    return not is_variant and unicodedata.category(sign) not in ("Cf", "Zs", "Zl", "Zp", "Cc")


def _number(figure: "Figure", texts: Iterable["Text"], missing: Set[str]) -> dict[str, int]:
    """Puts numbers in place of the runs of characters that are missing, and returns the number of each run."""
    numbers: dict[str, int] = {}

    def numbered(text: str) -> str:
        parts = []
        for is_missing, signs in itertools.groupby(text, lambda sign: sign in missing):
            run = "".join(signs)
            parts.append(_mark(numbers.setdefault(run, len(numbers) + 1)) if is_missing else run)
        return "".join(parts)

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label.get_text() for label in axis.get_ticklabels()]
            if not missing.isdisjoint("".join(labels)):
                axis.set_ticklabels([*map(numbered, labels)])
    for text in texts:
        text.set_text(numbered(text.get_text()))
    return numbers


def _mark(number: int) -> str:
    return f"\N{MATHEMATICAL LEFT ANGLE BRACKET}{number}\N{MATHEMATICAL RIGHT ANGLE BRACKET}"


def _packages(missing: Iterable[str]) -> list[str]:
    """Returns the packages of Debian whose fonts have some characters."""
    packages = set()
    for sign in missing:
        if unicodedata.name(sign, "").startswith(_CJK):
            packages.add("fonts-noto-cjk")
        else:
            packages.add("fonts-symbola" if unicodedata.category(sign)[0] == "S" else "fonts-noto-core")
    return sorted(packages)
