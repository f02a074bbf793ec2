"""What several tests share: real recordings where they are, a small set made in code, and a network trained on it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.signals import write_words

DATA = os.environ.get("SOUNDMILL_DATA")


def pytest_collection_modifyitems(items):
    if not DATA:
        skip = pytest.mark.skip(reason="SOUNDMILL_DATA is not set: the real recordings are not here")
        for item in items:
            if "data" in item.keywords:
                item.add_marker(skip)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if DATA and "data" in item.keywords and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"SOUNDMILL_DATA is set, so this test has no reason to be skipped: {report.longrepr}"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real recordings."""
    return Path(DATA or "")


def run_command(module: str, *arguments: object, check: bool = True, **options) -> subprocess.CompletedProcess:
    """Runs a command of soundmill as a user does, in a process of its own."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    if check and result.returncode:
        raise AssertionError(f"{module} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}")
    return result


@pytest.fixture(scope="session")
def words(tmp_path_factory) -> Path:
    """A small labelled folder: 40 speakers, three words."""
    return write_words(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="session")
def feature_set(words, tmp_path_factory) -> Path:
    """The features of `words`, as TFRecord."""
    output = tmp_path_factory.mktemp("features") / "set"
    run_command("pipelines.featurize", "--input", words, "--output", output)
    return output


@pytest.fixture(scope="session")
def parquet_set(words, tmp_path_factory) -> Path:
    """The features of `words`, as Parquet."""
    output = tmp_path_factory.mktemp("features") / "parquet-set"
    run_command("pipelines.featurize", "--input", words, "--output", output, "--format", "parquet")
    return output


@pytest.fixture(scope="session")
def trained(feature_set, tmp_path_factory) -> Path:
    """A run folder: the tutorial's network after three epochs on `words`."""
    output = tmp_path_factory.mktemp("runs") / "run"
    run_command("model.train", "--features", feature_set, "--output", output, "--epochs", 3, "--batch-size", 16)
    return output
