import argparse
import json
import logging
import subprocess
import sys
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


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--inptu", "x", "--output", "y"], "--input"),  # which is missing, too
        (["--inptu=my birds", "--output", "y"], "--input"),
        (["--input", "x", "--ouput", "y"], "--output"),
        (["-input", "x", "--output", "y"], "--input"),
        (["--max_rejects", "3"], "--max-rejects"),
        (["--max-reject", "3"], "--max-rejects"),
        (["--rejects", "3"], "--max-rejects"),
        (["--INPUT", "x"], "--input"),
        (["--input", "x", "--zoo_keeper", "3"], "--zoo_keepers"),
    ],
)
def test_an_unknown_option_is_answered_with_the_one_that_was_meant(capsys, given, meant):
    parser = reader(further=lambda: {"--zoo_keepers", "--inputs"})
    with pytest.raises(SystemExit) as end:
        parser.parse_known_args(given)
    assert end.value.code == 2
    name = next(text for text in given if text.startswith("-") and text not in ("--input", "--output")).partition("=")[
        0
    ]
    line = f"error: unrecognized option {name} (did you mean {meant}?); see python -m read --help\n"
    assert capsys.readouterr().err == line


def test_a_value_that_begins_with_a_hyphen_is_told_how_to_be_given(capsys):
    with pytest.raises(SystemExit):
        reader().parse_known_args(["--input", "-5dB,+1"])
    assert "is given so: --input=-VALUE" in capsys.readouterr().err
    assert reader().parse_known_args(["--input=-5dB,+1", "--output", "x"])[0].input == "-5dB,+1"


def test_an_option_like_none_is_answered_before_a_missing_one(capsys):
    with pytest.raises(SystemExit):
        reader().parse_known_args(["--xyz"])
    assert capsys.readouterr().err == "error: unrecognized option --xyz; see python -m read --help\n"


def test_what_is_no_unknown_option_is_none():
    parser = reader(further=lambda: {"--zoo_keepers"})
    line = ["--input", "-1", "--output=--xyz", "--zoo_keepers=3", "--max-rejects", "2"]
    options, others = parser.parse_known_args(line)
    assert (options.input, options.output, options.max_rejects, others) == ("-1", "--xyz", 2, ["--zoo_keepers=3"])
    options, _ = reader("files").parse_known_args([*line[:3], "--", "--not-an-option.wav"])
    assert options.files == ["--not-an-option.wav"]


def reader(*files: str, further=None) -> argparse.ArgumentParser:
    parser = command.parser("Reads.", "python -m read --fast", further=further)
    for name in files:
        parser.add_argument(name, nargs="+")
    for name in ("--input", "--output"):
        parser.add_argument(name, required=True)
    parser.add_argument("--max-rejects", type=int)
    return parser


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        ("KeyboardInterrupt", 130, "interrupted"),
        # What is open when Ctrl-C comes may fail to close, and that hides it.
        ("ValueError('cannot close') from KeyboardInterrupt()", 130, "interrupted"),
        ("RunError('wrong')", 1, "error: wrong\n"),
        ("OSError('wrong')", 1, "error: wrong\n"),
        ("BrokenPipeError", 1, ""),
        ("ValueError('a fault of the code')", 1, "Traceback"),
    ],
)
def test_what_ends_a_command_is_said_in_a_line(raised, code, said):
    lines = [
        "from features.errors import RunError",
        "from features.runtime import command",
        f"def main(options, others): raise {raised}",
        "command.run(main, command.parser('Reads.', 'python -m read --fast'), [])",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert (done.returncode, done.stderr[: len(said)]) == (code, said)
    assert said == "Traceback" or done.stderr.count("\n") == bool(said)
