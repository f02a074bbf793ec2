"""What the trials of the cache share: a source that changes, the command but for Beam, and a look at a feature set."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import pyarrow.parquet as pq
import pytest

from features.frontend.presets import load_spec
from features.io.tfrecord import records
from features.store import clip_lines, contents, table_parts
from features.store.layout import MANIFEST, Layout
from features.store.manifest import Manifest, existing_manifest
from features.store.shards import read_shard
from features.store.unit_report import is_finished, read_report
from features.update.build_in_turn import ShardsInTurn
from features.update.build_job import BuildJob
from features.update.request import Request
from pipelines import featurize as command
from tests.signals import noise, write_wav

# Each fold is a partition, so that a few clips make many shards.
PATTERN = r"(?P<label>\w+)/(?P<partition>fold-\d)_"
OWN_NAMES = {MANIFEST, "runs.jsonl", ".lock", ".running", "shards", "reports", "states", "work"}
LONG_AGO_SECONDS = 1_600_000_000
SMALL = 'preset = "speech-commands"\nclip_seconds = 0.005\nwindow_samples = 16\nhop_samples = 16\nfft_samples = 16\n'
SLOW = 'preset = "log-mel"\nfront_end = "mfcc"\ncoefficients = 13\n'
_SLOW_CLIPS = 200  # of a fold


def put(root: Path, place: str, number: int, content: bytes | None = None) -> None:
    """Writes a clip of 5 ms, or something else, that was last changed long ago; its number chooses sound and time."""
    path = root / place
    write_wav(path, noise(80, seed=number))
    if content is not None:
        path.write_bytes(content)
    os.utime(path, (LONG_AGO_SECONDS + number,) * 2)


def begin(root: Path) -> None:
    """Writes 32 clips of four folds, a broken one among them, and a fold that has no other."""
    for number in range(32):
        put(root, f"{('no', 'yes')[number % 2]}/fold-{1 + number % 4}_{number}.wav", number)
    put(root, "no/fold-1_empty.wav", 100, b"")
    put(root, "yes/fold-8_text.wav", 101, b"no sound")


def change(root: Path) -> None:
    """Does to the clips of `begin` all that is done to a source; fold 4 stays as it is."""
    for number in range(200, 206):
        put(root, f"yes/fold-{1 + number % 2}_{number}.wav", number)
    put(root, "yes/fold-5_206.wav", 206)
    put(root, "no/fold-9_empty.wav", 207, b"")
    (root / "no/fold-1_0.wav").unlink()
    (root / "no/fold-3_2.wav").rename(root / "yes/fold-3_2.wav")
    (root / "yes/fold-2_1.wav").rename(root / "yes/fold-3_1.wav")
    (root / "no/fold-3_6.wav").rename(root / "no/fold-3_renamed.wav")
    put(root, "no/fold-1_4.wav", 208)
    os.utime(root / "no/fold-1_8.wav", (LONG_AGO_SECONDS + 209,) * 2)


def grow(step: int) -> Callable[[Path], None]:
    """Returns what adds a clip to each of three folds."""

    def add(root: Path) -> None:
        for fold in (1, 2, 3):
            put(root, f"{('no', 'yes')[step % 2]}/fold-{fold}_{step}.wav", 10 * step + fold)

    return add


def many(folds: Iterable[int], first: int) -> Callable[[Path], None]:
    """Returns what adds so many clips of a second to folds that a run over them can be stopped in the middle."""

    def add(root: Path) -> None:
        for fold in folds:
            content = root.with_name(f"{fold}-{first}.wav")
            write_wav(content, noise(16_000, seed=100 * fold + first))
            os.utime(content, (LONG_AGO_SECONDS + fold,) * 2)
            for number in range(first, first + _SLOW_CLIPS):
                path = root / ("no", "yes")[number % 2] / f"fold-{fold}_{number}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                os.link(content, path)

    return add


# What becomes of a source; after each step but the last a state is committed.
SCENARIOS: dict[str, list[Callable[[Path], None]]] = {
    "cold": [begin],
    "incremental": [begin, change],
    "merge": [grow(step) for step in range(8)],
    "slow cold": [many(range(1, 7), 0)],
    "slow incremental": [many(range(1, 4), 0), many(range(1, 7), 1_000)],
}


@dataclass(frozen=True)
class Case:
    """A source, the set as it was committed before the source changed for the last time, and as it shall be after.

    Attributes:
        root: the source.
        base: the committed set, None where there was none.
        storage_format: `tfrecord` or `parquet`.
        spec: file that holds the spec.
        unbroken: where the set goes that nothing stopped.
    """

    root: Path
    base: Path | None
    storage_format: str
    spec: Path
    unbroken: Path

    def copy(self, folder: Path) -> Path:
        """Puts the set there as it was before the last change; nothing where there was none."""
        return shutil.copytree(self.base, folder) if self.base else folder

    def request(self, folder: Path) -> Request:
        """Returns the request of a featurize."""
        spec = load_spec(str(self.spec)).spec
        return Request(str(self.root), str(folder), spec, self.storage_format, label_pattern=PATTERN)

    def options(self, folder: Path, workers: int = 1) -> tuple[object, ...]:
        """Returns the same as options of the command."""
        return ("--input", self.root, "--output", folder, "--format", self.storage_format, "--spec", self.spec,
                "--label-pattern", PATTERN, "--workers", workers)  # fmt: skip

    def new_shards(self, folder: Path) -> set[str]:
        """Returns the names of the finished shards that a set had not before the last change."""
        before = finished_shards(self.base) if self.base else {}
        return set(finished_shards(folder)) - set(before)


def make_case(place: Path, scenario: str, storage_format: str) -> Case:
    """Makes a source and the states of its set up to the last; in a folder of its own."""
    *before, last = SCENARIOS[scenario]
    place.mkdir()
    spec = place / "spec.toml"
    spec.write_text(SLOW if scenario.startswith("slow") else SMALL)
    base = place / "base" if before else None
    case = Case(place / "clips", base, storage_format, spec, place / "unbroken")
    for step in before:
        step(case.root)
        featurize(case.request(base))
    last(case.root)
    return case


def build_here(job: BuildJob, numbers: Iterable[int], _: bool) -> None:
    """Builds shards in this process, one after the other."""
    with contextlib.closing(ShardsInTurn(job)) as shards:
        for number in numbers:
            shards.work(number)
        shards.finish()


def featurize(asked: Request) -> tuple[Manifest, dict[str, Any]]:
    """Does all that the command does, but for Beam, which takes seconds to start."""
    return command.featurize(asked, build_here)


@contextlib.contextmanager
def small_parts(rows: int = 7) -> Iterator[None]:
    """Has clips tables of more than so many rows be several files, and their rows be taken few at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_parts, "PART_ROWS", rows)
        for module in (clip_lines, contents):
            patch.setattr(module, "BATCH_ROWS", 3)
        patch.setattr(clip_lines, "_ASKED_ROWS", 4)
        yield


def named(folder: Path, states: bool = True) -> dict[str, bytes]:
    """Returns all files that the committed state names, and the manifests, by their relative paths."""
    manifest = existing_manifest(folder)
    paths = [folder / MANIFEST, *(folder / part.file for part in manifest.clips_tables), folder / manifest.rejects_file]
    for shard in manifest.all_shards:
        paths += [manifest.layout(folder).shard(shard.name), manifest.layout(folder).report(shard.name)]
    paths += sorted((folder / "states").glob("*.json")) if states else []
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Returns the names of files that are not the same in both."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def read_all(folder: Path, manifest: Manifest) -> int:
    """Reads every shard that a state names; returns the number of rows."""
    rows = 0
    for part in manifest.clips_tables:
        assert len(pq.read_table(folder / part.file)) == part.rows
    for shard in manifest.all_shards:
        rows += len(read_shard(manifest.layout(folder), shard, manifest.spec).paths)
    assert rows == manifest.counts["clips"] == sum(part.rows for part in manifest.clips_tables)
    return rows


def finished_shards(folder: Path) -> dict[str, int]:
    """Returns the shards that have a report, and the inode of each: a file that is written anew has another."""
    names = {path.stem for path in (folder / "reports").glob("*.parquet")}
    return {path.name: path.stat().st_ino for path in (folder / "shards").glob("*.*")
            if path.stem in names and path.suffix != ".partial"}  # fmt: skip


def check_whole(folder: Path, storage_format: str) -> None:
    """Checks that nothing half-written has a final name, whatever has happened to the runs into a folder."""
    layout = Layout(folder, storage_format)
    for path in without_partial(folder / "reports"):
        assert is_finished(layout, path.stem), path
        shard = read_report(layout, path.stem).shard
        if shard is not None:
            assert google_crc32c.value(layout.shard(shard.name).read_bytes()) == shard.crc32c
    for path in without_partial(folder / "shards"):
        rows = list(records(memoryview(path.read_bytes()))) if storage_format == "tfrecord" else pq.read_table(path)
        assert len(rows), path
    for path in without_partial(folder):
        table, _, digest = path.stem.split("-") if path.stem.count("-") == 2 else ("", "", "")
        if table in ("clips", "rejects"):
            assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest), path
        else:
            assert path.name in OWN_NAMES, path
    manifests = [path for path in [folder / MANIFEST, *without_partial(folder / "states")] if path.exists()]
    for path in manifests:
        read_all(folder, Manifest.from_json(path.read_text(encoding="utf-8"), str(path)))


def without_partial(folder: Path) -> Iterable[Path]:
    return (path for path in sorted(folder.glob("*")) if path.suffix != ".partial")
