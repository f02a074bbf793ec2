import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version

import google_crc32c
import numpy as np
import pytest
import soundfile

from features.audio import recording
from features.frontend.clip import clip_waveform, decode_clip
from features.frontend.spectrogram import compute_features
from features.sources.content_hash import content_hash
from features.sources.paths import clip_file
from features.store.layout import FORMATS, Layout
from features.store.shards import read_shard
from features.store.statistics import Statistics
from features.store.unit_report import is_finished, read_report
from features.store.versions import library_versions
from features.update import coded_clips, shard_builder
from features.update.shard_builder import build_shard
from features.update.work_list import CachedRow
from tests.features.examples import MFCC, SPECS, STFT, TINY, changed, new_set, planned
from tests.features.not_files import NOT_FILES, within_seconds
from tests.signals import film, noise, sine, write_wav

RATE_HZ = 16_000


def make_clips(root, number, samples=100):
    for row in range(number):
        write_wav(root / "yes" / f"{row:03d}.wav", noise(samples + row, seed=row))


def make_rejects(root):
    """Files that cannot be used, by the reason for it; the last three are made after planning."""
    folder = root / "yes"
    (folder / "empty.wav").write_bytes(b"")
    (folder / "picture.wav").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100))
    (folder / "cut.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    (folder / "video.m4a").write_bytes(film())
    soundfile.write(folder / "nan.wav", np.array([0.0, np.nan, 0.5]), RATE_HZ, subtype="FLOAT")
    write_wav(folder / "none.wav", noise(0))
    write_wav(folder / "fast.wav", noise(1), rate_hz=192_000)
    for name in ("gone.wav", "grown.wav", "touched.wav"):
        write_wav(folder / name, noise(50))


def spoil(root):
    (root / "yes" / "gone.wav").unlink()
    write_wav(root / "yes" / "grown.wav", noise(60))
    os.utime(root / "yes" / "touched.wav", ns=(1, 1))


REASONS = {
    "empty.wav": ("decode", "empty"),
    "picture.wav": ("decode", "not_audio"),
    "cut.wav": ("decode", "damaged"),
    "video.m4a": ("decode", "unsupported_codec"),
    "nan.wav": ("decode", "not_finite"),
    "none.wav": ("decode", "empty"),
    "fast.wav": ("fit", "too_short"),
    "gone.wav": ("decode", "missing"),
    "grown.wav": ("decode", "vanished"),
    "touched.wav": ("decode", "vanished"),
}


def all_in_one(root, scratch, spec=TINY, storage_format="tfrecord"):
    """The clips of all partitions as one unit."""
    units = planned(root, scratch / "planned", spec, storage_format)
    return replace(units[0], clips=tuple(clip for unit in units for clip in unit.clips))


def run(unit, folder, root, spec=TINY, storage_format="tfrecord"):
    """Builds a unit; returns its report and, where there is one, the content of its shard."""
    layout = Layout(folder, storage_format)
    assert build_shard(unit, layout, str(root), spec)
    report = read_report(layout, unit.name)
    assert layout.shard(unit.name).exists() == (report.shard is not None)
    return report, report.shard and read_shard(layout, report.shard, spec)


@pytest.mark.parametrize("storage_format", FORMATS)
def test_rejects_stand_in_the_report_with_their_reasons(tmp_path, storage_format):
    root = tmp_path / "words"
    make_clips(root, 5)
    make_rejects(root)
    unit = all_in_one(root, tmp_path, storage_format=storage_format)
    spoil(root)
    report, shard = run(unit, new_set(tmp_path / "set"), root, storage_format=storage_format)
    rows = report.rows.to_pylist()
    assert [row["path"] for row in rows] == [clip.path for clip in unit.clips]
    rejects = {row["path"][4:]: (row["stage"], row["reason"]) for row in rows if row["row"] is None}
    assert rejects == REASONS
    assert all(row["message"] for row in rows if row["row"] is None)
    kept = [row for row in rows if row["row"] is not None]
    assert [row["row"] for row in kept] == [0, 1, 2, 3, 4]
    assert shard.paths == [row["path"] for row in kept]
    assert all(row["stage"] is row["reason"] is row["message"] is None for row in kept)
    assert report.shard.rows == 5
    assert report.statistics.count == 5 * TINY.shape[0]


@pytest.mark.parametrize("storage_format", FORMATS)
@pytest.mark.parametrize("storage_dtype", ["float32", "float16"])
@pytest.mark.filterwarnings("error")
def test_no_feature_that_is_not_finite_reaches_a_shard(tmp_path, storage_format, storage_dtype):
    """Finite samples may be so large that a sum of them is not, or that float16 does not hold it."""
    spec = replace(STFT, clip_seconds=0.02, storage_dtype=storage_dtype)
    root = tmp_path / "words"
    make_clips(root, 150)
    loud = dict.fromkeys(("000", "063", "064", "149"), 3e38)
    loud |= {"100": 1e5} if storage_dtype == "float16" else {}
    for name, level in loud.items():
        samples = (level * (1 - 2 * (np.arange(320) % 2))).astype(np.float32)
        soundfile.write(root / "yes" / f"{name}.wav", samples, RATE_HZ, subtype="FLOAT")
    soundfile.write(root / "yes" / "101.wav", 1e3 * noise(320), RATE_HZ, subtype="FLOAT")
    unit = all_in_one(root, tmp_path, spec, storage_format)
    report, shard = run(unit, new_set(tmp_path / "set"), root, spec, storage_format)
    assert np.isfinite(shard.features).all()
    rows = report.rows.to_pylist()
    rejects = {row["path"][4:7]: (row["stage"], row["reason"]) for row in rows if row["row"] is None}
    assert set(rejects.values()) == {("features", "not_finite")}
    assert rejects.keys() == loud.keys()
    assert all(row["content_hash"] and row["message"] for row in rows if row["row"] is None)
    for path in loud:
        (root / "yes" / f"{path}.wav").unlink()
    (tmp_path / "alone").mkdir()
    alone = all_in_one(root, tmp_path / "alone", spec, storage_format)
    _, good = run(alone, new_set(tmp_path / "other"), root, spec, storage_format)
    assert shard.paths == good.paths
    assert shard.features.tobytes() == good.features.tobytes()
    assert report.statistics == Statistics.of(good.features)


def test_a_unit_all_of_whose_features_are_not_finite_has_no_shard(tmp_path):
    root = tmp_path / "words"
    for name in ("a", "b"):
        (root / "yes").mkdir(parents=True, exist_ok=True)
        soundfile.write(root / "yes" / f"{name}.wav", np.full(320, 3e38), RATE_HZ, subtype="FLOAT")
    report, shard = run(all_in_one(root, tmp_path), new_set(tmp_path / "set"), root)
    assert (shard, report.shard, report.statistics.count) == (None, None, 0)
    assert report.rows["reason"].to_pylist() == ["not_finite"] * 2


def test_the_report_says_of_each_clip_what_it_is(tmp_path):
    root = tmp_path / "words"
    make_clips(root, 3)
    write_wav(root / "yes" / "silent.wav", np.zeros(320, np.float32))
    write_wav(root / "yes" / "stereo.wav", noise(1_000).reshape(500, 2), rate_hz=8_000)
    cut = write_wav(root / "yes" / "cut.wav", noise(1_000))
    cut.write_bytes(cut.read_bytes()[:-1_000])
    unit = all_in_one(root, tmp_path)
    report, _ = run(unit, new_set(tmp_path / "set"), root)
    rows = {row["path"][4:]: row for row in report.rows.to_pylist()}
    assert {name: row["warning"] for name, row in rows.items() if row["warning"]} == {
        "silent.wav": "silent",
        "cut.wav": "truncated",
    }
    assert {name: row["seconds"] for name, row in rows.items()} == {
        "000.wav": 100 / RATE_HZ,
        "001.wav": 101 / RATE_HZ,
        "002.wav": 102 / RATE_HZ,
        "silent.wav": 320 / RATE_HZ,
        "stereo.wav": 500 / 8_000,
        "cut.wav": 500 / RATE_HZ,
    }
    for name, row in rows.items():
        assert row["content_hash"] == content_hash((root / "yes" / name).read_bytes())
    for clip in unit.clips:
        row = rows[clip.path[4:]]
        assert all(row[name] == value for name, value in vars(clip).items() if name != "content_hash")


@pytest.mark.parametrize("storage_format", FORMATS)
def test_the_report_says_where_each_tensor_lies(tmp_path, storage_format):
    make_clips(tmp_path / "words", 9)
    make_rejects(tmp_path / "words")
    unit = all_in_one(tmp_path / "words", tmp_path, storage_format=storage_format)
    report, shard = run(unit, new_set(tmp_path / "set"), tmp_path / "words", storage_format=storage_format)
    content = Layout(tmp_path / "set", storage_format).shard(unit.name).read_bytes()
    for row in report.rows.to_pylist():
        assert (row["offset"] is None) == (row["crc32c"] is None) == (row["row"] is None)
        if row["row"] is not None:
            tensor = content[row["offset"] : row["offset"] + TINY.row_bytes]
            assert tensor == shard.features[row["row"]].tobytes()
            assert row["crc32c"] == google_crc32c.value(tensor)


def cached_rows(unit, report, proven=True):
    """The same unit under another name, whose rows are all to be copied."""
    lines = {row["path"]: row for row in report.rows.to_pylist()}
    names = ("offset", "crc32c", "content_hash", "seconds", "warning", "decoder")
    cached = {
        number: CachedRow(shard=unit.name, proven=proven, **{name: lines[clip.path][name] for name in names})
        for number, clip in enumerate(unit.clips)
    }
    return replace(unit, name=f"{unit.name[:-3]}abc", cached=cached)


@pytest.mark.parametrize("storage_format", FORMATS)
@pytest.mark.parametrize("copied", ["all", "some"])
def test_a_copied_shard_has_the_bytes_of_a_computed_one(tmp_path, storage_format, copied):
    make_clips(tmp_path / "words", 150)
    unit = all_in_one(tmp_path / "words", tmp_path, storage_format=storage_format)
    folder = new_set(tmp_path / "set")
    report, _ = run(unit, folder, tmp_path / "words", storage_format=storage_format)
    copy = cached_rows(unit, report)
    if copied == "some":  # rows are computed in batches, and those that are copied stand between them
        copy = replace(copy, cached={number: row for number, row in copy.cached.items() if number % 3})
    else:
        shutil.rmtree(tmp_path / "words")
    again, _ = run(copy, folder, tmp_path / "words", storage_format=storage_format)
    assert again.rows.equals(report.rows)
    assert again.statistics == report.statistics
    paths = [Layout(folder, storage_format).shard(name) for name in (unit.name, copy.name)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("damage", ["a byte", "cut", "gone"])
def test_a_row_that_is_not_there_as_it_was_written_is_computed(tmp_path, damage):
    make_clips(tmp_path / "words", 20)
    unit = all_in_one(tmp_path / "words", tmp_path)
    folder = new_set(tmp_path / "set")
    report, before = run(unit, folder, tmp_path / "words")
    path = Layout(folder, "tfrecord").shard(unit.name)
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[report.rows["offset"][7].as_py() + 3] ^= 64
        path.write_bytes(content)
    again, after = run(cached_rows(unit, report), folder, tmp_path / "words")
    assert np.array_equal(after.features, before.features)
    assert again.rows.equals(report.rows)


def test_a_row_is_taken_unproven_only_for_the_same_content(tmp_path):
    make_clips(tmp_path / "words", 3)
    unit = all_in_one(tmp_path / "words", tmp_path)
    folder = new_set(tmp_path / "set")
    report, before = run(unit, folder, tmp_path / "words")
    path = tmp_path / "words" / unit.clips[1].path
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[50] ^= 64
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "words" / unit.clips[2].path).unlink()
    copy = cached_rows(unit, report, proven=False)
    copy = replace(copy, clips=tuple(replace(clip, content_hash=None) for clip in copy.clips))
    again, after = run(copy, folder, tmp_path / "words")
    assert again.rows["reason"].to_pylist() == [None, None, "missing"]
    assert np.array_equal(after.features[0], before.features[0])
    assert not np.array_equal(after.features[1], before.features[1])


@pytest.mark.parametrize("storage_dtype", ["float32", "float16"])
@pytest.mark.parametrize("clips", [1, 63, 64, 65, 129])
def test_rows_are_the_features_of_their_clips_to_the_bit(tmp_path, clips, storage_dtype):
    spec = changed(TINY, storage_dtype=storage_dtype)
    make_clips(tmp_path / "words", clips)
    if clips > 60:  # rejects between the batches
        make_rejects(tmp_path / "words")
    unit = all_in_one(tmp_path / "words", tmp_path, spec)
    report, shard = run(unit, new_set(tmp_path / "set"), tmp_path / "words", spec)
    assert len(shard.paths) >= clips
    for path, features in zip(shard.paths, shard.features, strict=True):
        waveform = clip_waveform(clip_file(str(tmp_path / "words"), path), spec)[0]
        assert np.array_equal(compute_features(waveform[None], spec)[0], features)
    flat = shard.features.astype(np.float64).reshape(-1, spec.shape[1])
    assert report.statistics.count == len(flat)
    np.testing.assert_allclose(report.statistics.total, flat.sum(axis=0), rtol=4e-7)
    np.testing.assert_allclose(report.statistics.squares, (flat**2).sum(axis=0), rtol=4e-7)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_clips_row_does_not_depend_on_its_shard(tmp_path, spec):
    make_clips(tmp_path / "words", 9, samples=9_000)
    unit = all_in_one(tmp_path / "words", tmp_path, spec)
    _, together = run(unit, new_set(tmp_path / "set"), tmp_path / "words", spec)
    for row, clip in enumerate(unit.clips):
        single = replace(unit, name=f"training-{row}", clips=(clip,))
        _, alone = run(single, tmp_path / "set", tmp_path / "words", spec)
        assert np.array_equal(alone.features[0].view(np.uint32), together.features[row].view(np.uint32))


@pytest.mark.parametrize("storage_format", FORMATS)
def test_bytes_are_the_same_every_time(tmp_path, storage_format):
    make_clips(tmp_path / "words", 9)
    make_rejects(tmp_path / "words")
    unit = all_in_one(tmp_path / "words", tmp_path, storage_format=storage_format)
    for name in ("one", "two"):
        run(unit, new_set(tmp_path / name), tmp_path / "words", storage_format=storage_format)
    one, two = (Layout(tmp_path / name, storage_format) for name in ("one", "two"))
    assert one.shard(unit.name).read_bytes() == two.shard(unit.name).read_bytes()
    assert one.report(unit.name).read_bytes() == two.report(unit.name).read_bytes()


@pytest.fixture
def finished(tmp_path):
    """A unit that is finished: unit, feature set, root."""
    make_clips(tmp_path / "words", 5)
    unit = all_in_one(tmp_path / "words", tmp_path)
    run(unit, new_set(tmp_path / "set"), tmp_path / "words")
    return unit, tmp_path / "set", tmp_path / "words"


@pytest.mark.parametrize(
    "damage", ["no shard", "no report", "shorter shard", "longer shard", "empty report", "cut report"]
)
def test_an_unfinished_unit_is_built_again(finished, damage):
    unit, folder, root = finished
    shard, report = Layout(folder, "tfrecord").shard(unit.name), Layout(folder, "tfrecord").report(unit.name)
    contents = shard.read_bytes(), report.read_bytes()
    path = report if "report" in damage else shard
    if damage.startswith("no"):
        path.unlink()
    elif damage.startswith("empty"):
        path.write_bytes(b"")
    elif damage == "longer shard":
        path.write_bytes(path.read_bytes() + b"\0")
    else:
        path.write_bytes(path.read_bytes()[:-9])
    assert not is_finished(Layout(folder, "tfrecord"), unit.name)
    assert build_shard(unit, Layout(folder, "tfrecord"), str(root), TINY)
    assert is_finished(Layout(folder, "tfrecord"), unit.name)
    assert (shard.read_bytes(), report.read_bytes()) == contents


def test_a_unit_without_usable_clips_has_a_report_and_no_shard(tmp_path):
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / "words" / "yes" / name, noise(0))
    unit = all_in_one(tmp_path / "words", tmp_path)
    report, shard = run(unit, new_set(tmp_path / "set"), tmp_path / "words")
    assert report.shard is shard is None
    assert report.statistics == Statistics.of(np.empty((0, *TINY.shape), np.float32))
    assert report.rows["reason"].to_pylist() == ["empty", "empty"]
    assert os.listdir(tmp_path / "set" / "shards") == []
    assert is_finished(Layout(tmp_path / "set", "tfrecord"), unit.name)


# Kills its own process at the given call of os.replace: the first names the shard, the second the report.
KILLED = """
import os, signal, sys
from pathlib import Path
from features.store.layout import Layout
from features.update.shard_builder import build_shard
from tests.features.examples import TINY
from tests.features.update.test_shard_builder import all_in_one
base, at, replace, calls = Path(sys.argv[1]), int(sys.argv[2]), os.replace, []
def watched(*names):
    calls.append(names)
    if len(calls) == at:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*names)
unit = all_in_one(base / "words", base)
os.replace = watched
build_shard(unit, Layout(base / "set", "tfrecord"), str(base / "words"), TINY)
"""


@pytest.mark.parametrize("at", [1, 2])
def test_a_killed_writer_leaves_no_half_of_anything(finished, tmp_path, at):
    unit, folder, root = finished
    shard, report = Layout(folder, "tfrecord").shard(unit.name), Layout(folder, "tfrecord").report(unit.name)
    contents = shard.read_bytes(), report.read_bytes()
    shard.unlink()
    report.unlink()
    result = subprocess.run([sys.executable, "-c", KILLED, tmp_path, str(at)], check=False, cwd=os.getcwd())
    assert result.returncode == -9
    assert shard.exists() == (at == 2)
    assert not report.exists()
    assert not is_finished(Layout(folder, "tfrecord"), unit.name)
    assert build_shard(unit, Layout(folder, "tfrecord"), str(root), TINY)
    assert (shard.read_bytes(), report.read_bytes()) == contents


def test_a_file_whose_content_is_not_what_the_planner_hashed(tmp_path):
    path = write_wav(tmp_path / "words" / "yes" / "a.wav", sine(440, 100))
    unit = all_in_one(tmp_path / "words", tmp_path)  # hashed, since no time is old enough for a scan at 0
    assert unit.clips[0].content_hash
    status = path.stat()
    write_wav(path, sine(550, 100))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    report, _ = run(unit, new_set(tmp_path / "set"), tmp_path / "words")
    assert report.rows["reason"].to_pylist() == ["vanished"]


@pytest.mark.parametrize("part", [False, True])
@pytest.mark.parametrize("what", NOT_FILES)
def test_what_takes_the_place_of_a_listed_file_is_a_reject(tmp_path, what, part):
    put, reason, _ = NOT_FILES[what]
    path = write_wav(tmp_path / "words" / "yes" / "a.wav", noise(100))
    unit = all_in_one(tmp_path / "words", tmp_path)
    path.unlink()
    put(path)
    (clip,) = unit.clips
    clip = replace(clip, content_hash=None, duration=50 if part else None)
    if what == "no bytes":  # as it was listed; else another size is what is met first
        clip = replace(clip, size=0, mtime_ns=path.stat().st_mtime_ns)
    with within_seconds(20):
        report, _ = run(replace(unit, clips=(clip,)), new_set(tmp_path / "set"), tmp_path / "words")
    (row,) = report.rows.to_pylist()
    assert (row["stage"], row["reason"]) == ("decode", reason)


@pytest.mark.parametrize("module", [shard_builder, coded_clips])
@pytest.mark.parametrize("event", ["grows", "vanishes"])
def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch, event, module):
    path = tmp_path / "words" / "yes" / ("a.flac" if module is coded_clips else "a.aiff")
    path.parent.mkdir(parents=True)
    soundfile.write(path, sine(440, 100), RATE_HZ)
    unit = all_in_one(tmp_path / "words", tmp_path)

    def read_and_change(*arguments, **keywords):
        result = decode_clip(*arguments, **keywords)
        path.unlink() if event == "vanishes" else path.write_bytes(path.read_bytes() + b"\0")
        return result

    monkeypatch.setattr(module, "decode_clip", read_and_change)
    report, _ = run(unit, new_set(tmp_path / "set"), tmp_path / "words")
    assert report.rows["reason"].to_pylist() == ["vanished"]


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_file_too_large_to_be_held_in_memory(tmp_path, ending):
    path = tmp_path / "words" / "yes" / f"a.{ending}"
    path.parent.mkdir(parents=True)
    soundfile.write(path, noise(5_000_000), RATE_HZ, subtype="PCM_16")
    assert path.stat().st_size > 2**20
    unit = all_in_one(tmp_path / "words", tmp_path)
    report, shard = run(unit, new_set(tmp_path / "set"), tmp_path / "words")
    (row,) = report.rows.to_pylist()
    assert row["content_hash"] == content_hash(path.read_bytes())
    assert row["seconds"] == 5_000_000 / RATE_HZ
    assert np.array_equal(shard.features, compute_features(clip_waveform(str(path), TINY)[0][None], TINY))


def test_clips_within_one_file(tmp_path):
    write_wav(tmp_path / "words" / "yes" / "long.wav", noise(1_000))
    unit = all_in_one(tmp_path / "words", tmp_path)
    parts = tuple(replace(unit.clips[0], start=start, duration=80) for start in (0, 80, 500, 1_000))
    report, shard = run(replace(unit, clips=parts), new_set(tmp_path / "set"), tmp_path / "words")
    assert report.rows["row"].to_pylist() == [0, 1, 2, None]
    assert report.rows["start"].to_pylist() == [0, 80, 500, 1_000]
    path = str(tmp_path / "words" / "yes" / "long.wav")
    waveforms = np.stack([clip_waveform(path, TINY, start, 80)[0] for start in (0, 80, 500)])
    assert np.array_equal(shard.features, compute_features(waveforms, TINY))


@pytest.mark.parametrize("in_memory_bytes", [0, 2**20])
def test_a_file_with_many_clips_is_hashed_once_unless_it_changes(tmp_path, monkeypatch, in_memory_bytes):
    path = write_wav(tmp_path / "words" / "yes" / "long.wav", noise(1_000))
    unit = all_in_one(tmp_path / "words", tmp_path)
    clips = [replace(unit.clips[0], start=start, duration=80, content_hash=None) for start in (0, 80, 500, 600)]
    clips[0] = replace(clips[0], duration=None)  # all of the file, which is read into memory for it
    digest, hashed = content_hash(path.read_bytes()), []

    def load_and_change(*arguments):
        if arguments[2] == 500:
            path.write_bytes(path.read_bytes()[:-2])
        return decode_clip(*arguments)

    for name in ("content_hash", "file_hash"):
        counted = getattr(shard_builder, name)
        monkeypatch.setattr(
            shard_builder, name, lambda source, like=None, of=counted: hashed.append(source) or of(source, like)
        )
    monkeypatch.setattr(shard_builder, "decode_clip", load_and_change)
    monkeypatch.setattr(recording, "_IN_MEMORY_BYTES", in_memory_bytes)
    report, _ = run(replace(unit, clips=tuple(clips)), new_set(tmp_path / "set"), tmp_path / "words")
    assert report.rows["content_hash"].to_pylist()[:2] == [digest, digest]
    assert report.rows["reason"].to_pylist() == [None, None, "vanished", "vanished"]
    assert len(hashed) == 2  # as it was, and after it was cut


def test_versions_are_those_that_are_installed(finished):
    unit, folder, _ = finished
    versions = read_report(Layout(folder, "tfrecord"), unit.name).versions
    assert versions == library_versions()
    assert versions["numpy"] == np.__version__
    assert versions["soxr"] == version("soxr")
    assert versions["libsndfile"] == soundfile.__libsndfile_version__
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.data
def test_real_clips_of_every_format(tmp_path, data):
    """All unusual files that decode, in one shard: each row is what the clip alone gives."""
    folder = tmp_path / "words" / "odd"
    folder.mkdir(parents=True)
    for path in (data / "odd_audio").iterdir():
        if path.suffix != ".tsv":
            (folder / path.name).symlink_to(path)
    unit = all_in_one(tmp_path / "words", tmp_path, MFCC)
    report, shard = run(unit, new_set(tmp_path / "set"), tmp_path / "words", MFCC)
    assert len(shard.paths) > 70
    assert np.isfinite(shard.features).all()
    rejects = [row["reason"] for row in report.rows.to_pylist() if row["row"] is None]
    assert set(rejects) == {"damaged", "empty", "not_audio", "not_finite", "too_short", "unsupported_codec"}
    for row in (0, len(shard.paths) // 2, -1):
        waveform = clip_waveform(str(tmp_path / "words" / shard.paths[row]), MFCC)[0]
        assert np.array_equal(compute_features(waveform[None], MFCC)[0], shard.features[row])
