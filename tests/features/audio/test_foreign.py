"""Audio that libsndfile does not read: by what it is recognised, and that ffmpeg is asked for it alone."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.audio.decode import decode, probe
from features.audio.foreign import foreign_kind
from features.errors import ClipError, Reason
from tests.features.audio.test_decode import encoded
from tests.signals import chirp, write_wav


def id3(content_bytes: int) -> bytes:
    """A tag of ID3v2 with so many bytes of padding."""
    return b"ID3\x04\0\0" + bytes(content_bytes >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(content_bytes)


def ogg(packet: bytes) -> bytes:
    """The first page of an Ogg."""
    return b"OggS\0\x02" + bytes(20) + bytes([1, len(packet)]) + packet + b"OggS"


def flac(bits: int) -> bytes:
    """How a FLAC of so many bits begins: STREAMINFO of 44,100 Hz, two channels."""
    packed = 44_100 << 44 | 1 << 41 | (bits - 1) << 36 | 100_000
    return b"fLaC\0\0\0\x22" + b"\x10\0\x10\0" + bytes(6) + packed.to_bytes(8, "big") + bytes(16)


ADTS, AC3 = b"\xff\xf1\x50\x80\x2e\x7f\xfc", b"\x0b\x77\x1b\x1a\x0c\x40"
BEGINNINGS = [
    *((flac(bits), "" if bits in (8, 16, 24) else f"FLAC of {bits} bits") for bits in (4, 8, 12, 15, 16, 20, 24, 32)),
    (ogg(b"\x7fFLAC\x01\0"), "FLAC in Ogg"),
    (ogg(b"Speex   1.2"), "Speex in Ogg"),
    (ogg(b"OpusHead\x01"), "Opus in Ogg"),
    (ogg(b"\x01vorbis\0"), ""),
    (ADTS, "AAC"),
    (id3(0) + ADTS, "AAC behind an ID3 tag"),
    (id3(5_000) + ADTS, "AAC behind an ID3 tag"),
    (id3(300) + id3(10) + AC3, "AC-3 behind an ID3 tag"),
    (id3(63) + b"TTA1\x01\0", "TTA behind an ID3 tag"),
    (id3(63) + flac(12), "FLAC of 12 bits"),
    (id3(63) + b"\xff\xfb\x90\x64" + bytes(100), ""),
    (id3(63)[:40], ""),
    (b"ID3", ""),
    (b"OggS", ""),
    (b"fLaC", ""),
    (b"", ""),
    (b"no sound" * 20, ""),
]


@pytest.mark.parametrize(("content", "kind"), BEGINNINGS, ids=range(len(BEGINNINGS)))
def test_kinds_are_recognised_by_how_they_begin(tmp_path, content, kind):
    for length in {len(content), max(0, len(content) - 1)}:  # what it is stands before its last byte, or it is cut off
        path = tmp_path / f"{length}"
        path.write_bytes(content[:length])
        with open(path, "rb") as file:
            assert foreign_kind(file.fileno()) in ({kind} if length == len(content) else {kind, ""})


def made(ffmpeg: Path, path: Path, *options: str) -> Path:
    source = write_wav(path.with_name("source.wav"), chirp(48_000), 48_000)
    command = [ffmpeg, "-v", "error", "-y", "-i", source, *options, path]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


@pytest.mark.parametrize("name", ["a.aac", "a.ac3", "a.tta", "a.wv"])
@pytest.mark.parametrize("tag_bytes", [0, 63, 3_000])
def test_a_tag_before_it_changes_nothing(ffmpeg, tmp_path, name, tag_bytes):
    bare = made(ffmpeg, tmp_path / name).read_bytes()
    tagged = id3(tag_bytes) + bare
    info = probe(tagged)
    assert info.decoder == probe(bare).decoder
    assert (info.frames, info.truncated) == (probe(bare).frames, False)
    assert np.array_equal(decode(tagged, info), decode(bare, probe(bare)))


DEEP = ("-c:a", "flac", "-sample_fmt", "s32", "-strict", "experimental", "-bits_per_raw_sample", "32")


def test_a_flac_of_32_bits(ffmpeg, tmp_path):
    path = made(ffmpeg, tmp_path / "a.flac", *DEEP)
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(path)
    expected, _ = soundfile.read(tmp_path / "source.wav", dtype="float32", always_2d=True)
    assert np.array_equal(decode(str(path), probe(str(path))), expected)


def with_doubled_headers(opus: bytes) -> bytes:
    """Repeats the first page of an Ogg, which libsndfile refuses, under a number of its own."""
    first = 27 + opus[26] + sum(opus[27 : 27 + opus[26]])
    return opus[:first] + opus


def test_flac_and_opus_in_an_ogg_that_libsndfile_refuses(ffmpeg, tmp_path):
    whole = made(ffmpeg, tmp_path / "a.ogg", "-c:a", "flac")
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(whole)
    expected, _ = soundfile.read(tmp_path / "source.wav", dtype="float32", always_2d=True)
    assert np.array_equal(decode(str(whole), probe(str(whole))), expected)
    opus = encoded(chirp(48_000), "OGG", "OPUS", 48_000)
    info = probe(with_doubled_headers(opus))
    assert info.by_ffmpeg
    assert abs(info.frames - 48_000) <= 960


@pytest.mark.parametrize("name", ["a.ogg", "a.flac", "a.tta"])
def test_without_ffmpeg_the_reject_names_what_it_is_and_what_would_read_it(ffmpeg, tmp_path, monkeypatch, name):
    options = {"a.ogg": ("-c:a", "flac"), "a.flac": DEEP, "a.tta": ()}[name]
    content = made(ffmpeg, tmp_path / name, *options).read_bytes()
    monkeypatch.setenv("PATH", "")
    kind = {"a.ogg": "FLAC in Ogg", "a.flac": "FLAC of 32 bits", "a.tta": "TTA"}[name]
    with pytest.raises(ClipError, match=f"^{kind}, libsndfile: .*; an ffmpeg on the PATH may decode it") as error:
        probe(content)
    assert error.value.reason == Reason.UNSUPPORTED_CODEC


@pytest.mark.parametrize("content", [b"no sound" * 20, np.random.default_rng(1).bytes(67), id3(9) + b"text" * 20])
def test_of_what_is_no_audio_ffmpeg_is_not_asked(no_ffmpeg, tmp_path, content):
    """It makes minutes of noise out of 67 bytes."""
    (no_ffmpeg / "ffmpeg").write_text(f"#!/bin/sh\necho asked > {tmp_path}/asked\n")
    (no_ffmpeg / "ffmpeg").chmod(0o755)
    with pytest.raises(ClipError) as error:
        probe(content)
    assert error.value.reason in (Reason.NOT_AUDIO, Reason.DAMAGED)
    assert not (tmp_path / "asked").exists()
