import argparse
import json
import logging
from pathlib import Path

import pytest

from features.runtime import command
from features.sources.rejects import rejects_sentence


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
