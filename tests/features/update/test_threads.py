"""Units that threads of one process build at once, as where a runner has several slots a process."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import soundfile

from features.audio.ffmpeg import convert, read_converted
from features.audio.protocol import OpenFile
from features.frontend.spec import FeatureSpec
from features.store.layout import Layout
from features.update.shard_builder import build_shard
from features.update.work_list import ShardUnit
from tests.features.examples import LOG_MEL, MFCC, STFT, planned
from tests.features.test_prune import tree
from tests.signals import chirp, noise, sine, write_wav

THREADS = 4


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Recordings of several kinds and rates: some read here, some by a decoder, some resampled; one is no sound."""
    root = tmp_path_factory.mktemp("source") / "words"
    for number in range(60):
        rate_hz = (16_000, 16_000, 44_100)[number % 3]
        samples = (sine(440.0, rate_hz) if number % 2 else chirp(rate_hz)) + noise(rate_hz, seed=number)
        path = root / ("no", "yes")[number % 2] / f"{number:08x}_nohash_0"
        if number % 5 < 3:
            write_wav(path.with_suffix(".wav"), 0.5 * samples, rate_hz)
        else:
            soundfile.write(path.with_suffix((".flac", ".ogg")[number % 2]), 0.5 * samples, rate_hz)
    (root / "yes" / "picture.wav").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100))
    return root


@pytest.mark.parametrize("spec", [STFT, LOG_MEL, MFCC], ids=lambda spec: spec.front_end)
def test_four_threads_write_the_bytes_of_one(source, tmp_path, spec):
    units = planned(source, tmp_path / "plan", spec)
    assert len(units) == 3
    assert sum(len(unit.clips) for unit in units) == 61
    build(units, tmp_path / "one", source, spec)
    together = threading.Barrier(THREADS)

    def work(number: int) -> None:
        together.wait(60)
        # Two go through the same units side by side and two through others; the last two into one set.
        build(units[number // 2 :] + units[: number // 2], tmp_path / f"set-{min(number, 2)}", source, spec)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(work, number) for number in range(THREADS)]:
            done.result()
    expected = contents(tmp_path / "one")
    assert len(expected) == 2 * len(units)
    for number in range(3):
        assert contents(tmp_path / f"set-{number}") == expected


def build(units: list[ShardUnit], folder: Path, source: Path, spec: FeatureSpec) -> None:
    layout = Layout(folder, "tfrecord")
    layout.make_folders()
    for unit in units:
        build_shard(unit, layout, str(source), spec)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (content, _) in tree(folder).items() if name.startswith(("shards", "reports"))}


def test_each_thread_keeps_what_ffmpeg_has_made_of_its_file(tmp_path, ffmpeg):
    real, log = os.readlink(ffmpeg), tmp_path / "log"
    ffmpeg.unlink()
    ffmpeg.write_text(f'#!/bin/sh\necho "$*" >> {log}\nexec {real} "$@"\n')
    ffmpeg.chmod(0o755)
    together = threading.Barrier(2)

    def work(number: int) -> None:
        path = write_wav(tmp_path / f"{number}.wav", sine(440.0 * (1 + number), 3_000))
        expected = soundfile.read(path, dtype="float32")[0]
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            for first in range(0, 3_000, 1_000):
                together.wait(60)
                converted = convert(OpenFile(file.fileno(), status.st_size, mp3=False, identity=identity))
                assert (read_converted(converted, first, 1_000)[:, 0] == expected[first : first + 1_000]).all()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, number) for number in range(2)]:
            done.result()
    assert len([line for line in log.read_text().splitlines() if "pcm_f32be" in line]) == 2
