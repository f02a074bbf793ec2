"""What becomes of each clip when its source changes, one change at a time."""

import csv
import errno
import itertools
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import RETRYABLE, ClipError, Reason, RunError
from features.sources.partition import assign
from features.sources.rejects import COLUMNS
from features.sources.table import list_clips
from features.sources.table_layout import TableLayout
from features.store import unit_report
from features.store.clip_lines import Staying
from features.store.commit import commit
from features.store.contents import gather
from features.store.layout import FORMATS, Layout
from features.store.manifest import existing_manifest, load_manifest
from features.store.run_log import append_run
from features.store.versions import library_versions
from features.update import changes, plan, shard_builder
from features.update.update import prepare
from tests.conftest import clips_table, no_lines
from tests.features.examples import TINY, build_units, committed, featurized, found, prepared, provenance_of
from tests.features.test_cache_properties import assert_equal_sets, read_parquet, rows_of
from tests.signals import noise, write_wav

LONG_AGO_NS = 1_600_000_000 * 10**9
SECOND_NS = 10**9
# All of training by their hash.
SPEAKERS = (1, 3, 4, 5, 6)
TESTING, VALIDATION = 2, 0


def write(path: Path, seed: int, samples: int = 80, mtime_ns: int | None = None) -> Path:
    """Writes noise of a long past time, another one for each content."""
    write_wav(path, noise(samples, seed=seed))
    return old(path, LONG_AGO_NS + seed * SECOND_NS if mtime_ns is None else mtime_ns)


def old(path: Path, mtime_ns: int = LONG_AGO_NS) -> Path:
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


def clip(root: Path, label: str, speaker: int, ending: str = ".wav") -> Path:
    return root / label / f"{speaker:08x}_nohash_0{ending}"


@pytest.fixture
def words(tmp_path) -> Path:
    """Ten clips of two words, of one size and ten contents."""
    for number, label in enumerate(("no", "yes")):
        for speaker in SPEAKERS:
            write(clip(tmp_path / "words", label, speaker), seed=10 * number + speaker)
    return tmp_path / "words"


@pytest.fixture
def decoded(monkeypatch):
    """The paths of the clips that are decoded."""
    paths, load = [], shard_builder._load
    monkeypatch.setattr(shard_builder, "_load", lambda clip, *others: paths.append(clip.path) or load(clip, *others))
    return paths


@pytest.fixture
def hashed(monkeypatch):
    """The paths of the files that are hashed before anything is decoded."""
    paths, hash_files = [], changes.hash_files

    def watched(root, asked):
        paths.extend(asked)
        return hash_files(root, asked)

    monkeypatch.setattr(changes, "hash_files", watched)
    return paths


def is_that_of_a_cold_run(words: Path, folder: Path, storage_format: str = "tfrecord") -> None:
    cold = folder.with_name("cold")
    shutil.rmtree(cold, ignore_errors=True)
    _, expected = featurized(words, cold, storage_format=storage_format)
    assert_equal_sets(folder, load_manifest(folder), cold, expected)


def swap(one: Path, other: Path) -> None:
    os.rename(one, one.with_suffix(".swap"))
    os.rename(other, one)
    os.rename(one.with_suffix(".swap"), other)


def exchange_contents(one: Path, other: Path) -> None:
    """Swaps contents under times of their own."""
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)
    for number, path in enumerate((one, other)):
        old(path, LONG_AGO_NS + (500 + number) * SECOND_NS)


def break_off(path: Path) -> None:
    path.write_bytes(b"no sound")
    old(path, LONG_AGO_NS + 600 * SECOND_NS)


def copy_and_change(root: Path) -> None:
    shutil.copy2(clip(root, "no", 1), clip(root, "no", 30))
    write(clip(root, "no", 1), seed=99)


def move_and_change(root: Path) -> None:
    clip(root, "no", 1).rename(clip(root, "yes", 30))
    write(clip(root, "yes", 30), seed=99)


# What happens, and then of ten clips: computed, copied, kept, removed.
CHANGES = {
    "nothing": (lambda root: None, 0, 0, 10, 0),
    "added": (lambda root: write(clip(root, "no", 30), seed=30), 1, 0, 10, 0),
    "added to a new class": (lambda root: write(clip(root, "new", 1), seed=30), 1, 0, 10, 0),
    "added to an empty partition": (lambda root: write(clip(root, "no", TESTING), seed=30), 1, 0, 10, 0),
    "changed": (lambda root: write(clip(root, "no", 1), seed=30), 1, 0, 9, 0),
    "changed to another size": (lambda root: write(clip(root, "no", 1), seed=30, samples=90), 1, 0, 9, 0),
    "changed to another size under its time": (
        lambda root: write(clip(root, "no", 1), seed=30, samples=90, mtime_ns=LONG_AGO_NS + SECOND_NS), 1, 0, 9, 0
    ),
    "touched": (lambda root: old(clip(root, "no", 1)), 0, 0, 10, 0),
    "relabelled": (lambda root: clip(root, "no", 1).rename(clip(root, "yes", 30)), 0, 1, 9, 0),
    "renamed": (lambda root: clip(root, "no", 1).rename(clip(root, "no", 30)), 0, 1, 9, 0),
    "renamed and touched": (lambda root: old(clip(root, "no", 1).rename(clip(root, "no", 30))), 0, 1, 9, 0),
    "renamed into another partition": (
        lambda root: clip(root, "no", 1).rename(clip(root, "no", VALIDATION)), 0, 1, 9, 0
    ),
    "renamed in the ending's letters": (
        lambda root: clip(root, "no", 1).rename(clip(root, "no", 1, ".WAV")), 0, 1, 9, 0
    ),
    # A decoder may go by the ending.
    "renamed to another ending": (lambda root: clip(root, "no", 1).rename(clip(root, "no", 1, ".wave")), 1, 0, 9, 1),
    "a class renamed": (lambda root: (root / "no").rename(root / "nope"), 0, 5, 5, 0),
    "swapped with their times": (lambda root: swap(clip(root, "no", 1), clip(root, "yes", 3)), 0, 2, 8, 0),
    "swapped": (lambda root: exchange_contents(clip(root, "no", 1), clip(root, "yes", 3)), 0, 2, 8, 0),
    # Every new file would have to be hashed to spare a few that are there twice.
    "copied": (lambda root: shutil.copy2(clip(root, "no", 1), clip(root, "no", 30)), 1, 0, 10, 0),
    "copied, and the first changed": (copy_and_change, 1, 1, 9, 0),
    "moved and changed": (move_and_change, 1, 0, 9, 1),
    "removed": (lambda root: clip(root, "no", 1).unlink(), 0, 0, 9, 1),
    "a class removed": (lambda root: shutil.rmtree(root / "no"), 0, 0, 5, 5),
    "broken": (lambda root: break_off(clip(root, "no", 1)), 1, 0, 9, 0),
    "listed": (
        lambda root: (root / "testing_list.txt").write_text(
            "".join(f"{path.relative_to(root)}\n" for path in (clip(root, "no", 1), clip(root, "yes", 1)))
        ), 0, 2, 8, 0,
    ),
}  # fmt: skip


# Each in one of the formats: test_cache_properties.py has them all in both.
@pytest.mark.parametrize(("change", "storage_format"), zip(CHANGES, itertools.cycle(FORMATS), strict=False))
def test_one_change(words, tmp_path, decoded, hashed, change, storage_format):
    happen, *figures = CHANGES[change]
    featurized(words, tmp_path / "set", storage_format=storage_format)
    before = {str(path): path.read_bytes() for path in (tmp_path / "set" / "shards").iterdir()}
    for paths in (decoded, hashed):
        paths.clear()
    happen(words)
    update, second = featurized(words, tmp_path / "set", storage_format=storage_format)
    assert update.figures == dict(zip(("computed", "copied", "kept", "removed"), figures, strict=True))
    assert len(decoded) == len(set(decoded)) == figures[0]
    assert (second.state == 1) == (change == "nothing")
    assert before.items() <= {str(path): path.read_bytes() for path in (tmp_path / "set" / "shards").iterdir()}.items()
    is_that_of_a_cold_run(words, tmp_path / "set", storage_format)
    # And then there is nothing to do, and nothing to hash.
    for paths in (decoded, hashed):
        paths.clear()
    third, manifest = featurized(words, tmp_path / "set", storage_format=storage_format)
    assert (third.figures["kept"], third.todo, decoded, hashed) == (manifest.counts["clips"], [], [], [])
    assert manifest == second


def copies(root: Path) -> None:
    for number in range(3):
        write(root / "copies" / f"{number}.wav", seed=77)


def test_one_of_equal_files_that_goes_is_removed(words, tmp_path):
    copies(words)
    featurized(words, tmp_path / "set")
    (words / "copies" / "1.wav").unlink()
    update, _ = featurized(words, tmp_path / "set")
    assert update.figures == {"computed": 0, "copied": 0, "kept": 12, "removed": 1}
    is_that_of_a_cold_run(words, tmp_path / "set")


def test_of_equal_files_that_are_renamed_none_is_removed(words, tmp_path):
    copies(words)
    featurized(words, tmp_path / "set")
    (words / "copies").rename(words / "others")
    update, _ = featurized(words, tmp_path / "set")
    assert update.figures == {"computed": 0, "copied": 3, "kept": 10, "removed": 0}
    is_that_of_a_cold_run(words, tmp_path / "set")


def test_one_lost_row_serves_several_files(words, tmp_path, decoded):
    featurized(words, tmp_path / "set")
    decoded.clear()
    content = clip(words, "no", 1).rename(clip(words, "yes", 30))
    for speaker in (31, TESTING):
        shutil.copy2(content, clip(words, "yes", speaker))
    update, _ = featurized(words, tmp_path / "set")
    assert update.figures == {"computed": 0, "copied": 3, "kept": 9, "removed": 0}
    assert decoded == []
    is_that_of_a_cold_run(words, tmp_path / "set")


def test_a_touched_file_is_hashed_once(words, tmp_path, hashed):
    featurized(words, tmp_path / "set")
    path = old(clip(words, "no", 1), LONG_AGO_NS + 900 * SECOND_NS)
    for expected in ([str(path.relative_to(words))], []):
        hashed.clear()
        _, manifest = featurized(words, tmp_path / "set")
        assert hashed == expected
        assert manifest.state == 2
    times = dict(zip(*map(clips_table(tmp_path / "set", manifest).column, ("path", "mtime_ns")), strict=True))
    assert times[pa.scalar(str(path.relative_to(words)))].as_py() == LONG_AGO_NS + 900 * SECOND_NS


@pytest.mark.parametrize(
    ("seconds", "verify_content", "computed"),
    [(-1, False, True), (1, False, True), (1.9, False, True), (2, False, False), (2, True, True), (None, False, True)],
)
def test_a_time_within_two_seconds_of_the_last_scan_is_no_evidence(words, tmp_path, seconds, verify_content, computed):
    featurized(words, tmp_path / "set")
    path = clip(words, "no", 1)
    mtime_ns = path.stat().st_mtime_ns
    (tmp_path / "set" / "runs.jsonl").unlink()
    if seconds is not None:  # between the file's time and the scan of the state
        append_run(
            Layout(tmp_path / "set", "tfrecord"), {"state": 1, "scan_started_ns": mtime_ns + round(seconds * SECOND_NS)}
        )
    write(path, seed=99, mtime_ns=mtime_ns)
    update, _ = featurized(words, tmp_path / "set", verify_content=verify_content)
    assert update.figures["computed"] == computed
    if computed:
        is_that_of_a_cold_run(words, tmp_path / "set")


@pytest.mark.parametrize("mtime_ns", [-5 * 10**17, 2**63 - 1, 2**63, 13 * 10**18])
def test_clips_of_a_clock_that_is_wrong_are_computed_and_kept(words, tmp_path, mtime_ns):
    old(clip(words, "no", 1), mtime_ns)
    _, first = featurized(words, tmp_path / "set")
    assert first.counts["rejected"] == 0
    update, second = featurized(words, tmp_path / "set")
    assert update.figures == {"computed": 0, "copied": 0, "kept": first.counts["clips"], "removed": 0}
    assert second == first


def test_the_scan_that_counts_is_the_last_one_of_the_state(words, tmp_path, hashed):
    path = write(clip(words, "no", 1), seed=99, mtime_ns=time.time_ns())
    featurized(words, tmp_path / "set")
    assert hashed == ["no/00000001_nohash_0.wav"], "its shard's name holds its content"
    hashed.clear()
    featurized(words, tmp_path / "set")
    assert hashed == ["no/00000001_nohash_0.wav"]
    later_ns = path.stat().st_mtime_ns + 2 * SECOND_NS
    for state, expected in ((2, ["no/00000001_nohash_0.wav"]), (1, [])):
        hashed.clear()
        append_run(Layout(tmp_path / "set", "tfrecord"), {"state": state, "scan_started_ns": later_ns})
        prepared(words, tmp_path / "set")
        assert hashed == expected


def test_verify_content_and_a_lost_run_log_hash_every_file_once(words, tmp_path, hashed, decoded):
    _, first = featurized(words, tmp_path / "set")
    for lose, verify_content in ((False, True), (True, False)):
        if lose:
            (tmp_path / "set" / "runs.jsonl").unlink()
        hashed.clear()
        _, manifest = featurized(words, tmp_path / "set", verify_content=verify_content)
        assert (len(hashed), len(set(hashed)), manifest) == (10, 10, first)
    assert len(decoded) == 10


def test_the_same_files_elsewhere_are_known_by_their_contents(words, tmp_path, hashed, decoded):
    featurized(words, tmp_path / "set")
    shutil.copytree(words, tmp_path / "elsewhere")
    write(clip(tmp_path / "elsewhere", "no", 1), seed=99, mtime_ns=clip(words, "no", 1).stat().st_mtime_ns)
    decoded.clear()
    update, manifest = featurized(tmp_path / "elsewhere", tmp_path / "set")
    assert len(hashed) == 10
    assert decoded == ["no/00000001_nohash_0.wav"]
    assert update.figures == {"computed": 1, "copied": 0, "kept": 9, "removed": 0}
    assert manifest.source["root"] == str(tmp_path / "elsewhere")
    is_that_of_a_cold_run(tmp_path / "elsewhere", tmp_path / "set")


BROKEN = {"no/empty.wav": b"", "no/text.wav": b"no sound", "yes/cut.wav": b"RIFF\x24\0\0\0WAVEfmt "}


def write_broken(words: Path) -> None:
    for place, content in BROKEN.items():
        (words / place).write_bytes(content)
        old(words / place)


def test_known_rejects_are_tried_again_when_they_change(words, tmp_path, decoded, hashed):
    write_broken(words)
    _, first = featurized(words, tmp_path / "set")
    assert first.counts["rejected"] == 3
    for lists in (decoded, hashed):
        lists.clear()
    update, manifest = featurized(words, tmp_path / "set")
    assert (decoded, hashed, manifest) == ([], [], first)
    assert update.figures == {"computed": 0, "copied": 0, "kept": 10, "removed": 0}
    # Touched, it is hashed once; then its new time stands in the table.
    old(words / "no/text.wav", LONG_AGO_NS + 9 * SECOND_NS)
    for expected in (["no/text.wav"], []):
        hashed.clear()
        _, manifest = featurized(words, tmp_path / "set")
        assert (decoded, hashed, manifest.state) == ([], expected, 2)
    # Another name is another file.
    (words / "no/text.wav").rename(words / "yes/text.wav")
    _, manifest = featurized(words, tmp_path / "set")
    assert decoded == ["yes/text.wav"]
    is_that_of_a_cold_run(words, tmp_path / "set")
    decoded.clear()
    (words / "yes/text.wav").write_bytes(b"no sound either")
    write(words / "no/empty.wav", seed=30)
    (words / "yes/cut.wav").unlink()
    update, manifest = featurized(words, tmp_path / "set")
    assert sorted(decoded) == ["no/empty.wav", "yes/text.wav"]
    assert update.figures == {"computed": 2, "copied": 0, "kept": 10, "removed": 0}
    assert manifest.counts["rejects"] == {"not_audio": 1}
    is_that_of_a_cold_run(words, tmp_path / "set")


def refusing(monkeypatch, reason: Reason, *endings: str) -> None:
    """Lets the decoder refuse files."""
    load = shard_builder._load

    def refuse(clip, *others):
        if clip.path.endswith(endings):
            raise ClipError("decode", reason, "not now")
        return load(clip, *others)

    monkeypatch.setattr(shard_builder, "_load", refuse)


@pytest.mark.parametrize("reason", Reason)
def test_a_retryable_reject_is_tried_again(words, tmp_path, monkeypatch, reason):
    with monkeypatch.context() as patch:
        refusing(patch, reason, "no/00000001_nohash_0.wav")
        _, first = featurized(words, tmp_path / "set")
        assert first.counts["rejects"] == {reason: 1}
        # Tried again in vain, nothing is new.
        update, manifest = featurized(words, tmp_path / "set")
        assert update.figures["computed"] == (reason in RETRYABLE)
        assert manifest == first
    update, manifest = featurized(words, tmp_path / "set")
    assert update.figures == {"computed": int(reason in RETRYABLE), "copied": 0, "kept": 9, "removed": 0}
    if reason in RETRYABLE:
        assert manifest.counts["rejects"] == {}
        is_that_of_a_cold_run(words, tmp_path / "set")


def test_what_may_not_be_read_yet_is_not_tried(words, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        refusing(patch, Reason.PERMISSION, "no/00000001_nohash_0.wav")
        _, first = featurized(words, tmp_path / "set")
        patch.setattr(os, "access", lambda path, mode: not path.endswith("no/00000001_nohash_0.wav"))
        update, manifest = featurized(words, tmp_path / "set")
    assert update.figures["computed"] == 0
    assert manifest == first
    assert featurized(words, tmp_path / "set")[0].figures["computed"] == 1


@pytest.mark.parametrize(("library", "tried"), [("libsndfile", 1), ("soundfile", 1), ("numpy", 0)])
def test_another_decoder_may_read_another_codec(words, tmp_path, monkeypatch, library, tried):
    with monkeypatch.context() as patch:
        refusing(patch, Reason.UNSUPPORTED_CODEC, "no/00000001_nohash_0.wav")
        featurized(words, tmp_path / "set")
    monkeypatch.setattr(unit_report, "library_versions", lambda *_: {**library_versions(), library: "99.0"})
    assert featurized(words, tmp_path / "set")[0].figures["computed"] == tried


@pytest.mark.parametrize(("library", "rejected"), [("libsndfile", 0), ("soundfile", 0), ("numpy", 1)])
def test_another_decoder_goes_on_with_an_interrupted_run(words, tmp_path, monkeypatch, library, rejected):
    with monkeypatch.context() as patch:
        refusing(patch, Reason.UNSUPPORTED_CODEC, "no/00000001_nohash_0.wav")
        build_units(prepared(words, tmp_path / "set"))
    monkeypatch.setattr(unit_report, "library_versions", lambda *_: {**library_versions(), library: "99.0"})
    assert featurized(words, tmp_path / "set")[1].counts["rejected"] == rejected


def test_a_damaged_row_is_computed_when_its_shard_is_rewritten(words, tmp_path, decoded):
    _, manifest = featurized(words, tmp_path / "set")
    (shard,) = manifest.partitions["training"]
    path = Layout(tmp_path / "set", "tfrecord").shard(shard.name)
    row = rows_of(tmp_path / "set", manifest)["yes/00000003_nohash_0.wav"]
    content = bytearray(path.read_bytes())
    content[content.find(row.tensor) + 7] ^= 1
    path.write_bytes(content)
    decoded.clear()
    clip(words, "no", 1).unlink()
    featurized(words, tmp_path / "set")
    assert decoded == ["yes/00000003_nohash_0.wav"]
    is_that_of_a_cold_run(words, tmp_path / "set")


def test_without_the_table_of_clips_nothing_is_known(words, tmp_path):
    _, manifest = featurized(words, tmp_path / "set")
    for content in (None, b"no table"):
        (tmp_path / "set" / manifest.clips_file).unlink()
        if content is not None:
            (tmp_path / "set" / manifest.clips_file).write_bytes(content)
        message = (
            "cannot read the clips table .*{}" if content is None else "the clips table .*{} is not the one that was"
        )
        with pytest.raises(RunError, match=rf"{message.format(manifest.clips_file)}.*; featurize into a new folder"):
            prepared(words, tmp_path / "set")
        (tmp_path / "set" / manifest.clips_file).touch()


def test_without_the_table_of_rejects_they_are_tried_again(words, tmp_path, decoded, caplog):
    write_broken(words)
    _, first = featurized(words, tmp_path / "set")
    (tmp_path / "set" / first.rejects_file).unlink()
    decoded.clear()
    update, second = featurized(words, tmp_path / "set")
    assert first.rejects_file in caplog.text
    assert sorted(decoded) == sorted(BROKEN)
    assert update.figures == {"computed": 3, "copied": 0, "kept": 10, "removed": 0}
    assert second.state == 2
    is_that_of_a_cold_run(words, tmp_path / "set")


class Parts:
    """A table of parts of two recordings."""

    def __init__(self, base: Path) -> None:
        self.base, self.folder = base, base / "set"
        self.layout = Layout(self.folder, "tfrecord")
        self.parts = [("a.wav", second, 0.5, ("no", "yes")[second % 2]) for second in range(4)]
        self.parts += [("b.wav", second, 0.5, "no") for second in range(2)]
        for seed, name in enumerate(("a.wav", "b.wav")):
            write(base / "long" / name, seed=seed, samples=64_000)

    def run(self):
        lines = [f"{name},{start},{duration},{label},1" for name, start, duration, label in self.parts]
        table = self.base / "parts.csv"
        table.write_text("\n".join(["path,from,seconds,label,fold", *lines]))
        table_layout = TableLayout(root=str(self.base / "long"), start_column="from", duration_column="seconds")
        source = list_clips(str(table), table_layout, labelled=True)
        clips, _ = assign(source.clips, source.root, None, None)
        scan_started_ns = time.time_ns()
        base, provenance = existing_manifest(self.folder), provenance_of(source)
        found = prepare(self.layout, base, source, clips, TINY, provenance, scan_started_ns)
        build_units(found)
        manifest, _ = committed(found)
        append_run(self.layout, {"state": manifest.state, "scan_started_ns": scan_started_ns})
        return found, manifest


def features_of(folder: Path, manifest) -> dict[tuple[str, int], tuple]:
    """Tensor, label and seconds by path and start."""
    rows = {}
    for line in clips_table(folder, manifest).to_pylist():
        content = Layout(folder, "tfrecord").shard(line["shard"]).read_bytes()
        tensor = content[line["offset"] : line["offset"] + TINY.row_bytes]
        rows[line["path"], line["start"]] = tensor, line["label"], line["seconds"], line["duration"]
    return rows


def change_duration(parts: Parts) -> None:
    parts.parts[1] = ("a.wav", 1, 0.25, "yes")


def change_start(parts: Parts) -> None:
    parts.parts[1] = ("a.wav", 1.25, 0.5, "yes")


def rename_recording(parts: Parts) -> None:
    (parts.base / "long" / "a.wav").rename(parts.base / "long" / "c.wav")
    parts.parts = [("c.wav" if name == "a.wav" else name, *others) for name, *others in parts.parts]


def relabel_part(parts: Parts) -> None:
    parts.parts[0] = ("a.wav", 0, 0.5, "yes")


PART_CHANGES = {
    "nothing": (lambda parts: None, (0, 0, 6, 0), []),
    "a part more": (lambda parts: parts.parts.append(("b.wav", 2, 0.5, "no")), (1, 0, 6, 0), []),
    "a part less": (lambda parts: parts.parts.pop(), (0, 0, 5, 1), []),
    "another duration": (change_duration, (1, 0, 5, 0), ["a.wav"]),
    "another start": (change_start, (1, 0, 5, 1), ["a.wav"]),
    "another label": (relabel_part, (0, 1, 5, 0), []),
    "a recording touched": (lambda parts: old(parts.base / "long" / "a.wav"), (0, 0, 6, 0), ["a.wav"]),
    "a recording changed": (
        lambda parts: write(parts.base / "long" / "a.wav", seed=9, samples=64_000), (4, 0, 2, 0), ["a.wav"]
    ),
    "a recording renamed": (rename_recording, (0, 4, 2, 0), ["c.wav"]),
}  # fmt: skip


@pytest.mark.parametrize("change", PART_CHANGES)
def test_parts_of_recordings(tmp_path, hashed, decoded, change):
    happen, figures, expected = PART_CHANGES[change]
    parts = Parts(tmp_path)
    old(tmp_path / "long" / "a.wav", LONG_AGO_NS + 5 * SECOND_NS)
    parts.run()
    decoded.clear()
    happen(parts)
    found, manifest = parts.run()
    assert found.figures == dict(zip(("computed", "copied", "kept", "removed"), figures, strict=True))
    # A row more is not reason enough to hash a recording again for each of its parts.
    assert hashed == expected
    assert len(decoded) == figures[0]
    rows = features_of(parts.folder, manifest)
    shutil.rmtree(parts.folder)
    _, cold = parts.run()
    assert rows == features_of(parts.folder, cold)
    assert manifest.partitions.keys() == cold.partitions.keys() == {"fold-1"}


def to_version_1(folder: Path) -> None:
    """Turns a set into one of format version 1, whose table says where records begin, not where tensors do."""
    manifest = load_manifest(folder)
    clips = read_parquet(folder / manifest.clips_file).drop_columns(["crc32c", "decoder"])
    pq.write_table(clips, folder / manifest.clips_file)
    with open(folder / manifest.rejects_file, encoding="utf-8", newline="") as file:
        rejects = list(csv.DictReader(file))
    with open(folder / manifest.rejects_file, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rejects)
    content = json.loads(manifest.to_json())
    del content["counts"]["decoders"]
    (folder / "manifest.json").write_text(json.dumps({**content, "format_version": 1}))
    append_run(Layout(folder, "tfrecord"), {"state": manifest.state, "computed": 10})
    shutil.rmtree(folder / "reports")


@pytest.mark.parametrize("storage_format", FORMATS)
def test_a_set_of_format_version_1_is_brought_up_to_date_without_copies(words, tmp_path, decoded, storage_format):
    write_broken(words)
    write(clip(words, "no", TESTING), seed=50)
    write(clip(words, "yes", TESTING), seed=51)
    featurized(words, tmp_path / "set", storage_format=storage_format)
    to_version_1(tmp_path / "set")
    (tmp_path / "set" / "runs.jsonl").unlink()
    decoded.clear()
    update, second = featurized(words, tmp_path / "set", storage_format=storage_format)
    # Rows that are not moved stay where they are. That rejects are known is new, so they are tried once more.
    assert update.figures == {"computed": 3, "copied": 0, "kept": 12, "removed": 0}
    assert sorted(decoded) == sorted(BROKEN)
    assert second.state == 2
    assert json.loads((tmp_path / "set" / "states" / "manifest-000001.json").read_text())["format_version"] == 1
    decoded.clear()
    assert featurized(words, tmp_path / "set", storage_format=storage_format)[1] == second
    assert decoded == []
    # A shard that changes is computed, from its files.
    clip(words, "no", 1).rename(clip(words, "yes", 30))
    write(clip(words, "no", 3), seed=99)
    clip(words, "no", 4).unlink()
    featurized(words, tmp_path / "set", storage_format=storage_format)
    assert sorted(decoded) == sorted(
        str(path.relative_to(words)) for speaker in (*SPEAKERS, 30) for label in ("no", "yes")
        if (path := clip(words, label, speaker)).exists()
    )  # fmt: skip
    clips = clips_table(tmp_path / "set", load_manifest(tmp_path / "set"))
    known = clips["crc32c"].is_valid().to_pylist()
    assert known == clips["offset"].is_valid().to_pylist()
    assert known == [name == "training" for name in clips["partition"].to_pylist()]
    # As soon as each shard has changed, all is as if it had been computed now, and rows are copied again.
    clip(words, "no", TESTING).unlink()
    featurized(words, tmp_path / "set", storage_format=storage_format)
    is_that_of_a_cold_run(words, tmp_path / "set", storage_format)
    decoded.clear()
    clip(words, "yes", TESTING).rename(clip(words, "no", VALIDATION))
    featurized(words, tmp_path / "set", storage_format=storage_format)
    assert decoded == []
    is_that_of_a_cold_run(words, tmp_path / "set", storage_format)


def test_a_version_1_set_to_which_a_clip_is_added(words, tmp_path, decoded):
    featurized(words, tmp_path / "set")
    to_version_1(tmp_path / "set")
    decoded.clear()
    write(clip(words, "no", 30), seed=30)
    update, manifest = featurized(words, tmp_path / "set")
    assert update.figures == {"computed": 1, "copied": 0, "kept": 10, "removed": 0}
    assert decoded == ["no/0000001e_nohash_0.wav"]
    assert [shard.rows for shard in manifest.partitions["training"]] == [10, 1]
    cold, expected = tmp_path / "cold", featurized(words, tmp_path / "cold")[1]
    for name, sums in manifest.statistics.items():
        np.testing.assert_allclose(sums.total, expected.statistics[name].total, rtol=1e-12)
    left, right = (
        {(row["path"], row["content_hash"], row["size"], row["mtime_ns"]) for row in clips_table(*each).to_pylist()}
        for each in ((tmp_path / "set", manifest), (cold, expected))
    )
    assert left == right


@pytest.mark.parametrize("storage_format", FORMATS)
def test_small_additions_are_merged_by_copying(words, tmp_path, decoded, monkeypatch, storage_format):
    monkeypatch.setattr(plan, "rows_per_shard", lambda spec: 40)
    shards = []
    for number in range(20):
        write(words / "no" / f"{1:08x}_nohash_{number + 1}.wav", seed=200 + number)
        decoded.clear()
        update, manifest = featurized(words, tmp_path / "set", storage_format=storage_format)
        assert len(decoded) == update.figures["computed"] == (1 if number else 11)
        shards.append([shard.rows for shard in manifest.partitions["training"]])
    # 11 rows are of a higher tier than one row; eight of one make one of eight, which is of that tier too.
    assert shards[:9] == [[11, *[1] * number] for number in range(8)] + [[11, 8]]
    assert shards[-1] == [11, 8, 8, 1, 1, 1]
    is_that_of_a_cold_run(words, tmp_path / "set", storage_format)


def test_after_small_shards_and_a_rest_have_piled_up_there_is_nothing_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "rows_per_shard", lambda spec: 6)
    for number in range(7 + 7):
        write(tmp_path / "words" / "no" / f"{1:08x}_nohash_{number}.wav", seed=number)
        if number < 7 or number == 13:
            _, manifest = featurized(tmp_path / "words", tmp_path / "set")
    update, again = featurized(tmp_path / "words", tmp_path / "set")
    assert update.todo == []
    assert again == manifest


def test_changes_follow_from_the_files_and_not_from_the_order_of_the_table(words, tmp_path):
    copies(words)
    featurized(words, tmp_path / "set")
    (words / "copies").rename(words / "others")
    clip(words, "no", 1).rename(clip(words, "yes", 30))
    source, clips = found(words)
    base = load_manifest(tmp_path / "set")
    layout = base.layout(tmp_path / "set")
    orders = (np.arange(len(clips)), np.arange(len(clips))[::-1], np.random.default_rng(0).permutation(len(clips)))
    updates = [
        prepare(layout, base, source, clips.take(pa.array(order)), TINY, provenance_of(source), 10**18)
        for order in orders
    ]
    assert len({tuple(update.plan.units) for update in updates}) == 1
    assert len({tuple(update.figures.items()) for update in updates}) == 1


# What a run that was stopped has left.


def test_contents_are_verified_of_what_an_interrupted_run_has_finished(words, tmp_path):
    build_units(prepared(words, tmp_path / "set"))  # and no commit
    path = clip(words, "no", 1)
    write(path, seed=99, mtime_ns=path.stat().st_mtime_ns)
    featurized(words, tmp_path / "set", verify_content=True)
    is_that_of_a_cold_run(words, tmp_path / "set")


def test_another_file_under_an_old_path_and_time(words, tmp_path):
    """As archives unpack them that give every file one time."""
    featurized(words, tmp_path / "set")
    for seed in (50, 51):
        write(words / "no" / "new.wav", seed, mtime_ns=LONG_AGO_NS)
        featurized(words, tmp_path / "set")
        is_that_of_a_cold_run(words, tmp_path / "set")
        (words / "no" / "new.wav").unlink()
        featurized(words, tmp_path / "set")


@pytest.mark.parametrize("endings", [("no/00000001_nohash_0.wav",), (".wav",)], ids=["one", "all"])
def test_what_has_become_readable_since_an_interrupted_run_is_tried_again(words, tmp_path, monkeypatch, endings):
    with monkeypatch.context() as patch:
        refusing(patch, Reason.PERMISSION, *endings)
        build_units(prepared(words, tmp_path / "set"))
        if len(endings[0]) < 5:
            with pytest.raises(RunError, match="every clip was rejected"):
                featurized(words, tmp_path / "set")
    featurized(words, tmp_path / "set")
    is_that_of_a_cold_run(words, tmp_path / "set")


def test_a_lost_shard_is_computed_and_the_figures_say_so(words, tmp_path, decoded):
    write(clip(words, "no", TESTING), seed=50)
    _, manifest = featurized(words, tmp_path / "set")
    decoded.clear()
    Layout(tmp_path / "set", "tfrecord").shard(manifest.partitions["training"][0].name).unlink()
    update, _ = featurized(words, tmp_path / "set")
    assert len(decoded) == 10
    assert update.figures == {"computed": 10, "copied": 0, "kept": 1, "removed": 0}


def test_a_reject_whose_name_holds_a_line_end_is_no_change(words, tmp_path):
    (words / "no" / "a\r\nb.wav").write_bytes(b"no sound")
    old(words / "no" / "a\r\nb.wav")
    _, first = featurized(words, tmp_path / "set")
    assert featurized(words, tmp_path / "set")[1] == first


def test_a_fold_that_has_no_clips_any_more_is_gone(words, tmp_path):
    source, clips = found(words)
    layout = Layout(tmp_path / "set", "tfrecord")
    for folds in (2, 1):
        names = pa.array([f"fold-{number % folds + 1}" for number in range(len(clips))])
        clips = clips.set_column(clips.column_names.index("partition"), "partition", names)
        base = existing_manifest(tmp_path / "set")
        update = prepare(layout, base, source, clips, TINY, provenance_of(source), 10**18)
        build_units(update)
        manifest, _ = committed(update)
        assert list(manifest.partitions) == [f"fold-{number + 1}" for number in range(folds)]


def test_the_second_of_two_runs_loses_no_finished_shard(words, tmp_path, decoded):
    scan_started_ns = time.time_ns()
    first = prepared(words, tmp_path / "set")
    for seed in range(50, 55):
        write(words / "no" / f"{seed}.wav", seed)
    second = prepared(words, tmp_path / "set")
    build_units(second)
    build_units(first)
    committed(first)
    append_run(Layout(tmp_path / "set", "tfrecord"), {"state": 1, "scan_started_ns": scan_started_ns})
    with pytest.raises(RunError, match="finished shards are kept"):
        committed(second)
    decoded.clear()
    update, _ = featurized(words, tmp_path / "set")
    assert decoded == []
    assert update.figures == {"computed": 0, "copied": 0, "kept": 15, "removed": 0}
    is_that_of_a_cold_run(words, tmp_path / "set")


@pytest.mark.parametrize("content", [b"", b"no sound"], ids=["empty", "text"])
@pytest.mark.parametrize("mtime_ns", [None, LONG_AGO_NS + SECOND_NS], ids=["now", "as it was"])
def test_a_file_that_was_being_written_during_a_run_is_tried_again(words, tmp_path, content, mtime_ns):
    path = clip(words, "no", 1)
    as_listed = path.read_bytes()
    update = prepared(words, tmp_path / "set", scan_started_ns=0)  # which hashes all
    path.write_bytes(content)
    if mtime_ns is not None:
        old(path, mtime_ns)
    build_units(update)
    manifest, _ = committed(update)
    append_run(Layout(tmp_path / "set", "tfrecord"), {"state": 1, "scan_started_ns": time.time_ns()})
    assert manifest.counts["rejected"] == 1
    path.write_bytes(as_listed)
    old(path, LONG_AGO_NS + SECOND_NS)
    featurized(words, tmp_path / "set")
    is_that_of_a_cold_run(words, tmp_path / "set")


@pytest.mark.parametrize("late", [False, True], ids=["planned at once", "planned when the first had built"])
@pytest.mark.parametrize("first", ["commits first", "commits second"])
def test_what_becomes_readable_while_two_run_leaves_the_state_whole(words, tmp_path, monkeypatch, late, first):
    folder = tmp_path / "set"
    one = prepared(words, folder)
    other = None if late else prepared(words, folder)
    with monkeypatch.context() as patch:
        refusing(patch, Reason.PERMISSION, "no/00000001_nohash_0.wav")
        build_units(one)
    other = other or prepared(words, folder)
    if first == "commits first":
        manifest, _ = committed(one)
        rows = rows_of(folder, manifest)
        build_units(other)
        assert rows_of(folder, load_manifest(folder)) == rows
        with pytest.raises(RunError, match="another featurize committed"):
            committed(other)
    else:
        contents = gather(one.layout, one.plan.partitions, Staying({}, no_lines), [], TINY)
        build_units(other)
        with pytest.raises(RunError, match=r"another featurize has built the shard .* anew; run featurize again"):
            commit(one.layout, contents, None, TINY, one.provenance)
        committed(other)
    featurized(words, folder)
    is_that_of_a_cold_run(words, folder)


def test_an_interrupted_run_over_another_folder_is_not_taken_for_one_over_this(words, tmp_path, decoded):
    """Both hold files of the same names, sizes and times, as two unpacked archives may."""
    other = shutil.copytree(words, tmp_path / "other")
    for path in other.rglob("*.wav"):
        write(path, seed=100 + path.stat().st_mtime_ns // SECOND_NS % 1000, mtime_ns=path.stat().st_mtime_ns)
    build_units(prepared(other, tmp_path / "set"))  # and no commit
    decoded.clear()
    featurized(words, tmp_path / "set")
    assert len(decoded) == 10
    is_that_of_a_cold_run(words, tmp_path / "set")


def test_what_an_interrupted_run_finished_over_a_folder_that_moved_is_not_computed_again(words, tmp_path, decoded):
    build_units(prepared(words, tmp_path / "set"))  # and no commit
    decoded.clear()
    moved = words.rename(tmp_path / "moved")
    update, _ = featurized(moved, tmp_path / "set")
    assert decoded == []
    assert update.figures == {"computed": 0, "copied": 0, "kept": 10, "removed": 0}
    is_that_of_a_cold_run(moved, tmp_path / "set")


def test_the_second_of_two_runs_that_is_killed_loses_no_finished_shard(words, tmp_path, decoded):
    for state in range(3):
        first = prepared(words, tmp_path / "set")
        for seed in range(50 + 5 * state, 55 + 5 * state):
            write(words / "no" / f"{seed}.wav", seed)
        build_units(prepared(words, tmp_path / "set"))  # and no commit, nor an error
        build_units(first)
        committed(first)
        decoded.clear()
        assert prepared(words, tmp_path / "set").figures["computed"] == 0
        featurized(words, tmp_path / "set")
        assert decoded == []
    is_that_of_a_cold_run(words, tmp_path / "set")


def test_an_error_that_passed_makes_no_permanent_reject(words, tmp_path, monkeypatch):
    whole = os.open

    def stale(path, *others, **options):
        if str(path).endswith("no/00000001_nohash_0.wav"):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)
        return whole(path, *others, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", stale)
        assert featurized(words, tmp_path / "set")[1].counts["rejects"] == {"unreadable": 1}
    assert featurized(words, tmp_path / "set")[1].counts["rejects"] == {}
    is_that_of_a_cold_run(words, tmp_path / "set")


def test_a_damaged_table_of_clips_is_never_committed_anew(words, tmp_path):
    folder = tmp_path / "set"
    _, manifest = featurized(words, folder)
    whole = (folder / manifest.clips_file).read_bytes()
    for bit in np.random.default_rng(0).integers(0, 8 * len(whole), 200).tolist():
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        (folder / manifest.clips_file).write_bytes(content)
        with pytest.raises(RunError, match=manifest.clips_file):
            prepared(words, folder)


def test_a_damaged_table_of_rejects_is_a_warning(words, tmp_path, caplog):
    (words / "no" / "x, y.wav").write_bytes(b"")
    _, manifest = featurized(words, tmp_path / "set")
    path = tmp_path / "set" / manifest.rejects_file
    path.write_bytes(path.read_bytes().replace(b'y.wav"', b"y.wav'"))
    featurized(words, tmp_path / "set")
    assert f"cannot read the table of rejects {path}" in caplog.text
    is_that_of_a_cold_run(words, tmp_path / "set")


def test_a_damaged_report_is_named(words, tmp_path):
    update = prepared(words, tmp_path / "set")
    build_units(update)
    path = Layout(tmp_path / "set", "tfrecord").report(update.todo[0])
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(RunError, match=f"cannot read the report {path}: .*; remove it and run featurize again"):
        featurized(words, tmp_path / "set")
    path.unlink()
    featurized(words, tmp_path / "set")
    is_that_of_a_cold_run(words, tmp_path / "set")
