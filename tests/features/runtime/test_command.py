import argparse
import contextlib
import json
import logging
import os
import re
import time
from pathlib import Path

import pytest

from features.runtime import command
from features.runtime.progress import Progress
from features.sources.rejects import rejects_sentence


@contextlib.contextmanager
def terminal():
    """A real terminal as standard error; gives the function that reads what came out at its other end."""
    master, slave = os.openpty()
    os.set_blocking(master, False)

    def read() -> str:
        try:
            return os.read(master, 10_000).decode()
        except BlockingIOError:
            return ""

    with open(slave, "w", encoding="utf-8") as stderr, contextlib.redirect_stderr(stderr):
        yield read
    os.close(master)


@pytest.mark.parametrize(
    ("done", "total", "expected"),
    [
        (500, 1_000, r"\[#{12}\.{12}\] read: 500 of 1,000 files, [\d,]+ a second, \d s left"),
        (0, 1_000, r"\[\.{24}\] read: 0 of 1,000 files, 0 a second"),
        (1_000, 1_000, r"\[#{24}\] read: 1,000 of 1,000 files, [\d,]+ a second, \d s left"),
        (10, 1_000, r"\[\.{24}\] .*, \d\d s left"),
        (1, 1_000, r"\[\.{24}\] .*, \d+ min [0-5]\d s left"),
        (1, 100_000, r"\[\.{24}\] .*, \d+ h [0-5]\d min left"),
    ],
)
def test_progress_on_a_terminal(done, total, expected):
    with terminal() as shown:
        progress = Progress("read", total, "files")
        progress.update(done)
        assert shown() == "", "so soon nobody can read it"
        time.sleep(0.25)
        progress.update(done, note=", 2 rejected")
        assert re.fullmatch(rf"\r\x1b\[K{expected}, 2 rejected", shown())
        progress.close()
        assert shown() == "\r\x1b[K"
        progress.close()
        assert shown() == ""


def test_progress_is_silent_in_a_log_at_first(caplog, capsys):
    progress = Progress("read", 10, "files")
    progress.update(5)
    progress.close()
    assert capsys.readouterr() == ("", "")
    assert caplog.records == []


def test_rejects_in_the_last_paragraph():
    assert rejects_sentence({}, Path("r.csv")) == " No file was rejected."
    sentence = rejects_sentence({"empty": 1_000, "damaged": 2}, Path("out/r.csv"))
    assert sentence == (" 1,002 files were rejected (2 damaged, 1,000 empty), each with its reason in out/r.csv.")


@pytest.mark.parametrize(
    ("rejected", "allowed", "code"), [(0, None, 0), (9, None, 0), (0, 0, 0), (1, 0, 3), (9, 9, 0), (10, 9, 3)]
)
def test_exit_code_of_rejects(rejected, allowed, code):
    assert command.exit_code(rejected, allowed) == code


def test_summary_is_the_figures(tmp_path, capsys):
    summary = tmp_path / "summary.json"
    command.finish(argparse.Namespace(summary=str(summary)), "All done.", {"clips": 3, "seconds": 0.5})
    assert json.loads(summary.read_text(encoding="utf-8")) == {"clips": 3, "seconds": 0.5}
    command.finish(argparse.Namespace(summary=None), "Again.", {})
    assert capsys.readouterr().out == "All done.\nAgain.\n"


def test_every_parser_shows_its_example(capsys):
    parser = command.parser("Reads.", "python -m read --fast")
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--help"])
    assert end.value.code == 0
    assert "example:\n  python -m read --fast" in capsys.readouterr().out
    options = parser.parse_args(["--summary", "s.json", "--verbose", "--log-file", "l.txt"])
    assert (options.summary, options.verbose, options.log_file) == ("s.json", True, "l.txt")
    with pytest.raises(SystemExit):
        parser.parse_args(["--summ", "s.json"])
    assert logging.getLogger("soundmill") is command.LOG
