"""Clips of compressed formats that are decoded a few at a time: what comes of each is what comes of it alone."""

import os
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from features.audio import decoder, protocol
from features.audio.decoder import Decoder
from features.audio.protocol import SHARED_BYTES, TOGETHER
from features.errors import Reason
from features.store.layout import Layout
from features.store.unit_report import read_report
from features.update import coded_clips
from features.update.coded_clips import CodedClips
from features.update.shard_builder import build_shard
from tests.features.audio.test_decoder_client import end_all, spoiled  # noqa: F401
from tests.features.examples import STFT, TINY, new_set, planned
from tests.signals import noise, write_wav

FORMATS = (("flac", "FLAC", "PCM_16"), ("mp3", "MP3", "MPEG_LAYER_III"), ("ogg", "OGG", "VORBIS"),
           ("opus", "OGG", "OPUS"), ("wav", "WAV", "PCM_24"))  # fmt: skip


def write(root, name, samples, rate_hz=16_000, title=""):
    """Writes a recording in the format that its name says, perhaps with a title."""
    path = root / "yes" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    container, subtype = next(kind[1:] for kind in FORMATS if kind[0] == path.suffix[1:])
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(path, "w", rate_hz, channels, subtype, format=container) as file:
        if title:
            file.title = title
        file.write(samples)


def unit_of(root, scratch, spec):
    """All clips as one unit, in the order of their names."""
    units = planned(root, scratch / "planned", spec)
    clips = sorted((clip for unit in units for clip in unit.clips), key=lambda clip: clip.path)
    return replace(units[0], clips=tuple(clips))


def built(unit, root, folder, spec):
    """Builds a unit; returns the bytes of its shard, and its report as rows."""
    layout = Layout(new_set(folder), "tfrecord")
    assert build_shard(unit, layout, str(root), spec)
    shard = layout.shard(unit.name)
    return shard.read_bytes() if shard.exists() else b"", read_report(layout, unit.name).rows.to_pylist()


@pytest.fixture
def requests(monkeypatch):
    """How many files each request has had that had several."""
    numbers = []
    ask = Decoder.ask_together

    def counted(self, files, clip):
        numbers.append(len(files))
        return ask(self, files, clip)

    monkeypatch.setattr(Decoder, "ask_together", counted)
    return numbers


def alone(monkeypatch, unit, root, folder, spec):
    """What is built where each clip is asked for by itself."""
    with monkeypatch.context() as patched:
        patched.setattr(CodedClips, "take", lambda *_: None)
        return built(unit, root, folder, spec)


@pytest.mark.parametrize("spec", [TINY, STFT, replace(STFT, channels="loudest", crop="centre")])
def test_clips_are_to_the_bit_what_each_is_alone(tmp_path, monkeypatch, spec):
    root, number = tmp_path / "words", 0
    for ending, *_ in FORMATS:
        for rate_hz in (16_000, 48_000):
            for frames in (1, rate_hz - 1, rate_hz, rate_hz + 1):
                number += 1
                stereo = noise(2 * frames, number).reshape(-1, 2) / 2
                write(root, f"{number:03d}.{ending}", stereo if number % 2 else stereo[:, 0], rate_hz)
    # What cannot be used, and what is used with a warning.
    (root / "yes" / "010x.flac").write_bytes(b"no sound is in this")
    (root / "yes" / "011x.mp3").write_bytes(b"")
    whole = (root / "yes" / "004.flac").read_bytes()
    (root / "yes" / "012x.flac").write_bytes(whole[: len(whole) // 2])
    (root / "yes" / "013x.flac").write_bytes(whole + (root / "yes" / "005.flac").read_bytes())
    write_wav(root / "yes" / "014x.ogg", noise(20_000))
    write(root, "015x.flac", np.zeros(16_000))
    unit = unit_of(root, tmp_path, spec)
    shard, rows = built(unit, root, tmp_path / "together", spec)
    expected, rows_alone = alone(monkeypatch, unit, root, tmp_path / "alone", spec)
    assert [one for one in zip(rows, rows_alone, strict=True) if one[0] != one[1]] == []
    assert shard == expected
    assert len({row["reason"] for row in rows}) > 2
    assert {"truncated", "joined", "silent"} <= {row["warning"] for row in rows}


@pytest.mark.parametrize("number", [0, 1, TOGETHER - 1, TOGETHER, TOGETHER + 1, 2 * TOGETHER + 1])
def test_a_request_has_so_many_files_at_most(tmp_path, requests, number):
    root = tmp_path / "words"
    write_wav(root / "yes" / "a.wav", noise(100))
    for name in range(number):
        write(root, f"{name:03d}.flac", noise(200, name))
    _, rows = built(unit_of(root, tmp_path, TINY), root, tmp_path / "set", TINY)
    assert [row["reason"] for row in rows] == [None] * (number + 1)
    assert requests == [TOGETHER] * (number // TOGETHER) + [number % TOGETHER] * (number % TOGETHER > 0)


def test_long_clips_are_decoded_as_many_at_a_time_as_there_is_room_for(tmp_path, monkeypatch, requests):
    root, spec = tmp_path / "words", replace(TINY, clip_seconds=10)
    frames = SHARED_BYTES // 4 // 3
    assert frames < 10 * 44_100, "all of it is used"
    for name in range(11):
        write(root, f"{name:03d}.flac", noise(frames + (name == 4), name), 44_100)
    unit = unit_of(root, tmp_path, spec)
    results = built(unit, root, tmp_path / "together", spec)
    assert requests == [8, 3]
    assert results == alone(monkeypatch, unit, root, tmp_path / "alone", spec)


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        ("ABORT", Reason.DECODER_DIED),
        ("FAULT", Reason.DECODER_DIED),
        ("EAT", Reason.OUT_OF_MEMORY_GUARD),
        ("HANG", Reason.TIMEOUT),
    ],
)
def test_a_file_that_a_decoder_fails_on_costs_itself_alone(spoiled, tmp_path, monkeypatch, mark, reason):  # noqa: F811
    if mark == "HANG":
        monkeypatch.setattr(decoder, "TOGETHER_SECONDS", 0.5)
        monkeypatch.setattr(protocol, "_LEAST_SECONDS", 1.0)
    root = tmp_path / "words"
    for name in range(2 * TOGETHER + 3):
        write(root, f"{name:03d}.flac", noise(4_000, name), title=mark if name in (3, TOGETHER) else "good")
    unit = unit_of(root, tmp_path, STFT)
    _, rows = built(unit, root, tmp_path / "set", STFT)
    assert [row["reason"] for row in rows] == [
        str(reason) if number in (3, TOGETHER) else None for number in range(len(rows))
    ]
    end_all()


def test_what_an_earlier_file_did_to_a_decoder_is_not_held_against_the_next(spoiled, tmp_path):  # noqa: F811
    root = tmp_path / "words"
    for name in range(6):
        write(root, f"{name:03d}.flac", noise(4_000, name), title={1: "SPOIL", 3: "ONCE"}.get(name, "good"))
    _, rows = built(unit_of(root, tmp_path, STFT), root, tmp_path / "set", STFT)
    assert [row["reason"] for row in rows] == [None] * 6
    end_all()


@pytest.mark.parametrize("changes", ["before", "while"])
def test_files_that_are_not_as_they_were_listed_are_refused(tmp_path, monkeypatch, changes):
    root = tmp_path / "words"
    for name in range(6):
        write(root, f"{name:03d}.flac", noise(4_000, name))
    unit = unit_of(root, tmp_path, STFT)

    def change():
        write(root, "001.flac", noise(5_000))
        os.utime(root / "yes" / "003.flac", ns=(1, 1))
        (root / "yes" / "004.flac").unlink()

    decode = coded_clips.decode_together

    def changing(files, clip):
        found = decode(files, clip)
        change()
        return found

    gone = "missing" if changes == "before" else "vanished"
    if changes == "before":
        change()
    else:
        monkeypatch.setattr(coded_clips, "decode_together", changing)
    _, rows = built(unit, root, tmp_path / "set", STFT)
    assert [row["reason"] for row in rows] == [None, "vanished", None, "vanished", gone, None]
