"""A repair that is killed before any of its steps leaves what is damaged known as such, and the next one ends it."""

import itertools
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest

import features.store.shards
from features.maintenance.repair import repair
from features.maintenance.verification import verify
from features.store.layout import Layout
from features.store.manifest import load_manifest
from tests.features.examples import TINY, featurized, other_libraries
from tests.signals import noise, write_wav

# All that changes what a folder holds, or makes it last.
STEPS = ("replace", "unlink", "rmdir", "mkdir", "fsync")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("recordings") / "words"
    for speaker in range(9):
        for number, word in enumerate(("no", "yes")):
            write_wav(root / word / f"{speaker:08x}_nohash_0.wav", noise(50, seed=2 * speaker + number))
    return root


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def repair_and_die(folder: Path, steps: int) -> None:
    """Repairs a set in a process that kills itself when it has done so many steps."""
    done = itertools.count()

    def deadly(step):
        def counted(*given, **options):
            if next(done) == steps:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*given, **options)

        return counted

    for name in STEPS:
        setattr(os, name, deadly(getattr(os, name)))
    manifest = load_manifest(folder)
    repair(manifest.layout(folder), manifest, verify(manifest.layout(folder), manifest))


def damage(folder: Path, storage_format: str) -> None:
    """A byte of one shard is flipped, another shard is gone, and so are its report and that of a third."""
    manifest = load_manifest(folder)
    first, second, third = manifest.all_shards[:3]
    path = Layout(folder, storage_format).shard(first.name)
    content = bytearray(path.read_bytes())
    content[first.bytes // 2] ^= 1
    path.write_bytes(content)
    Layout(folder, storage_format).shard(second.name).unlink()
    for shard in (second, third):
        Layout(folder, storage_format).report(shard.name).unlink()


# The short forms take fewer steps, and go the same way.
@pytest.mark.parametrize(
    ("storage_format", "versions", "stride"),
    [
        ("tfrecord", "same", 3),
        ("parquet", "other", 8),
        pytest.param("tfrecord", "same", 1, marks=pytest.mark.endurance),
        pytest.param("parquet", "other", 1, marks=pytest.mark.endurance),
        pytest.param("tfrecord", "other", 1, marks=pytest.mark.endurance),
        pytest.param("parquet", "same", 1, marks=pytest.mark.endurance),
    ],
)
def test_a_repair_may_be_killed_before_any_step(recordings, tmp_path, monkeypatch, storage_format, versions, stride):
    monkeypatch.setattr(features.store.shards, "MAX_ROWS", 3)
    with pytest.MonkeyPatch.context() as patch:
        if versions == "other":  # the repair comes to a new state
            other_libraries(patch)
        _, base = featurized(recordings, tmp_path / "made", TINY, storage_format)
    whole = tree(tmp_path / "made")
    damage(tmp_path / "made", storage_format)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["pytest", "soundfile", "pyarrow.dataset", "tests.features.maintenance.test_repair_killed"]
    )
    states = []
    for steps in itertools.count(step=stride):
        folder = shutil.copytree(tmp_path / "made", tmp_path / str(steps))
        process = context.Process(target=repair_and_die, args=(folder, steps))
        process.start()
        process.join()
        manifest = load_manifest(folder)
        states.append(manifest.state)
        found = verify(manifest.layout(folder), manifest)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        left = tree(folder)
        for shard in base.all_shards if manifest == base else ():
            layout = manifest.layout(folder)
            paths = (layout.shard(shard.name), layout.report(shard.name))
            names = [path.relative_to(folder).as_posix() for path in paths]
            right = all(left.get(name) == whole[name] for name in names)
            assert right != (shard.name in {damage.name for damage in found}), f"{shard.name} after {steps} steps"
        repair(manifest.layout(folder), manifest, found)
        manifest = load_manifest(folder)
        assert verify(manifest.layout(folder), manifest) == []
        assert not (folder / "work").exists()
        if versions == "same":
            assert tree(folder) == whole
        shutil.rmtree(folder)
    assert found == []
    assert steps > 20
    assert set(states) == ({1} if versions == "same" else {1, 2})
