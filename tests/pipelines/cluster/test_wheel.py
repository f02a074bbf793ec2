"""A cluster whose processes have soundmill from a wheel, as hosts have that are not this checkout."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from features.errors import RunError
from pipelines.cluster.jars import build_jar
from tests.conftest import call
from tests.pipelines.cluster.conftest import JARS, ROOT, free_port
from tests.pipelines.cluster.jobs import set_files

pytestmark = pytest.mark.cluster


def run(*command: object, **options) -> str:
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, **options)
    assert result.returncode == 0, f"{shlex.join(map(str, command))}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of programs of an environment that has the wheel, and behind it the packages of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in ("features", "model", "pipelines", "soundmill"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source)
    [wheel] = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "environment")
    python = folder / "environment" / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'), end='')"))
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib"))
    run(*pip, f"--python={python}", "install", "--quiet", "--no-deps", "--ignore-installed", "--no-compile", wheel)
    return python.parent


def test_workers_from_a_wheel_give_the_bytes_of_a_local_run(installed, words, tmp_path):
    if shutil.which("java") is None:
        pytest.skip("no java is on the PATH: there is no cluster to test with")
    try:
        build_jar(JARS, "flink")
    except RunError as error:
        pytest.skip(f"there is no cluster to test with: {error}")
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "jars").symlink_to(JARS)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    python, where = installed / "python", {"cwd": tmp_path, "env": environment}
    assert f"{installed.parent}{os.sep}" in run(
        python, "-P", "-c", "import pipelines; print(pipelines.__file__)", **where
    )
    cluster = (python, "-P", "-m", "pipelines.cluster")
    given = run(*cluster, "start", "--folder", folder, "--taskmanagers", 1, "--port", free_port(), **where)
    try:
        # On a host of a cluster the program of the wheel is what the option names.
        worker = f"--environment_option=process_command={installed / 'soundmill-worker'}"
        options = [word for word in shlex.split(given) if not word.startswith("--environment_option")]
        arguments = ("--input", words, "--preset", "speech-commands", "--output")
        run(installed / "soundmill", "featurize", *arguments, tmp_path / "set", *options, worker, **where)
        workers = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert str(installed / "soundmill-worker") not in workers  # they have ended with their job
    finally:
        run(*cluster, "stop", "--folder", folder, **where)
    assert call("pipelines.featurize", *arguments, tmp_path / "local", "--workers", 1) == 0
    assert set_files(tmp_path / "set") == set_files(tmp_path / "local")
