import contextlib
import os
import re
import signal
import sys
import time

import pytest

from features.runtime.log import LOG, start_log
from features.runtime.progress import AudioProgress, Progress, clearing_bars
from tests.terminal import COLOUR, Terminal

# A command that works for two seconds or, where the machine is loaded, some more, and then for as long as it is let.
WORK = """
import os
import time
from features.runtime import command
from features.runtime.log import LOG
from features.runtime.progress import Progress

def main(options, _):
    progress = Progress("read [b]", 1_000, "files")
    for done in range(1_000):
        time.sleep(0.0 if options.quick else 0.002)
        progress.update(done, ", loss 0.5")
        if done == 500:
            LOG.warning("a message between: " + "x" * 150)
    if options.fail:
        raise OSError("the disk is gone")
    while options.wait and not os.path.exists(options.wait):
        time.sleep(0.01)
    progress.close()
    command.finish(options, "All is read.", {})
    return 0

parser = command.parser("Reads.", "python -m read --fast")
parser.add_argument("--fail", action="store_true")
parser.add_argument("--wait", metavar="FILE")
parser.add_argument("--quick", action="store_true")
command.run(main, parser)
"""
BAR = r"read \[b\] .*[\d,]+ of 1,000 files, [\d,]+ a second, \d+ s left, loss 0\.5"


@pytest.fixture
def own_log():
    """The log of a command, and afterwards what it was before."""
    handlers, level, propagate = LOG.handlers, LOG.level, LOG.propagate
    yield start_log
    LOG.handlers, LOG.propagate = handlers, propagate
    LOG.setLevel(level)


class Clock:
    """The time as what shows progress sees it: it passes where a test says so, be the machine as slow as it is."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now

    def go_on(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    result = Clock()
    monkeypatch.setattr("features.runtime.progress.time.monotonic", result)
    return result


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")  # a terminal that is not the process's own has no width
    result = Terminal()
    yield result
    with contextlib.suppress(OSError):
        result.hang_up()


@pytest.mark.parametrize(
    ("done", "total", "cells", "left"),
    [
        (500, 1_000, 12, r", [\d,]+ a second, \d s left"),
        (0, 1_000, 0, ", 0 a second"),
        (1_000, 1_000, 24, r", [\d,]+ a second, 0 s left"),
        (10, 1_000, 0, r".*, \d\d s left"),
        (1, 1_000, 0, r".*, \d+ min [0-5]\d s left"),
        (1, 100_000, 0, r".*, \d+ h [0-5]\d min left"),
        (0, 0, 24, ", 0 a second"),
    ],
)
def test_bar_with_rate_and_time_left(terminal, clock, monkeypatch, done, total, cells, left):
    monkeypatch.setenv("NO_COLOR", "1")  # so that only what is done of the bar shows
    with terminal.as_stderr():
        progress = Progress("read", total, "files")
        progress.update(done)
        assert terminal.text() == "", "too soon to be read"
        clock.go_on(0.55)
        progress.update(done, note=", 2 rejected")
        line = terminal.lines()[-1]
        assert re.fullmatch(rf"read [━╸╺ ]+ {done:,} of {total:,} files{left}, 2 rejected", line)
        assert line.count("━") == cells
        shown = terminal.text()
        progress.update(done)
        assert terminal.text() == shown, "drawn too often to be read"
        progress.close()
        assert not any(terminal.lines())
        shown = terminal.text()
        progress.close()
        assert terminal.text() == shown


def test_lines_in_a_log(own_log, clock, capsys, monkeypatch):
    own_log(False, None)
    monkeypatch.setattr("features.runtime.progress._FIRST_LOG_SECONDS", 0.1)
    progress = Progress("read", 10, "files")
    progress.update(4)
    assert capsys.readouterr() == ("", ""), "so soon nothing is to be said"
    clock.go_on(0.15)
    progress.update(5, ", 2 rejected")
    progress.update(6)
    progress.close()
    out, err = capsys.readouterr()
    assert re.fullmatch(r"read: 5 of 10 files, \d+ a second, 0 s left, 2 rejected\n", err)
    assert out == ""


@pytest.mark.parametrize(
    ("total_seconds", "said"),
    [
        (3_599, r"score: 30\.0 of 60\.0 min of audio, [\d,]+ times real time, \d s left"),
        (3_600, r"score: 0\.5 of 1\.0 h of audio, [\d,]+ times real time, \d s left"),
        (12_345_678.9, r"score: 0\.5 of 3,429\.4 h of audio, [\d,]+ times real time, .* left"),
        (59.9, r"score: 1,800\.0 of 59\.9 s of audio, .*"),
        (0, r"score: 1,800\.0 of 0\.0 s of audio, .*"),
    ],
)
def test_sound_is_counted_in_hours_and_times_real_time(own_log, clock, capsys, monkeypatch, total_seconds, said):
    own_log(False, None)
    monkeypatch.setattr("features.runtime.progress._FIRST_LOG_SECONDS", 0.0)
    progress = AudioProgress("score", total_seconds)
    clock.go_on(0.01)
    progress.update(1_800)
    assert re.fullmatch(said + "\n", capsys.readouterr().err)


def run(terminal, *options, **environment):
    return terminal.start("-c", WORK, *options, **environment)


def test_a_command_on_a_terminal(terminal, tmp_path):
    log, seen = tmp_path / "log.txt", tmp_path / "seen"
    process = run(terminal, "--log-file", log, "--wait", seen)
    terminal.wait_for(BAR)
    terminal.wait_for("a message between")
    terminal.wait_for(f"999 of|{BAR}$")
    above, bar = terminal.lines()[-2:]
    # Whole, however narrow the terminal is, and above the bar.
    assert above == "a message between: " + "x" * 150
    assert re.fullmatch(BAR, bar)
    assert COLOUR.search(terminal.text())
    seen.touch()
    assert process.communicate(timeout=60) == ("All is read.\n", None)
    assert process.returncode == 0
    assert [line for line in terminal.lines() if line] == [above]
    assert terminal.has_cursor()
    assert re.fullmatch(r"[\d:, -]+ WARNING a message between: x{150}\n", without_paragraph(log.read_text()))


def without_paragraph(log: str) -> str:
    return "".join(line for line in log.splitlines(keepends=True) if not line.endswith("All is read.\n"))


def test_no_colour_where_none_is_wanted(terminal):
    process = run(terminal, NO_COLOR="1")
    terminal.wait_for(BAR)
    process.communicate(timeout=60)
    assert not COLOUR.search(terminal.text())


def test_a_dumb_terminal_is_a_log(terminal):
    process = run(terminal, "--quick", TERM="dumb")
    process.communicate(timeout=60)
    assert terminal.text() == "a message between: " + "x" * 150 + "\r\n"


@pytest.mark.parametrize(
    ("option", "message", "code"),
    [
        ("--wait nothing", "interrupted; nothing half-written stands under its final name", 130),
        ("--fail", "error: the disk is gone", 1),
    ],
)
def test_what_ends_a_command_clears_its_bar(terminal, option, message, code):
    process = run(terminal, *option.split())
    terminal.wait_for(BAR)
    if "--wait" in option:
        os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert [line for line in terminal.lines() if line and "between" not in line] == [message]
    assert terminal.lines()[-1] == ""
    assert terminal.has_cursor()


def test_a_killed_command_leaves_the_cursor(terminal):
    process = run(terminal, "--wait", "nothing")
    terminal.wait_for(BAR)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert terminal.has_cursor()


def test_a_closed_terminal_ends_no_work(terminal, clock):
    stderr = sys.stderr
    with terminal.as_stderr():
        progress, unseen = Progress("read", 10, "files"), Progress("write", 10, "files")
        clock.go_on(0.55)
        progress.update(1)
        terminal.hang_up()
        clock.go_on(0.25)
        progress.update(2)
        progress.close()
        unseen.update(3)
        unseen.close()
    assert sys.stderr is stderr


def test_an_error_gives_standard_error_back(terminal, clock):
    with terminal.as_stderr():
        stderr = sys.stderr
        with pytest.raises(ValueError, match="of the work"), clearing_bars():
            progress = Progress("read", 10, "files")
            clock.go_on(0.55)
            progress.update(1)
            assert sys.stderr is not stderr, "lines go above the bar"
            raise ValueError("of the work")
        assert sys.stderr is stderr
