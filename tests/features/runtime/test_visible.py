"""Names and labels cannot move the cursor of a terminal, break a line, or turn around what follows them."""

import contextlib
import csv
import io
import logging
import os
import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.runtime import command
from features.runtime.log import LOG, start_log
from features.runtime.visible import isolated, print_lines, visible
from tests.conftest import call
from tests.signals import noise, write_wav

# https://www.unicode.org/Public/UCD/latest/ucd/PropList.txt, Bidi_Control
BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") or character in BIDI_CONTROLS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("down", "down"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nerror: b\r\n", r"a\x0aerror: b\x0d\x0a"),
        ("\t\x7f\x85\x9b31m", r"\x09\x7f\x85\x9b31m"),
        ("\u2028\u2029\u202egpj.exe\u2066", r"\u2028\u2029\u202egpj.exe\u2066"),
        (os.fsdecode(b"\xff\xe9.wav"), r"\xff\xe9.wav"),
        ("\ud800", r"\ud800"),
        ("日本 جرس 🐦\u200d⬛\xa0'", "日本 جرس 🐦\u200d⬛\xa0'"),
    ],
)
def test_controls_are_shown_and_all_else_is_as_it_is(text, shown):
    assert visible(text) == shown


@given(st.text(st.characters() | st.sampled_from("\x1b\n\r\x9b\u2028" + BIDI_CONTROLS)))
def test_no_control_is_left_and_nothing_else_changes(text):
    shown = visible(text)
    assert not any(map(is_control, shown))
    shown.encode()
    assert re.sub(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4})", "", shown) == re.sub(
        r"\\(x[0-9a-f]{2}|u[0-9a-f]{4})", "", "".join(one for one in text if not is_control(one))
    )


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("down (3), up (5)", "down (3), up (5)"),
        ("שלמ: 5 clips", "\u2068שלמ\u2069: 5 clips"),
        ("in جرس, جرس 2 ب and x", "in \u2068جرس\u2069, \u2068جرس 2 ب\u2069 and x"),
        ("שלמ is not להלה.wav", "\u2068שלמ\u2069 is not \u2068להלה\u2069.wav"),
        ("אבג/דהב.wav: empty", "\u2068אבג\u2069/\u2068דהב\u2069.wav: empty"),
        ("in אב. Next: soundmill train --features אב", "in \u2068אב\u2069. Next: soundmill train --features אב"),
        ("Next: python -m model.train --output אב", "Next: python -m model.train --output אב"),
        ("  model = tf.saved_model.load('אב')", "  model = tf.saved_model.load('אב')"),
    ],
)
def test_names_from_right_to_left_are_isolated_but_in_commands(line, shown):
    assert isolated(line) == shown


@pytest.fixture
def own_log(monkeypatch):
    """The log as commands start it, and as it was after the test."""
    for name in ("handlers", "level", "propagate"):
        monkeypatch.setattr(LOG, name, getattr(LOG, name))
    yield start_log
    for handler in LOG.handlers:
        handler.close()


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Screen])
def test_a_message_is_one_line_on_the_console_and_in_the_file(own_log, tmp_path, monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    own_log(True, str(tmp_path / "log.txt"))
    LOG.warning("warning: %s is not used", "a\x1b[2J\nerror: שלמ")
    try:
        raise ValueError("b\x1b]0;title\x07")
    except ValueError:
        LOG.exception("error: ב")
    written = [line.split(" ", 3)[-1] for line in (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()]
    shown = sys.stderr.getvalue().splitlines()
    assert written[0] == r"warning: a\x1b[2J\x0aerror: שלמ is not used"
    assert r"ValueError: b\x1b]0;title\x07" in shown[-1]
    if stream is Screen:
        assert shown[0] == written[0].replace("שלמ", "\u2068שלמ\u2069")
    else:
        assert shown[0] == written[0]
    assert len(shown) == len(written)


def test_lines_on_standard_output(capsys):
    print_lines(["a\nb", "שלמ"], end="\n\n")
    assert capsys.readouterr().out == "a\\x0ab\nשלמ\n\n"
    screen = Screen()
    with contextlib.redirect_stdout(screen):
        print_lines(["שלמ: 1"])
    assert screen.getvalue() == "\u2068שלמ\u2069: 1\n"


def test_a_wrong_option_is_one_line(capsys):
    parser = command.parser("Reads.", "python -m read --fast")
    for given_options in (["a\x1b[31m\nb"], ["--a\x1b[31m"], ["--summary"]):
        with pytest.raises(SystemExit):
            parser.parse_args(given_options)
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert not any(map(is_control, error.removesuffix("\n")))


def test_a_run_on_odd_names_prints_lines_and_its_tables_can_be_read(own_log, tmp_path, capsys):
    labels = ["\x1b[31mred", "new\nline", "\x9bcsi", "line\u2028end", "\u202eabc", "-5dB"]
    for number, label in enumerate(labels):
        for name in ("0", "1", "2\x1b[2J\n"):
            write_wav(tmp_path / "in" / label / f"{name}.wav", noise(16_000, seed=number))
        (tmp_path / "in" / label / "empty\r\n.wav").write_bytes(b"")
    own_log(True, None)
    options = ("--input", tmp_path / "in", "--output", tmp_path / "set\x1b[2J")
    for more in (["--dry-run"], []):
        assert call("pipelines.featurize", *options, *more) == 0
    assert call("features.show", tmp_path / "set\x1b[2J") == 0
    out, err = capsys.readouterr()
    assert not [line for line in (out + err).split("\n") if any(map(is_control, line))]
    assert r"\x1b[31mred" in out
    [table] = (tmp_path / "set\x1b[2J").glob("rejects-*.csv")
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["path"] for row in rows) == sorted(
        f"{'./' if label == '-5dB' else ''}{label}/empty\r\n.wav" for label in labels
    )
    assert {row["label"] for row in rows} == {*labels[:-1], "'-5dB"}
    assert logging.getLogger("soundmill") is LOG
