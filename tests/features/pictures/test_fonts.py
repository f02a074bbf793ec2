"""Names in scripts that matplotlib's own font lacks are drawn by a font of the system that has them, or by numbers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.text import Text

from features.pictures.drawing import new_figure, plain, save
from features.pictures.fonts import choose_fonts
from features.runtime.visible import num_columns
from model.pictures.run_pictures import confusion_figure

BIRD, OWL, THAI = "\N{CJK UNIFIED IDEOGRAPH-9CE5}", "\N{OWL}", "\N{THAI CHARACTER THO THAHAN}"
# Draws BIRD and THAI at a tick, in a title and in the figure, and says of every text which font it gets.
DRAW = f"""
import sys
from matplotlib.text import Text
from features.pictures.drawing import new_figure, save
from features.runtime.log import start_log
start_log(False, None)
figure = new_figure(4, 3)
axes = figure.subplots()
axes.set_yticks([0, 1], ["plain", "a {BIRD}"])
axes.set_title("{BIRD}{THAI} b")
figure.text(0.1, 0.1, "é")
save(figure, sys.argv[1])
for text in figure.findobj(Text):
    if text.get_visible() and not text.get_text().isascii():
        print(ascii(text.get_text()), text.get_fontfamily())
"""


def write_font(path: Path, family: str, signs: str, drawn: bool = True) -> None:
    """Writes a font in which each of some characters is a filled square, or has no outline."""
    names = [".notdef", *(f"s{number}" for number in range(len(signs)))]
    pen = TTGlyphPen(None)
    if drawn:
        pen.moveTo((0, 0))
        for point in ((0, 1000), (1000, 1000), (1000, 0)):
            pen.lineTo(point)
        pen.closePath()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(sign): name for sign, name in zip(signs, names[1:], strict=True)})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    font.setupHorizontalHeader(ascent=1000, descent=0)
    font.setupNameTable({"familyName": family, "styleName": "Regular"})
    font.setupOS2(sTypoAscender=1000, usWinAscent=1000, usWinDescent=0, usWeightClass=400)
    font.setupPost()
    path.parent.mkdir(parents=True, exist_ok=True)
    font.save(path)


def draw(folder: Path) -> subprocess.CompletedProcess:
    """Draws in a process that finds its fonts in a folder, installed after matplotlib has made its list of fonts."""
    environment = {**os.environ, "XDG_DATA_HOME": str(folder), "PYTHONPATH": str(Path(__file__).parents[3])}
    environment.pop("MPL_IGNORE_SYSTEM_FONTS", None)
    result = subprocess.run([sys.executable, "-c", DRAW, folder / "picture.png"], capture_output=True, text=True,
                            env=environment, check=False)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert (folder / "picture.png").exists()
    return result


def test_a_font_of_the_system_draws_what_the_own_one_lacks(tmp_path):
    write_font(tmp_path / "fonts" / "empty.ttf", "Noto Sans Empty", BIRD + THAI, drawn=False)  # as fonts of colours are
    write_font(tmp_path / "fonts" / "birds.ttf", "Noto Sans Birds", BIRD + "q")
    write_font(tmp_path / "fonts" / "others.ttf", "Noto Sans Others", BIRD + THAI)
    result = draw(tmp_path)
    assert result.stderr == ""
    shown = result.stdout.splitlines()
    assert ascii(f"a {BIRD}") in result.stdout
    assert len(shown) == 3
    assert all("['DejaVu Sans', 'Noto Sans Birds', 'Noto Sans Others']" in line for line in shown)


@pytest.fixture
def no_system_fonts(monkeypatch):
    monkeypatch.setenv("MPL_IGNORE_SYSTEM_FONTS", "1")
    from matplotlib import font_manager

    own = [font for font in font_manager.fontManager.ttflist if "mpl-data" in font.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)


def texts(figure) -> list[str]:
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def test_what_no_font_has_is_a_number_that_one_line_explains(no_system_fonts, tmp_path, caplog):
    names = [f"{BIRD}{BIRD} a", f"{OWL}", f"b {BIRD}{BIRD}", "é → ½", THAI, "جرس", "-5dB"]
    figure = confusion_figure(np.eye(7, dtype=int), names, "t")
    with caplog.at_level("INFO", "soundmill"):
        save(figure, tmp_path / "confusion.png")
    [record] = caplog.records
    message = record.getMessage()
    assert f"⟨1⟩ {BIRD}{BIRD}, ⟨2⟩ {OWL}, ⟨3⟩ {THAI}, drawn by these numbers in confusion.png;" in message
    assert "Debian's fonts-noto-cjk and fonts-noto-core and fonts-symbola" in message
    shown = texts(figure)
    for name in ("⟨1⟩ a", "⟨2⟩", "b ⟨1⟩", "é → ½", "⟨3⟩", "\u2068جرس\u2069", "-5dB"):
        assert shown.count(name) == 2


def test_what_the_own_font_has_is_left_as_it_is(caplog):
    names = ["plain", "é → ½ …", "جرس", "שלמ", "\u200f\ufe0f x\u200dy", "Ω", r"\$"]
    figure = new_figure(3, 3)
    for number, name in enumerate(names):
        figure.text(0, number / 10, name)
    with caplog.at_level("INFO", "soundmill"):
        choose_fonts(figure, "p.png")
    assert not caplog.records
    assert texts(figure) == names
    assert {tuple(text.get_fontfamily()) for text in figure.findobj(Text)} == {("sans-serif",)}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("日本語で鳴く", "日本…く"),
        ("日本語で", "日本語で"),
        ("a日本語で鳴く", "a日…く"),
        ("שלמ abc", "\u2068שלמ\u2069 abc"),
        ("abc/שלמ", "abc/\u2068שלמ\u2069"),
    ],
)
def test_names_are_as_wide_as_they_look(name, shown):
    assert plain(name, 8) == shown
    assert num_columns(shown) <= 8


def test_a_picture_has_room_for_wide_names():
    latin, wide = (confusion_figure(np.eye(2, dtype=int), ["a", name], "t").get_figwidth()
                   for name in ("a" * 12, "鳥" * 12))  # fmt: skip
    assert wide > latin
