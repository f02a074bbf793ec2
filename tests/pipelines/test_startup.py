"""How soon a command is there."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import STARTED, run_command, wait_until
from tests.cpu_time import check_help_is_quick
from tests.loaded_modules import RUN

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(
    f"{path.parent.name}.{path.stem}"
    for folder in ("features", "model", "pipelines")
    for path in (ROOT / folder).glob("*.py")
    if re.search(r"^    command\.run\(", path.read_text(encoding="utf-8"), re.MULTILINE)
)
SLOW = {"apache_beam", "tensorflow", "keras", "scipy", "matplotlib", "optuna", "rich"}


def loaded(*command: object, code: int = 0) -> set[str]:
    done = subprocess.run([sys.executable, "-c", RUN, *map(str, command)], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def least_seconds(enough: float, *command: str) -> float:
    """The least of three times, as other processes take their share too; no more are taken than are needed."""
    least = float("inf")
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
        least = min(least, time.monotonic() - started)
        if least < enough:
            break
    return least


def test_all_commands_are_known():
    assert {"pipelines.featurize", "model.train", "pipelines.score"} < set(COMMANDS)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(name, marks=() if name in ("pipelines.featurize", "model.train") else pytest.mark.trial)
        for name in COMMANDS
    ],
)
def test_an_unknown_option_is_answered_before_anything_slow_is_loaded(command):
    """So is --help, as tests/soundmill/test_command.py has it."""
    found = loaded(command, "--no-such-option", code=2)
    assert command.partition(".")[0] in found
    assert not found & SLOW


def test_a_command_first_minds_ctrl_c():
    for command in COMMANDS:
        module = ast.parse((ROOT / f"{command.replace('.', '/')}.py").read_text(encoding="utf-8"))
        assert ast.unparse(module.body[1]) == "import features.runtime.interruption", command


# In a Python process that finds this module: behind the first large library it waits for Ctrl-C, and then loads on.
LOADING = """
import sys, time

class Waits:
    def find_spec(self, *_):
        if "pyarrow.lib" in sys.modules or "numpy._core._multiarray_umath" in sys.modules:
            sys.meta_path.remove(self)
            open({!r}, "w").close()
            time.sleep(60)

sys.meta_path.insert(0, Waits())
"""


@pytest.mark.parametrize("command", ["pipelines.featurize", "soundmill featurize"])
def test_ctrl_c_while_a_command_loads_is_one_line(command, words, tmp_path):
    """It comes as soon as the first large library is there, of several that a command loads."""
    loading = tmp_path / "loading"
    (tmp_path / "sitecustomize.py").write_text(LOADING.format(str(loading)))
    paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    module, *name = command.split()
    code = f"import sys; sys.argv[0] = {module!r}; from soundmill.command import main; main()"
    start = ["-c", code, *name] if name else ["-m", module]
    process = subprocess.Popen(
        [sys.executable, *start, "--input", words, "--output", tmp_path / "set"], stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    STARTED.append(process)
    wait_until(loading.exists)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == "interrupted; nothing half-written stands under its final name\n"
    assert process.returncode == 130
    assert not (tmp_path / "set").exists()


def test_neither_featurize_nor_score_loads_tensorflow_or_beam(words, run_folder, tmp_path):
    for arguments in (
        ("pipelines.featurize", "--input", words, "--output", tmp_path / "set"),
        ("pipelines.score", "--model", run_folder, "--input", words, "--output", tmp_path / "labels.csv"),
    ):
        found = loaded(*arguments)
        assert {"soundfile", "scipy"} <= found
        assert not found & {"apache_beam", "tensorflow", "keras", "rich", "matplotlib"}


@pytest.mark.trial
@pytest.mark.timed
@pytest.mark.parametrize("command", COMMANDS)
def test_help_takes_less_than_half_a_second(command):
    line = [sys.executable, "-m", command, "--help"]
    check_help_is_quick(lambda: subprocess.run(line, check=True, capture_output=True))


@pytest.mark.trial
@pytest.mark.timed
def test_few_clips_take_seconds(words, run_folder, tmp_path):
    ten = tmp_path / "ten"
    for clip in sorted(words.glob("*/*.wav"))[::12][:10]:
        (ten / clip.parent.name).mkdir(parents=True, exist_ok=True)
        (ten / clip.parent.name / clip.name).write_bytes(clip.read_bytes())
    number = len(list(ten.glob("*/*.wav")))
    assert number == 10
    for turn in range(3):
        started = time.monotonic()
        run_command("pipelines.featurize", "--input", ten, "--output", tmp_path / f"set-{turn}")
        if (seconds := time.monotonic() - started) < 4:
            break
    assert seconds < 4
    one = next(ten.glob("*/*.wav"))
    labels = tmp_path / "labels.csv"
    command = ["pipelines.score", "--model", run_folder, "--input", one, "--output", labels, "--overwrite"]
    assert least_seconds(8, *map(str, command)) < 8
    assert len(labels.read_text(encoding="utf-8").splitlines()) == 2
