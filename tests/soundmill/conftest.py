"""What the tests of the face share: the console script, a folder with modules of our names, a network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """#!{python}
# -*- coding: utf-8 -*-
import re
import sys
from soundmill.command import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""
THEIRS = ("model.py", "features/__init__.py", "pipelines.py", "soundmill/__init__.py")


@pytest.fixture(scope="session")
def script(tmp_path_factory) -> Path:
    """The console script as pip writes it."""
    path = tmp_path_factory.mktemp("bin") / "soundmill"
    path.write_text(SCRIPT.format(python=sys.executable), encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def theirs(tmp_path) -> Path:
    """A folder of a user who has modules of our names: importing one of them fails and leaves a trace."""
    for name in THEIRS:
        path = tmp_path / "theirs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\nraise ImportError('not ours')\n")
    return tmp_path / "theirs"


def run_script(script: Path, *arguments: object, check: bool = True, **options) -> subprocess.CompletedProcess:
    """Runs the console script; what the tests run from is found by an absolute path, as what is installed is."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, **options.pop("env", {})}
    command = [str(script), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, **options)
    if check and result.returncode:
        raise AssertionError(f"{command} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}")
    return result


@pytest.fixture(scope="session")
def run_folder(untrained) -> Path:
    """A run folder with a network that guesses: none of its probabilities is near 0 or 1."""
    return untrained
