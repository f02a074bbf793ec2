import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from soundmill.command import COMMANDS
from tests.conftest import run_command
from tests.cpu_time import check_help_is_quick
from tests.pipelines.test_startup import COMMANDS as MODULES
from tests.pipelines.test_startup import SLOW
from tests.signals import sine
from tests.soundmill.conftest import run_script

LOADED = """
import sys
sys.argv = ["/usr/bin/soundmill", *sys.argv[1:]]
try:
    from soundmill.command import main
    main()
finally:
    print("LOADED", *sys.modules)
"""


def loaded(*arguments: str) -> set[str]:
    command = [sys.executable, "-c", LOADED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_it_has_every_command():
    assert sorted(module for module, _ in COMMANDS.values()) == MODULES
    for name, (module, _) in COMMANDS.items():
        assert module.rpartition(".")[2] == name


def test_help_has_a_line_a_command(script, tmp_path):
    lines = run_script(script, "--help", cwd=tmp_path).stdout.splitlines()
    assert lines[0] == "usage: soundmill COMMAND ..."
    for name, (_, description) in COMMANDS.items():
        assert f"  {name:13} {description}" in lines
    assert max(map(len, lines)) <= 100


def test_help_loads_no_command():
    assert not loaded("--help") & {*MODULES, *SLOW, "numpy", "pyarrow"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("featurize", "train", "score", "show") else pytest.mark.trial)
        for name in COMMANDS
    ],
)
def test_a_command_loads_its_own_module_alone(name):
    found = loaded(name, "--help")
    assert found & set(MODULES) == {COMMANDS[name][0]}
    assert not found & SLOW


@pytest.mark.trial
@pytest.mark.timed
@pytest.mark.parametrize("arguments", [(), *((name,) for name in COMMANDS)])
def test_help_takes_less_than_half_a_second(script, theirs, arguments):
    check_help_is_quick(lambda: run_script(script, *arguments, "--help", cwd=theirs))


def test_version(script, tmp_path):
    assert re.fullmatch(r"soundmill \d+\.\d+\.\d+\S*\n", run_script(script, "--version", cwd=tmp_path).stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: no command given; see soundmill --help"),
        (["trian"], "error: no command 'trian' (nearest: train); see soundmill --help"),
        (["featurise", "--help"], "error: no command 'featurise' (nearest: featurize); see soundmill --help"),
        (["?"], "error: no command '?'; see soundmill --help"),
        (["--verbose", "train"], "error: no option --verbose before the command; see soundmill --help"),
        (["train", "--features"], "error: argument --features: expected one argument; see soundmill train --help"),
        (["show"], "error: the following arguments are required: FEATURES; see soundmill show --help"),
        (["show", "set", "--no"], "error: unrecognized option --no; see soundmill show --help"),
        (
            ["train", "--feature=x"],
            "error: unrecognized option --feature (did you mean --features?); see soundmill train --help",
        ),
        (["show", "none"], "error: no such feature set: none; make it with soundmill featurize"),
    ],
)
def test_wrong_use_is_said_in_a_line(script, tmp_path, arguments, message):
    result = run_script(script, *arguments, cwd=tmp_path, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", message + "\n")


def test_a_command_says_how_it_was_started(script, tmp_path):
    by_script = run_script(script, "verify", "--help", cwd=tmp_path).stdout
    assert by_script.startswith("usage: soundmill verify ")
    assert "  soundmill verify speech-features/ --repair\n" in by_script
    assert "python -m" not in by_script
    by_module = run_command("features.verify", "--help").stdout
    assert by_module.startswith("usage: python -m features.verify ")
    assert "  python -m features.verify speech-features/ --repair\n" in by_module
    failed = run_command("features.verify", check=False)
    assert failed.stderr.endswith("; see python -m features.verify --help\n")


def test_options_of_beam_pass_through(script, words, tmp_path):
    result = run_script(script, "featurize", "--input", words, "--output", "set", "--no_such_option", cwd=tmp_path,
                        check=False)  # fmt: skip
    assert result.returncode == 2
    assert "unrecognized option --no_such_option: neither soundmill nor Beam knows it" in result.stderr


@pytest.fixture
def mixed_words(words, tmp_path) -> Path:
    """Words of which a few are FLAC, which another process decodes."""
    root = tmp_path / "mixed"
    for clip in sorted(words.glob("*/*.wav")):
        (root / clip.parent.name).mkdir(parents=True, exist_ok=True)
        (root / clip.parent.name / clip.name).symlink_to(clip)
    for word in ("high", "low"):
        soundfile.write(root / word / "abcdef00_nohash_0.flac", sine(500, 16_000), 16_000)
    return root


@pytest.mark.trial
def test_modules_of_the_user_are_left_alone(script, theirs, mixed_words, run_folder):
    """In a folder that holds a `model.py`, a `features/` and a `pipelines.py`; `.ci/package` has the other commands."""

    def step(*arguments: object) -> str:
        result = run_script(script, *arguments, cwd=theirs)
        return result.stdout + result.stderr

    featurized = step("featurize", "--input", mixed_words, "--output", "../set", "--workers", 2)
    assert "in 2 worker processes" in featurized
    assert "122 computed" in featurized
    assert "Next: soundmill train --features ../set" in featurized
    shard = next((theirs.parent / "set" / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1])
    repaired = step("verify", "../set", "--repair", "--workers", 2)
    assert "1 shard" in repaired
    assert step("predict", "--model", run_folder, mixed_words / "low" / "abcdef00_nohash_0.flac").count("\n") > 2
    assert not (theirs.parent / "imported").exists()


@pytest.mark.endurance
def test_what_loads_tensorflow_leaves_them_alone_too(script, theirs, feature_set):
    run_script(script, "train", "--features", feature_set, "--output", "../run", "--epochs", 1, cwd=theirs)
    run_script(script, "evaluate", "--model", "../run", "--features", feature_set, cwd=theirs)
    run_script(script, "export", "--model", "../run", "--output", "../exported", cwd=theirs)
    run_script(script, "demo", "--output", "../demo", "--clips", 64, cwd=theirs)
    assert not (theirs.parent / "imported").exists()


@pytest.mark.trial
def test_processes_that_beam_starts_leave_them_alone_too(script, theirs, words):
    result = run_script(script, "featurize", "--input", words, "--output", "../set", "--runner=DirectRunner",
                        "--direct_running_mode=multi_processing", "--direct_num_workers=1", cwd=theirs)  # fmt: skip
    assert "120 computed" in result.stdout
    assert not (theirs.parent / "imported").exists()
