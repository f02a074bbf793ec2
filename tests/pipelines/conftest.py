"""What the tests of the pipelines share: sources that were not written a moment ago, and a look at other processes."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from features.io.object_store import object_store
from tests.object_store.faults import proxy
from tests.signals import WORDS, noise, sine, write_wav

LONG_AGO = 1_600_000_000


def make_old(root: Path) -> Path:
    """Gives every file a time long past, as recordings have that were not made during the test."""
    for path in root.rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    return root


def files_of(folder: Path, *left_out: str) -> dict[str, bytes]:
    """Returns the content of every file of a folder by its relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in left_out
    }


def workers_of(driver: int) -> list[int]:
    """Returns the ids of the worker processes of a command that are alive: its child forks them."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parents[int(entry.name)] = parent_of(int(entry.name))
    return [process for process, parent in parents.items() if parents.get(parent) == driver]


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="session")
def old_words(words, tmp_path_factory) -> Path:
    """A copy of `words` as it was left long ago."""
    return make_old(shutil.copytree(words, tmp_path_factory.mktemp("old") / "words"))


@pytest.fixture(scope="session")
def many_clips(tmp_path_factory) -> Path:
    """4,800 clips, links to twelve files: enough that a run can be stopped in the middle."""
    root = tmp_path_factory.mktemp("many")
    for number in range(12):
        word, hz = list(WORDS.items())[number % 3]
        first = write_wav(root / "first" / f"{number}.wav", sine(hz, 16_000) + noise(16_000, seed=number))
        (root / "clips" / word).mkdir(parents=True, exist_ok=True)
        for take in range(400):
            os.link(first, root / "clips" / word / f"{number:02d}{take:03d}_nohash_0.wav")
    return make_old(root / "clips")


@pytest.fixture(scope="session")
def small_spec(tmp_path_factory) -> Path:
    """MFCCs: small rows, so that many clips take little room, and enough work that a run can be stopped."""
    path = tmp_path_factory.mktemp("spec") / "mfcc.toml"
    path.write_text('preset = "log-mel"\nfront_end = "mfcc"\ncoefficients = 13\n')
    return path


@pytest.fixture(scope="session")
def run_folder(untrained) -> Path:
    """The run folder that recordings are scored with."""
    return untrained


@pytest.fixture
def through(s3, monkeypatch):
    """Puts a proxy before the server; the stores of this process ask it from then on."""

    @contextlib.contextmanager
    def begun(faults):
        with proxy(s3.endpoint, faults) as endpoint, monkeypatch.context() as changed:
            changed.setenv("AWS_ENDPOINT_URL", endpoint)
            changed.delitem(vars(object_store(s3.uri)), "_store", raising=False)
            yield
        vars(object_store(s3.uri)).pop("_store", None)

    return begun
