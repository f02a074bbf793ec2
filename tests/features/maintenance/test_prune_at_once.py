"""A prune while runs continue, begin, and are killed."""

import errno
import fcntl
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from features.errors import RunError
from features.maintenance.removal import prune
from features.store.inventory import names_of
from features.store.layout import Layout
from features.store.locks import alone, committing, is_running, running
from features.store.manifest import load_manifest
from tests.conftest import call, run_command, start_command, wait_until
from tests.features.examples import featurized
from tests.features.test_prune import (
    DAY_NS,
    DIGEST,
    LONG_AGO_NS,
    make_old,
    make_words,
    names_that_may_go,
    read_all,
    set_age,
    tree,
)
from tests.held import SHARD, held_at, let_go
from tests.signals import noise, sine, write_wav


def hold(folder: Path, held) -> None:
    with running(Layout(folder, "tfrecord")):
        held.set()
        time.sleep(600)


def test_a_run_that_goes_on_is_in_the_way_and_a_dead_one_is_not(tmp_path, capsys):
    folder = tmp_path / "set"
    for speakers in (range(3), range(5)):
        make_words(tmp_path / "words", ("no", "yes"), speakers)
        featurized(tmp_path / "words", folder)
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold, args=(folder, held))
    process.start()
    try:
        assert held.wait(60)
        before = tree(folder)
        with pytest.raises(RunError, match=r"a featurize is running into .*wait for its end"):
            prune(folder, 0, 0)
        assert call("features.prune", folder, "--dry-run", "--min-age", 0) == 0
        assert "A featurize is running; until it has ended" in capsys.readouterr().out
        assert tree(folder) == before
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    assert call("features.prune", folder, "--dry-run", "--min-age", 0) == 0
    assert "A featurize is running" not in capsys.readouterr().out
    assert prune(folder, 0, 0).states == [1]


@pytest.fixture
def featurized_folder(tmp_path) -> tuple[Path, Path]:
    """A folder of twelve clips, and the set that a featurize made of it."""
    root, output = tmp_path / "clips", tmp_path / "set"
    for number in range(12):
        first = write_wav(tmp_path / f"{number}.wav", sine(300 * (1 + number), 16_000) + noise(16_000, seed=number))
        os.utime(first, ns=(LONG_AGO_NS, LONG_AGO_NS))
        word = root / f"word-{number % 3}"
        word.mkdir(parents=True, exist_ok=True)
        os.link(first, word / f"{number:02d}000_nohash_0.wav")
    spec = tmp_path / "mfcc.toml"
    spec.write_text('preset = "log-mel"\nfront_end = "mfcc"\ncoefficients = 13\n')
    assert call("pipelines.featurize", "--input", root, "--output", output, "--spec", spec) == 0
    make_old(output)
    return root, output


@pytest.fixture
def grown(featurized_folder) -> tuple[Path, Path]:
    """The same after the folder has grown to 1,800 clips: links to the twelve files."""
    root, output = featurized_folder
    for first in sorted(root.rglob("*.wav")):
        for take in range(1, 150):
            os.link(first, first.with_name(f"{first.name[:2]}{take:03d}_nohash_0.wav"))
    return root, output


def featurize(folders: tuple[Path, Path]):
    """Starts a featurize in one process, that waits before its second shard."""
    root, output = folders
    spec = output.parent / "mfcc.toml"
    waits = held_at(output.parent, [2], SHARD, "pipelines.featurize")
    return start_command(*waits, "--input", root, "--output", output, "--spec", spec, "--workers", 1)


def reports(folder: Path) -> set[str]:
    return {path.name for path in (folder / "reports").glob("*.parquet")}


def test_what_a_running_featurize_has_finished_survives(grown):
    output = grown[1]
    before = reports(output)
    process = featurize(grown)
    wait_until(lambda: reports(output) - before)
    finished = {name: content for name, (content, _) in tree(output).items()
                if name.startswith(("shards", "reports")) and not name.endswith(".partial")}  # fmt: skip
    assert len(finished) > 2 * len(before)
    result = run_command("features.prune", output, "--min-age", 0, check=False)
    assert result.returncode == 1
    assert result.stderr == (
        f"error: a featurize is running into {output}, and its finished shards are in no state yet; wait for its end\n"
    )
    assert result.stdout == ""
    now = tree(output)
    assert all(now[name][0] == content for name, content in finished.items())
    let_go(output.parent, 2)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 0, errors
    manifest = load_manifest(output)
    assert manifest.state == 2
    # Nothing had to be built twice.
    assert all((output / name).read_bytes() == content for name, content in finished.items())
    assert call("features.prune", output, "--min-age", 0) == 0
    assert read_all(output, manifest) == 1_800
    assert names_that_may_go(output) == names_of(manifest)


def test_after_a_featurize_was_killed_its_finished_shards_wait_for_the_next(grown):
    output = grown[1]
    before = reports(output)
    process = featurize(grown)
    wait_until(lambda: reports(output) - before)
    process.kill()
    process.communicate()
    finished = reports(output) - before
    partial = output / "shards" / f"training-{DIGEST}.tfrecord.1.partial"
    partial.write_bytes(b"of an older run")
    set_age(output, 25, f"shards/{partial.name}")
    choice = prune(output, 0, DAY_NS)  # its lock went with it
    assert [file.path for file in choice.going] == [f"shards/{partial.name}"]
    assert any(file.path.startswith("work/units-") for file in choice.waiting)
    assert finished <= reports(output)
    prune(output, 0, 0)
    assert reports(output) == before
    assert not (output / "work").exists()
    assert read_all(output, load_manifest(output)) == 12


def test_a_featurize_that_begins_waits(featurized_folder):
    root, output = featurized_folder
    next(root.rglob("*.wav")).unlink()
    with alone(Layout(output, "tfrecord")):
        before = tree(output)
        process = featurize(featurized_folder)
        lock = str(output / ".running")
        wait_until(lambda: lock in open_files(process.pid))
        time.sleep(0.3)
        assert process.poll() is None
        assert tree(output) == before
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 0, errors
    assert errors.startswith(f"waiting for another command to end its work on {output}\n")
    assert load_manifest(output).state == 2


def test_locks_ask_for_files_as_network_file_systems_want_them(tmp_path, monkeypatch):
    """Over NFSv4 a shared lock takes a file that may be read, an exclusive one a file that may be written."""
    flock = fcntl.flock

    def strict(file, kind):
        mode = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE
        if mode == (os.O_WRONLY if kind & fcntl.LOCK_SH else os.O_RDONLY):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(file, kind)

    monkeypatch.setattr(fcntl, "flock", strict)
    with running(Layout(tmp_path, "tfrecord")), committing(Layout(tmp_path, "tfrecord")):
        assert is_running(Layout(tmp_path, "tfrecord"))
        with running(Layout(tmp_path, "tfrecord")):
            pass
    assert not is_running(Layout(tmp_path, "tfrecord"))
    with alone(Layout(tmp_path, "tfrecord")):
        assert is_running(Layout(tmp_path, "tfrecord"))


def open_files(process: int) -> set[str]:
    found = set()
    for path in Path(f"/proc/{process}/fd").iterdir():
        try:
            found.add(os.readlink(path))
        except OSError:
            continue
    return found
