"""`soundmill.run`: commands from Python, in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import soundmill
from soundmill.command_process import run_command
from tests.conftest import wait_until
from tests.pipelines.conftest import is_alive

WAITING = """
import sys, threading, _thread
import soundmill
def interrupt():
    sys.stdin.readline()
    {interrupt}
threading.Thread(target=interrupt).start()
try:
    soundmill.run("train", features=sys.argv[1], output=sys.argv[2], epochs=100000)
except KeyboardInterrupt:
    print("interrupted here too")
"""


def test_figures_are_those_of_the_summary_and_messages_go_to_standard_output(words, tmp_path, capsys):
    figures = soundmill.run("featurize", input=words, output=tmp_path / "set", min_seconds=None, verbose=False)
    said = capsys.readouterr()
    assert figures["clips"] == figures["computed"] > 0
    assert f"{figures['clips']:,} clips in " in said.out
    assert "Next: soundmill train --features " in said.out
    assert said.err == ""
    again = soundmill.run("featurize", input=str(words), output=tmp_path / "set", summary=tmp_path / "kept.json")
    assert (again["computed"], again["kept"]) == (0, figures["clips"])
    assert (tmp_path / "kept.json").exists()
    shown = soundmill.run("show", tmp_path / "set", output=tmp_path / "overview.png", verbose=True)
    assert shown["clips"] == figures["clips"]


def test_an_option_may_be_given_several_times(words, tmp_path, capsys):
    names = [next(words.glob(f"{word}/*.wav")) for word in ("high", "low")]
    with pytest.raises(soundmill.UsageError, match="no such"):
        run_command("predict", names, {"model": tmp_path / "none"})
    reviews = [tmp_path / "one.csv", tmp_path / "two.csv"]
    for review in reviews:
        review.write_text("path,start_seconds,end_seconds,label,verdict,correct_label\n", encoding="utf-8")
    soundmill.run("featurize", input=words, output=tmp_path / "set", corrections=reviews)
    manifest = (tmp_path / "set" / "manifest.json").read_text(encoding="utf-8")
    assert all(review.name in manifest for review in reviews)


def test_what_ends_a_command_is_raised(words, tmp_path):
    with pytest.raises(soundmill.UsageError, match="no command 'featurise' \\(nearest: featurize\\)"):
        soundmill.run("featurise")
    with pytest.raises(soundmill.UsageError, match="unrecognized option --imput \\(did you mean --input\\?\\)"):
        soundmill.run("featurize", imput=words)
    (tmp_path / "clips" / "a").mkdir(parents=True)
    (tmp_path / "clips" / "a" / "torn.wav").write_bytes(b"RIFF")
    with pytest.raises(soundmill.RunError, match="every"):
        soundmill.run("featurize", input=tmp_path / "clips", output=tmp_path / "set")


def _commands(folder: Path) -> list[int]:
    """Returns the processes of `soundmill.run` that have a folder in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"soundmill.command" in line and os.fsencode(folder) in line and is_alive(int(entry.name)):
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("end", ["_thread.interrupt_main()", ""])
def test_a_command_ends_with_an_interrupt_and_with_the_program_that_runs_it(feature_set, tmp_path, end):
    program = WAITING.format(interrupt=end or "pass")
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(feature_set), str(tmp_path / "run")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: (tmp_path / "run").exists())
    assert _commands(tmp_path)
    if not end:
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    said = process.communicate("now\n", timeout=60)[0]
    assert ("interrupted here too" in said) == bool(end)
    wait_until(lambda: not _commands(tmp_path), seconds=60)
