"""Random histories of a source: after every run a feature set is what a cold run of the present source gives."""

import contextlib
import csv
import io
import itertools
import multiprocessing
import os
import shutil
import signal
import struct
import tempfile
import time
import wave
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features.errors import RETRYABLE, SoundmillError
from features.io.atomic import AtomicFile
from features.io.tfrecord import records
from features.maintenance.removal import prune
from features.sources.content_hash import content_hash
from features.sources.paths import escape_path
from features.store.inventory import names_of
from features.store.layout import FORMATS, MANIFEST
from features.store.manifest import Manifest, existing_manifest, load_manifest
from features.update import plan as plan_module
from features.update import shard_builder
from features.update.update import Update
from tests.features import examples
from tests.features.examples import TINY, featurized
from tests.signals import noise, to_int16

LONG_AGO_NS = 1_600_000_000 * 10**9
SECOND_NS = 10**9
RACY_NS = 2 * SECOND_NS
ROW_BYTES = TINY.row_bytes

CLASSES = ("no", "yes", "ünï")
# By the hash of the speaker: 0 is of validation, 2 of testing, the others are of training.
NAMES = [
    *(f"{speaker:08x}_nohash_0.wav" for speaker in (1, 3, 4, 5, 6, 8, 9)),
    *(f"{speaker:08x}_nohash_1.wav" for speaker in (1, 0, 3, 2, 4)),
    'a, "b"\r\n.wav',
    os.fsdecode(b"=\xff\\.WAV"),
]
PLACES = [f"{label}/{name}" for name in NAMES for label in CLASSES]


def wav(samples: int, seed: int | None) -> bytes:
    """The content of a WAV file, of zeros where there is no seed."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(to_int16(np.zeros(samples) if seed is None else noise(samples, seed=seed)).tobytes())
    return file.getvalue()


# Few, so that many files have one content, and most of one size; the last is cut off before its header says.
GOOD = [*(wav(80, seed) for seed in range(4)), wav(80, None), *(wav(90, seed) for seed in (0, 1)), wav(80, 5)[:-40]]
# The third is as large as most of the good ones.
BROKEN = [b"", b"no sound", b"x" * len(GOOD[0]), wav(0, None), GOOD[0][:20] + struct.pack("<H", 999) + GOOD[0][22:]]

# Where a run can be stopped: before a call of one of these.
POINTS: dict[str, tuple[Any, str, int]] = {
    "decode": (shard_builder, "_load", 3),
    "write": (AtomicFile, "write", 24),
    "fsync": (os, "fsync", 14),
    "replace": (os, "replace", 8),
    "unlink": (os, "unlink", 9),
    "run log": (examples, "append_run", 1),
}


STOPS = ("raised", "raised in a change", "killed")


class StoppedError(BaseException):
    """Stands for whatever ends a run: nothing may catch it."""


def stopped() -> None:
    raise StoppedError


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Dealing:
    """How the shards of a history are dealt out, small enough that a few files fill and merge some."""

    storage_format: str
    rows: int
    merged: int

    @contextlib.contextmanager
    def patched(self) -> Iterator[pytest.MonkeyPatch]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plan_module, "rows_per_shard", lambda _: self.rows)
            patch.setattr(plan_module, "MERGED_SHARDS", self.merged)
            # That the disk is asked is tested elsewhere, and a process that ends loses nothing without.
            patch.setattr(os, "fsync", lambda _: None)
            yield patch


def stop_at(patch: pytest.MonkeyPatch, point: str, number: int, stop: Callable[[], None]) -> None:
    """Lets `stop` be called before a call of a point, numbered from 0."""
    where, name, _ = POINTS[point]
    original, calls = getattr(where, name), itertools.count()

    def called(*arguments: Any, **named: Any) -> Any:
        if next(calls) == number:
            stop()
        return original(*arguments, **named)

    patch.setattr(where, name, called)


def killed_run(root: Path, folder: Path, layout: Dealing, verify: bool, point: str, number: int) -> None:
    """A featurize that kills its own process."""
    with layout.patched() as patch, contextlib.suppress(SoundmillError):
        stop_at(patch, point, number, killed)
        featurized(root, folder, storage_format=layout.storage_format, verify_content=verify)


@pytest.fixture(scope="module")
def processes() -> Any:
    """Starts processes that share no thread and no lock with this one."""
    context = multiprocessing.get_context("forkserver")
    # pyarrow loads pandas where it is there.
    context.set_forkserver_preload(["pytest", "pandas", __name__])
    return context


@dataclass
class SourceFolder:
    """A labelled folder that changes. Every content gets a time of its own, long past, unless it shall not."""

    root: Path
    moments: int = 0
    # When each content was seen last, by path, size and modification time.
    seen: dict[tuple[str, int, int], dict[bytes, int]] = field(default_factory=dict)

    def files(self) -> list[str]:
        paths = (path for path in self.root.glob("*/*") if path.is_file())
        return sorted(str(path.relative_to(self.root)) for path in paths)

    def write(self, place: str, content: bytes, mtime_ns: int | None = None) -> None:
        path = self.root / place
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        self.moments += 1
        mtime_ns = LONG_AGO_NS + self.moments * SECOND_NS if mtime_ns is None else mtime_ns
        os.utime(path, ns=(mtime_ns, mtime_ns))

    def move(self, place: str, to: str) -> None:
        (self.root / to).parent.mkdir(exist_ok=True)
        os.replace(self.root / place, self.root / to)

    def hides_a_change(self, committed: dict[str, "Row"]) -> bool:
        """Returns whether sizes and times do not show a change.

        So it is where the committed state has another content under a file's path, size and time, unless the time was
        within two seconds of a run that met it. Of a file that this state does not have, all runs count: one of them
        may have left a finished shard of it.
        """
        hidden = False
        for place in self.files():
            status, content = (self.root / place).stat(), (self.root / place).read_bytes()
            sightings = self.seen.get((place, status.st_size, status.st_mtime_ns), {})
            row = committed.get(escape_path(os.fsencode(place)))
            if row and not row.retryable and (row.size, row.mtime_ns) == (status.st_size, status.st_mtime_ns):
                sightings = {other: when for other, when in sightings.items() if content_hash(other) == row.content}
            hidden |= any(other != content and status.st_mtime_ns <= when - RACY_NS
                          for other, when in sightings.items())  # fmt: skip
        return hidden

    def remember(self) -> None:
        """Notes what a run that has ended may have met."""
        for place in self.files():
            path = self.root / place
            status = path.stat()
            sightings = self.seen.setdefault((place, status.st_size, status.st_mtime_ns), {})
            sightings[path.read_bytes()] = time.time_ns()


def edit(source: SourceFolder, folder: Path, kind: str, one: int, two: int) -> bool:
    """Changes the source or the set; returns whether there was anything to change."""
    files = source.files()
    place = files[one % len(files)] if files else ""
    path = source.root / place
    if kind in ("add", "add now"):
        now = time.time_ns() if kind == "add now" else None
        source.write(PLACES[one % len(PLACES)], GOOD[two % len(GOOD)], now)
    elif kind == "grow":
        for _ in range(1 + two % 3):
            source.write(
                f"{CLASSES[one % 3]}/{1:08x}_nohash_{100 + source.moments}.wav", GOOD[source.moments % len(GOOD)]
            )
    elif kind == "lists":
        return change_lists(source, one, two)
    elif kind == "stray":
        (source.root / "stray.wav").write_bytes(GOOD[0])
        (source.root / f"link{one % 2}.wav").unlink(missing_ok=True)
        if not (source.root / f"link{two % 2}.wav").is_symlink():
            (source.root / f"link{two % 2}.wav").symlink_to("nowhere")
    elif kind in SET_EDITS:
        return edit_set(folder, kind, one)
    elif not files:
        return False
    elif kind == "change":
        source.write(place, GOOD[two % len(GOOD)])
    elif kind == "change, same size":
        same = [content for content in GOOD if len(content) == path.stat().st_size and content != path.read_bytes()]
        if not same:
            return False
        source.write(place, same[two % len(same)])
    elif kind == "change, same time":
        source.write(place, [*GOOD, *BROKEN][two % len([*GOOD, *BROKEN])], path.stat().st_mtime_ns)
    elif kind == "touch":
        source.write(place, path.read_bytes())
    elif kind == "relabel":
        source.move(place, f"{CLASSES[two % len(CLASSES)]}/{path.name}")
    elif kind == "rename":
        source.move(place, f"{path.parent.name}/{NAMES[two % len(NAMES)]}")
    elif kind == "rename ending":
        source.move(place, f"{path.parent.name}/{path.stem}{('.wav', '.wave', '.WAV')[two % 3]}")
    elif kind == "rename class":
        label = (*CLASSES, "new")[two % (len(CLASSES) + 1)]
        for name in [name for name in files if name.startswith(f"{path.parent.name}/")]:
            source.move(name, f"{label}/{name.partition('/')[2]}")
    elif kind == "swap":
        other = files[two % len(files)]
        contents = (source.root / other).read_bytes(), path.read_bytes()
        if two % 2:  # by names: each content keeps its time
            source.move(place, "swapped")
            source.move(other, place) if other != place else None
            source.move("swapped", other)
        else:
            source.write(place, contents[0])
            source.write(other, contents[1])
    elif kind == "copy":
        to = source.root / PLACES[two % len(PLACES)]
        to.parent.mkdir(exist_ok=True)
        if to != path:
            shutil.copy2(path, to)
    elif kind == "remove":
        path.unlink()
    elif kind == "break":
        source.write(place, BROKEN[two % len(BROKEN)])
    elif kind == "mend":
        broken = [name for name in files if (source.root / name).read_bytes() in BROKEN]
        if not broken:
            return False
        source.write(broken[one % len(broken)], GOOD[two % len(GOOD)])
    return True


def change_lists(source: SourceFolder, one: int, two: int) -> bool:
    """Writes official lists of some clips, or takes them away."""
    for number, name in enumerate(("validation_list.txt", "testing_list.txt")):
        lines = [place for place in PLACES if "\n" not in place]
        listed = [place for place in lines if (sum(place.encode(errors="surrogateescape")) + one) % 7 == number]
        if (two + number) % 3:
            (source.root / name).write_bytes(b"".join(os.fsencode(place) + b"\n" for place in listed))
        else:
            (source.root / name).unlink(missing_ok=True)
    return True


def edit_set(folder: Path, kind: str, one: int) -> bool:
    """Loses a file of the set, or prunes it."""
    manifest = existing_manifest(folder)
    if manifest is None:
        return False
    shards = manifest.all_shards
    shard = shards[one % len(shards)]
    if kind == "prune":
        prune(folder, keep=one % 2)
        return True
    path = {
        "lose shard": manifest.layout(folder).shard(shard.name),
        "lose report": manifest.layout(folder).report(shard.name),
        "lose run log": folder / "runs.jsonl",
        "lose rejects": folder / manifest.rejects_file,
    }[kind]
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


SET_EDITS = ("lose shard", "lose report", "lose run log", "lose rejects", "prune")
EDITS = (
    "nothing", "add", "add now", "grow", "change", "change, same size", "change, same time", "touch", "relabel",
    "rename", "rename ending", "rename class", "swap", "copy", "remove", "break", "mend", "lists", "stray", *SET_EDITS,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What a set has of a clip, or of a file that is not one: the hash of its content, the bytes of its features."""

    path: str
    content: str
    size: int
    mtime_ns: int
    label: str = ""
    group: str = ""
    partition: str = ""
    others: tuple[Any, ...] = ()
    tensor: bytes = b""
    usable: bool = True
    retryable: bool = False
    shard: str = ""

    @property
    def placed(self) -> tuple[str, str, str]:
        return self.label, self.group, self.partition

    @property
    def trait(self) -> tuple[str, str]:
        """What makes two files have one row: the content, and the ending by which it may be decoded."""
        return self.content, os.path.splitext(self.path)[1].lower()

    @property
    def shown(self) -> tuple[Any, ...]:
        return self.path, self.content, self.size, self.mtime_ns, *self.placed, self.others


def shown(rows: dict[str, Row]) -> dict[str, tuple[Any, ...]]:
    return {path: row.shown for path, row in rows.items()}


def read_parquet(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:  # which is sooner done than pq.read_table
        return file.read()


def shard_rows(path: Path, storage_format: str) -> list[tuple[bytes, str, int, str, str]]:
    """Reads a shard as any reader of its format does: tensor, path, start, label and group of each row."""
    if storage_format == "parquet":
        table = read_parquet(path)
        return list(zip(*(table[name].to_pylist() for name in ("features", "path", "start", "label", "group")),
                        strict=True))  # fmt: skip
    return [
        (bytes(row["features"]), str(row["path"], "utf-8"), row["start"], str(row["label"], "utf-8"),
         str(row["group"], "utf-8"))
        for row in records(memoryview(path.read_bytes()))
    ]  # fmt: skip


def rows_of(folder: Path, manifest: Manifest) -> dict[str, Row]:
    """Reads a whole set, and checks that its tables, its shards and their places agree."""
    lines = read_parquet(folder / manifest.clips_file).to_pylist()
    rows = {}
    numbers = {shard.name: 0 for shard in manifest.all_shards}
    partitions = {shard.name: name for name, shards in manifest.partitions.items() for shard in shards}
    read = {}
    for shard in manifest.all_shards:
        path = manifest.layout(folder).shard(shard.name)
        content = path.read_bytes()
        assert (len(content), google_crc32c.value(content)) == (shard.bytes, shard.crc32c)
        read[shard.name] = content, shard_rows(path, manifest.storage_format)
        assert len(read[shard.name][1]) == shard.rows
    for line in lines:
        content, held = read[line["shard"]]
        assert line["row"] == numbers[line["shard"]], "the table is in the order of the shards' rows"
        numbers[line["shard"]] += 1
        tensor = content[line["offset"] : line["offset"] + ROW_BYTES]
        assert held[line["row"]] == (tensor, line["path"], line["start"], line["label"], line["group"])
        assert google_crc32c.value(tensor) == line["crc32c"]
        assert line["partition"] == partitions[line["shard"]]
        others = tuple(line[name] for name in ("start", "duration", "seconds", "warning"))
        row = Row(line["path"], line["content_hash"], line["size"], line["mtime_ns"], line["label"], line["group"],
                  line["partition"], others, tensor, shard=line["shard"])  # fmt: skip
        assert rows.setdefault(row.path, row) is row
    assert numbers == {shard.name: shard.rows for shard in manifest.all_shards}, "dead rows"
    return rows


def rejects_of(folder: Path, manifest: Manifest) -> list[dict[str, str]]:
    with open(folder / manifest.rejects_file, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_equal_sets(folder: Path, manifest: Manifest, cold: Path, other: Manifest) -> dict[str, Row]:
    """Compares a set with that of a cold run; returns what it knows."""
    rows, expected = rows_of(folder, manifest), rows_of(cold, other)
    assert shown(rows) == shown(expected)
    assert {path: row.tensor for path, row in rows.items()} == {path: row.tensor for path, row in expected.items()}
    assert rejects_of(folder, manifest) == rejects_of(cold, other)
    assert manifest.classes == other.classes
    assert list(manifest.partitions) == list(manifest.statistics) == list(other.partitions)
    assert {**manifest.counts, "seconds": 0} == {**other.counts, "seconds": 0}
    assert manifest.counts["seconds"] == pytest.approx(other.counts["seconds"], rel=1e-12)
    for name, sums in manifest.statistics.items():
        assert sums.count == other.statistics[name].count
        np.testing.assert_allclose(sums.total, other.statistics[name].total, rtol=1e-12)
        np.testing.assert_allclose(sums.squares, other.statistics[name].squares, rtol=1e-12)
    return known_to(folder, manifest)


def known_to(folder: Path, manifest: Manifest) -> dict[str, Row]:
    """Returns what a state knows: its clips, and the files that could not be decoded."""
    rows = rows_of(folder, manifest)
    for reject in rejects_of(folder, manifest):
        if reject["stage"] != "scan":
            path, size, mtime_ns = reject["path"], int(reject["size"]), int(reject["mtime_ns"])
            retryable = reject["reason"] in RETRYABLE
            rows[path] = Row(path, reject["content_hash"], size, mtime_ns, usable=False, retryable=retryable)
    return rows


@dataclass
class Expected:
    """What a run has to do, found out clip by clip from what the state knows and what a cold run finds.

    Where several lost rows have one content it is left open which of them is taken: hence the bounds.
    """

    kept: set[str] = field(default_factory=set)
    copied: set[str] = field(default_factory=set)
    computed: set[str] = field(default_factory=set)
    # A file that could not be decoded then is tried again, and it may be known as that of a lost row.
    tried: set[str] = field(default_factory=set)
    least_removed: int = 0
    most_removed: int = 0

    @classmethod
    def of(cls, before: dict[str, Row], now: dict[str, Row]) -> "Expected":
        result = cls(tried={path for path in now if path in before and before[path].retryable})
        same = {path for path, row in now.items() if path in before and before[path].content == row.content}
        same -= result.tried
        lost: dict[tuple[str, str], list[Row]] = {}
        for path, row in before.items():
            if path not in same and row.usable:
                lost.setdefault(row.trait, []).append(row)
        moved: Counter[tuple[str, str]] = Counter()
        for path, row in now.items():
            if path in same:
                if row.usable:  # else it is a reject that is known
                    (result.kept if before[path].placed == row.placed else result.copied).add(path)
            elif row.trait in lost:
                result.copied.add(path)
                moved[row.trait] += 1
            else:
                result.computed.add(path)
        for trait, rows in lost.items():
            gone = sum(row.path not in now for row in rows)
            result.least_removed += max(0, gone - moved[trait])
            result.most_removed += max(0, gone - max(0, moved[trait] - (len(rows) - gone)))
        return result


class History:
    """A source, its feature set, and what has become of both."""

    def __init__(self, base: Path, layout: Dealing, processes: Any) -> None:
        self.source = SourceFolder(base / "source")
        self.source.root.mkdir()
        self.folder, self.cold, self.layout, self.processes = base / "set", base / "cold", layout, processes
        self.before: dict[str, Row] = {}
        self.rejects: list[dict[str, str]] | None = []  # of the last whole run; None where their table was lost
        self.unfinished = False  # whether a run since the last whole one may have left finished shards
        self.spare = False  # whether one ever did: they may serve later ones
        self.met: Counter[str] = Counter()

    def leave_unfinished(self) -> None:
        """Notes that a run may have left finished shards."""
        self.unfinished = self.spare = True

    def edit(self, kind: str, one: int, two: int) -> None:
        done = edit(self.source, self.folder, kind, one, two)
        if done and kind == "lose rejects":
            self.rejects = None
            self.before = {path: replace(row, retryable=not row.usable) for path, row in self.before.items()}
        self.met[kind] += done

    def featurize(self, patch: pytest.MonkeyPatch, verify: bool) -> tuple[Update, Manifest] | SoundmillError:
        """Featurizes; what the state before may name stays as it is, however the run ends."""
        files = self.state_files()
        try:
            return featurized(self.source.root, self.folder, storage_format=self.layout.storage_format,
                              verify_content=verify)  # fmt: skip
        except SoundmillError as error:
            return error
        finally:
            self.source.remember()
            assert files.items() <= self.state_files().items(), "a reader of the state before may still need it"

    def cold_run(self) -> Manifest | SoundmillError:
        shutil.rmtree(self.cold, ignore_errors=True)
        with self.layout.patched():
            try:
                return featurized(self.source.root, self.cold, storage_format=self.layout.storage_format)[1]
            except SoundmillError as error:
                return error

    def run(self, verify: bool = False) -> None:
        """Featurizes and compares the set, and what was done for it, with cold runs."""
        verify = self.source.hides_a_change(self.before) or verify
        there = {path.stem for path in (self.folder / "shards").glob("*") if path.suffix != ".partial"}
        state, decoded = self.manifest_bytes(), []
        with self.layout.patched() as patch:
            load = shard_builder._load
            patch.setattr(shard_builder, "_load", lambda clip, *rest: decoded.append(clip.path) or load(clip, *rest))
            result = self.featurize(patch, verify)
        expected_result = self.cold_run()
        if isinstance(result, SoundmillError):
            assert (type(result), str(result)) == (type(expected_result), str(expected_result))
            self.met["refused"] += 1
            if decoded:
                self.leave_unfinished()
            return
        update, manifest = result
        now = assert_equal_sets(self.folder, manifest, self.cold, expected_result)
        # What stands in a shard that is gone is not known any more.
        known = {path: row for path, row in self.before.items() if not row.usable or row.shard in there}
        expected = Expected.of(known, now)
        figures = update.figures
        assert len(decoded) == len(set(decoded))
        assert set(decoded) <= expected.computed | expected.tried, "a known clip was decoded"
        # What was finished and has changed since is found out on the way.
        assert figures["computed"] <= len(decoded)
        if not self.spare:
            assert expected.computed <= set(decoded)
            assert figures["computed"] == len(decoded)
        assert len(expected.copied - expected.tried) <= figures["copied"] <= len(expected.copied)
        assert expected.least_removed <= figures["removed"] <= expected.most_removed
        assert sum(figures.values()) - figures["removed"] == len(
            expected.kept | expected.copied | expected.computed | expected.tried
        )
        if shown(now) == shown(known) and not self.spare:
            assert self.manifest_bytes() == state or self.rejects != rejects_of(self.folder, manifest)
        self.note(update, verify, state)
        self.before, self.rejects, self.unfinished = now, rejects_of(self.folder, manifest), False

    def changing_run(self, change: tuple[str, int, int]) -> None:
        """Featurizes while the source changes, after it was scanned: what is committed is whole, if not up to date."""
        verify = self.source.hides_a_change(self.before)
        with self.layout.patched() as patch:
            self.change_meanwhile(patch, change)
            result = self.featurize(patch, verify)
        self.leave_unfinished()
        if not isinstance(result, SoundmillError):
            self.before = known_to(self.folder, result[1])

    def stopped_run(self, how: str, point: str, number: int, change: tuple[str, int, int]) -> None:
        """Featurizes, is stopped, and looks whether the committed state is whole."""
        verify = self.source.hides_a_change(self.before)
        before, files = self.manifest_bytes(), self.state_files()
        fired = False
        if how == "killed":
            process = self.processes.Process(
                target=killed_run, args=(self.source.root, self.folder, self.layout, verify, point, number)
            )
            process.start()
            process.join(60)
            assert process.exitcode in (0, -signal.SIGKILL)
            fired = process.exitcode != 0
            self.source.remember()
        else:
            with self.layout.patched() as patch:
                if how == "raised in a change":
                    self.change_meanwhile(patch, change)
                stop_at(patch, point, number, stopped)
                try:
                    self.featurize(patch, verify)
                except StoppedError:
                    fired = True
        self.met[f"{how} at {point}"] += fired
        self.leave_unfinished()
        assert files.items() <= self.state_files().items()
        if self.manifest_bytes() != before:
            self.met["stopped after the commit"] += fired
            self.before = known_to(self.folder, load_manifest(self.folder))

    def change_meanwhile(self, patch: pytest.MonkeyPatch, change: tuple[str, int, int]) -> None:
        """Lets the source change between the scan and the first shard."""
        build_units = examples.build_units

        def build_later(update: Update) -> None:
            self.source.remember()
            if change[0] not in SET_EDITS:
                self.edit(*change)
            build_units(update)

        patch.setattr(examples, "build_units", build_later)

    def note(self, update: Update, verify: bool, state: bytes) -> None:
        """Counts what a run was a test of."""
        self.met.update({f"figure {name}": number for name, number in update.figures.items()})
        known = (update.changes.known[clips] for clips in update.plan.units.values())
        shards = (np.unique(update.changes.lines.shard[lines[lines >= 0]]) for lines in known)
        self.met["merged"] += any(len(merged) >= max(2, self.layout.merged - 1) for merged in shards)
        self.met["verified"] += verify
        self.met["resumed"] += self.unfinished and len(update.todo) < len(update.plan.units)
        self.met["racy"] += pc.max(update.changes.clips["mtime_ns"]).as_py() > time.time_ns() - RACY_NS
        self.met["nothing new"] += self.manifest_bytes() == state

    def manifest_bytes(self) -> bytes:
        path = self.folder / MANIFEST
        return path.read_bytes() if path.exists() else b""

    def state_files(self) -> dict[str, bytes]:
        """All that the committed state and earlier ones name, but what an edit has taken away."""
        states = [path.read_text(encoding="utf-8") for path in (self.folder / MANIFEST, *self.folder.glob("states/*"))
                  if path.suffix == ".json" and path.exists()]  # fmt: skip
        named = set().union(*(names_of(Manifest.from_json(text, "")) for text in states))
        # A report is not part of a state.
        paths = (self.folder / name for name in named if not name.startswith("reports/"))
        return {str(path): path.read_bytes() for path in paths if path.exists()}


NUMBERS = st.integers(0, 41)
EDIT = st.tuples(st.sampled_from(EDITS), NUMBERS, NUMBERS)
RUNS: dict[str, st.SearchStrategy[Any]] = {
    "run": st.just(()),
    "verify": st.just((True,)),
    "changing": st.tuples(EDIT),
    "stopped": st.sampled_from(list(POINTS)).flatmap(
        lambda point: st.tuples(st.sampled_from(STOPS), st.just(point), st.integers(0, POINTS[point][2] - 1), EDIT)
    ),
}
STEP = st.tuples(
    st.lists(EDIT, min_size=1, max_size=3),
    st.sampled_from(["run", "run", "run", "verify", "changing", "stopped", "stopped", "stopped"]).flatmap(
        lambda kind: st.tuples(st.just(kind), RUNS[kind])
    ),
)
LAYOUT = st.builds(
    lambda storage_format, dealt: Dealing(storage_format, *dealt),
    st.sampled_from(FORMATS), st.sampled_from([(1024, 8), (6, 8), (5, 3), (20, 2)]),
)  # fmt: skip
FIRST = [("add", 3 * number + number % 3, number) for number in range(8)]


# Additions, run by run, and now and then something else: small shards pile up and are merged.
GROWTH = st.tuples(
    st.lists(st.tuples(st.sampled_from(["grow"] * 6 + ["remove", "relabel", "change"]), NUMBERS, NUMBERS),
             min_size=1, max_size=1),
    st.just(("run", ())),
)  # fmt: skip
GROWN = st.builds(Dealing, st.sampled_from(FORMATS), st.sampled_from([40, 1024]), st.just(8))


def live_through(base: Path, processes: Any, layout: Dealing, steps: list[Any]) -> Counter[str]:
    """Lets a history happen; after the last step a whole run ends it."""
    with tempfile.TemporaryDirectory(dir=base) as place:
        history = History(Path(place), layout, processes)
        for first in FIRST:
            history.edit(*first)
        for edits, run in steps:
            for change in edits:
                history.edit(*change)
            kind, arguments = run
            act = {"changing": history.changing_run, "stopped": history.stopped_run}.get(kind, history.run)
            act(*arguments)
        if history.unfinished:
            history.run()
    return history.met


def check_histories(base: Path, processes: Any, layouts: Any, step: Any, steps: int, number: int) -> Counter[str]:
    """Lives through histories of so many steps; the same ones every time."""
    met: Counter[str] = Counter()

    @settings(max_examples=number, phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck))
    @given(layouts, st.lists(step, min_size=steps, max_size=steps))
    def check(layout: Dealing, history: list[Any]) -> None:
        met.update(live_through(base, processes, layout, history))

    check()
    print(dict(sorted(met.items())))
    return met


# What histories are a test of, and what many of them have to meet.
COUNTED = {"merged", "verified", "resumed", "racy", "stopped after the commit", "nothing new"}
COUNTED |= {f"figure {name}" for name in ("kept", "copied", "computed", "removed")}
WANTED = {*EDITS, *COUNTED, *(f"{how} at {point}" for how in STOPS for point in POINTS)}


def test_the_set_is_always_that_of_a_cold_run(tmp_path_factory, processes):
    met = check_histories(tmp_path_factory.mktemp("histories"), processes, LAYOUT, STEP, steps=6, number=15)
    assert met.keys() >= COUNTED  # these names are not out of date


@pytest.mark.endurance
def test_the_set_is_always_that_of_a_cold_run_in_many_histories(tmp_path_factory, processes):
    met = check_histories(tmp_path_factory.mktemp("histories"), processes, LAYOUT, STEP, steps=10, number=200)
    assert not WANTED - {kind for kind, times in met.items() if times}


def test_a_set_that_grows_a_little_is_always_that_of_a_cold_run(tmp_path_factory, processes):
    met = check_histories(tmp_path_factory.mktemp("histories"), processes, GROWN, GROWTH, steps=12, number=1)
    assert met["merged"] >= 1


@pytest.mark.endurance
def test_a_set_that_grows_is_always_that_of_a_cold_run(tmp_path_factory, processes):
    met = check_histories(tmp_path_factory.mktemp("histories"), processes, GROWN, GROWTH, steps=18, number=8)
    assert met["merged"] >= 8
