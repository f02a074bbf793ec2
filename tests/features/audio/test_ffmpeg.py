"""What soundfile refuses, decoded by a real ffmpeg; and what programs in its place may do."""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
import soundfile

from features.audio import protocol
from features.audio.decode import decode, probe
from features.audio.ffmpeg import convert, ffmpeg_version, find_ffmpeg
from features.audio.protocol import OpenFile
from features.errors import ClipError, Reason, RunError
from features.frontend.clip import clip_waveform
from features.frontend.windows import num_windows, window_waveforms
from features.store.versions import library_versions
from tests.features.audio.test_decode import encoded
from tests.features.examples import MFCC, STFT
from tests.signals import chirp, noise, sine, write_wav

SECOND = sine(440, 16_000) + noise(16_000)


def converted(ffmpeg, folder, samples, name, *options, rate_hz=16_000) -> str:
    """Makes a file of a kind that soundfile does not read."""
    source = write_wav(folder / "source.wav", samples, rate_hz)
    command = [str(ffmpeg), "-v", "error", "-y", "-i", str(source), *options, str(folder / name)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(folder / name)
    return str(folder / name)


KINDS = {
    "aac in mp4": ("a.m4a", ()),
    "aac alone": ("a.aac", ()),
    "alac in mp4": ("b.m4a", ("-c:a", "alac")),
    "wma": ("a.wma", ()),
    "webm": ("a.webm", ()),
    "wavpack": ("a.wv", ()),
    "ac-3": ("a.ac3", ()),
    "adpcm of a game": ("a.wav", ("-c:a", "adpcm_yamaha")),
}


@pytest.mark.parametrize(("name", "options"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_kinds_that_soundfile_refuses(ffmpeg, tmp_path, name, options, channels):
    sound = np.repeat(SECOND[:, None], channels, axis=1)
    rate_hz = 48_000 if name in ("a.webm", "a.ac3") else 16_000
    path = converted(ffmpeg, tmp_path, sound, name, *options, rate_hz=rate_hz)
    info = probe(path)
    assert (info.channels, info.rate_hz, info.by_ffmpeg, info.truncated) == (channels, rate_hz, True, False)
    samples = decode(path, info)
    assert samples.shape == (info.frames, channels)
    assert abs(info.frames - 16_000) <= 4_096  # encoders delay, and fill their last block
    reference = np.correlate(samples[:, 0], SECOND[2_000:10_000], mode="valid")
    at = int(reference.argmax())
    difference = samples[at : at + 8_000, 0] - SECOND[2_000:10_000]
    assert np.sqrt(np.mean(difference**2)) < 0.3 * np.sqrt(np.mean(SECOND**2))
    waveform, seconds, warning = clip_waveform(path, STFT)
    assert (waveform.shape, seconds, warning) == ((16_000,), info.frames / rate_hz, "")


def test_lossless_kinds_come_back_to_the_bit(ffmpeg, tmp_path):
    path = converted(ffmpeg, tmp_path, SECOND, "a.m4a", "-c:a", "alac")
    expected, _ = soundfile.read(tmp_path / "source.wav", dtype="float32", always_2d=True)
    assert np.array_equal(decode(path, probe(path)), expected)


def test_parts_are_those_of_the_whole(ffmpeg, tmp_path):
    path = converted(ffmpeg, tmp_path, chirp(160_000), "a.m4a")
    info = probe(path)
    whole = decode(path, info)
    for start in (0, 1, 999, 100_000, info.frames - 1, info.frames, info.frames + 1):
        for frames in (0, 1, 1_000, None):
            expected = whole[start:][:frames]
            assert np.array_equal(decode(path, info, start, frames), expected)
    windows = list(window_waveforms(path, info, STFT, 0, num_windows(info, STFT)))
    again = [next(window_waveforms(path, info, STFT, number, 1)) for number in range(len(windows))]
    assert len(windows) in (10, 11)
    assert all(np.array_equal(one.waveform, other.waveform) for one, other in zip(windows, again, strict=True))
    assert clip_waveform(path, MFCC)[1] == info.frames / 16_000


def test_a_file_that_has_changed_is_converted_again(ffmpeg, tmp_path):
    path = converted(ffmpeg, tmp_path, SECOND, "a.m4a", "-c:a", "alac")
    first = decode(path, probe(path))
    path = converted(ffmpeg, tmp_path, SECOND[::-1], "a.m4a", "-c:a", "alac")
    assert np.array_equal(decode(path, probe(path)), first[::-1])


def test_unusual_names_are_not_taken_for_options_or_addresses(ffmpeg, tmp_path, monkeypatch):
    path = converted(ffmpeg, tmp_path, SECOND, "a.m4a", "-c:a", "alac")
    expected = decode(path, probe(path))
    monkeypatch.chdir(tmp_path)
    for name in (b"-i.m4a", b"concat:a.m4a|b.m4a", b"http:x.m4a", b"=1 \n'\"\xff.m4a", b"%03d.m4a"):
        shutil.copy(path, name)
        copy = os.fsdecode(name)
        assert np.array_equal(decode(copy, probe(copy)), expected)


def test_without_ffmpeg_it_is_refused_with_the_way_out(no_ffmpeg, tmp_path):
    assert find_ffmpeg() is None
    with pytest.raises(ClipError, match="an ffmpeg on the PATH may decode it, and there is none") as error:
        probe(REFUSED)
    assert (error.value.stage, error.value.reason) == ("decode", Reason.UNSUPPORTED_CODEC)


def test_what_ffmpeg_refuses_too_says_what_both_said(ffmpeg):
    with pytest.raises(ClipError, match=r"libsndfile: .*; ffmpeg: .*Invalid data") as error:
        probe(REFUSED)
    assert error.value.reason == Reason.DAMAGED


def test_what_is_said_of_a_file_is_the_same_each_time(ffmpeg):
    said = set()
    for _ in range(3):
        with pytest.raises(ClipError) as error:
            probe(REFUSED)
        said.add(error.value.message)
    assert len(said) == 1


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_a_video_without_sound(ffmpeg, tmp_path, name):
    command = [str(ffmpeg), "-v", "error", "-f", "lavfi", "-i", "color=size=16x16:duration=1", str(tmp_path / name)]
    subprocess.run(command, check=True)
    with pytest.raises(ClipError, match=r"; there is no sound track in this video$") as error:
        probe(str(tmp_path / name))
    assert error.value.reason == Reason.UNSUPPORTED_CODEC


def test_a_playlist_is_not_followed(ffmpeg, tmp_path):
    """What a file names is not opened, be it beside it."""
    write_wav(tmp_path / "secret.wav", SECOND)
    lists = {
        "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n",
        "a.ffconcat": "ffconcat version 1.0\nfile secret.wav\n",
    }
    for name, text in lists.items():
        path = tmp_path / f"{name}.m4a"
        path.write_text(text)
        with pytest.raises(ClipError) as error:
            probe(str(path))
        assert error.value.reason == Reason.NOT_AUDIO


def test_a_file_that_was_cut_off(ffmpeg, tmp_path):
    path = converted(ffmpeg, tmp_path, chirp(160_000), "a.m4a", "-c:a", "alac", "-movflags", "faststart")
    whole = decode(path, probe(path))
    os.truncate(path, os.path.getsize(path) // 2)
    info = probe(path)
    samples = decode(path, info)
    assert info.truncated
    assert 20_000 < len(samples) < 150_000
    assert np.array_equal(samples, whole[: len(samples)])
    assert clip_waveform(path, STFT)[2] == "truncated"


def test_a_wma_that_was_cut_off_between_packets_says_so_by_its_size(ffmpeg, tmp_path):
    path = converted(ffmpeg, tmp_path, chirp(160_000), "a.wma")
    assert not probe(path).truncated
    os.truncate(path, os.path.getsize(path) // 2)
    assert probe(path).truncated


def test_a_picture_that_cannot_be_decoded_is_no_lost_sound(ffmpeg, tmp_path):
    source, picture, path = write_wav(tmp_path / "a.wav", SECOND), tmp_path / "a.jpg", tmp_path / "a.m4a"
    draw = ["-f", "lavfi", "-i", "testsrc=size=64x64", "-frames:v", "1", picture]
    join = [
        "-i",
        source,
        "-i",
        picture,
        "-map",
        "0",
        "-map",
        "1",
        "-c:v",
        "copy",
        "-disposition:v",
        "attached_pic",
        path,
    ]
    for options in (draw, join):
        subprocess.run([str(ffmpeg), "-v", "error", *map(str, options)], check=True, stdin=subprocess.DEVNULL)
    content = path.read_bytes()
    assert content.count(b"\xff\xd8\xff") == 1
    damaged = content.replace(b"\xff\xd8\xff", b"abc")
    assert probe(damaged) == probe(content)
    assert probe(damaged).frames >= 16_000
    assert not probe(damaged).truncated
    assert np.array_equal(decode(damaged, probe(damaged)), decode(content, probe(content)))


@pytest.mark.parametrize("without_data", [0, 1, 5])
def test_amr_frames_without_data_are_no_lost_sound(ffmpeg, without_data):
    bits = np.random.default_rng(0)
    frames = [b"\x3c" + bits.bytes(31) for _ in range(50)] + [b"\x7c"] * without_data
    content = b"#!AMR\n" + b"".join(frames[25:] + frames[:25])
    info = probe(content)
    assert not info.truncated
    assert 160 * 50 <= info.frames <= 160 * (50 + without_data)
    assert probe(content[:-10]).truncated


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_caf_that_was_cut_off_which_soundfile_refuses(ffmpeg, subtype):
    whole = encoded(chirp(16_000), "CAF", subtype)
    cut = whole[: len(whole) // 2]
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(io.BytesIO(cut))
    samples = decode(cut, probe(cut))
    assert 6_000 < len(samples) < 9_000
    assert np.array_equal(samples, decode(whole, probe(whole))[: len(samples)])
    assert clip_waveform(cut, STFT)[2] == "truncated"


def program(folder, text: str) -> None:
    """Puts another program in the place of ffmpeg."""
    path = folder / "ffmpeg"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


REFUSED = b"wvpk" + bytes(100)


def test_a_program_that_hangs_is_ended_at_the_limit(no_ffmpeg, monkeypatch):
    program(no_ffmpeg, "exec /bin/sleep 1000\n")
    monkeypatch.setattr(protocol, "_LEAST_SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(ClipError) as error:
        probe(REFUSED)
    assert error.value.reason == Reason.TIMEOUT
    assert time.monotonic() - started < 30  # of 1,000


def test_a_program_that_dies_is_a_decoder_that_died(no_ffmpeg):
    program(no_ffmpeg, "kill -SEGV $$\n")
    with pytest.raises(ClipError) as error:
        probe(REFUSED)
    assert error.value.reason == Reason.DECODER_DIED


@pytest.mark.parametrize("ending", ["exit 228", "kill -INT $$; exit 255"])
def test_samples_of_a_program_that_ended_early_are_not_taken(ffmpeg, tmp_path, ending):
    """As for want of room, or by a signal that it catches: what it wrote looks whole."""
    path = converted(ffmpeg, tmp_path, SECOND, "a.m4a")
    real = ffmpeg.resolve()
    ffmpeg.unlink()
    program(ffmpeg.parent, f'trap "" INT\n{real} "$@"\n{ending}\n')
    with pytest.raises(ClipError, match=r"ffmpeg ended early with exit code \d+: is there room in") as error:
        probe(path)
    assert error.value.reason == Reason.DECODER_DIED


def test_a_full_folder_for_temporary_files_is_used_again_when_it_has_room(ffmpeg, tmp_path):
    path = converted(ffmpeg, tmp_path, chirp(400_000), "a.m4a")
    code = (
        "import resource, signal, sys\n"
        "from features.audio.decode import probe\nfrom features.errors import ClipError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        "try: print(probe(sys.argv[1]))\nexcept ClipError as error: print(error.reason)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stdout == "decoder_died\n", done.stderr
    assert probe(path).frames >= 400_000


def test_no_folder_for_temporary_files_ends_the_run(ffmpeg, tmp_path, monkeypatch):
    path = converted(ffmpeg, tmp_path, SECOND, "a.m4a")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(RunError, match=r"no temporary file can be made: .*; TMPDIR says where"):
        probe(path)


def test_a_program_that_wants_too_much_memory_gets_none(no_ffmpeg):
    program(no_ffmpeg, f"exec {sys.executable} -c 'a = bytearray(4 << 30); print(len(a))'\n")
    with pytest.raises(ClipError, match="MemoryError") as error:
        probe(REFUSED)
    assert error.value.reason == Reason.UNSUPPORTED_CODEC


def test_a_program_that_cannot_be_started(no_ffmpeg):
    (no_ffmpeg / "ffmpeg").write_text("nothing that runs")
    (no_ffmpeg / "ffmpeg").chmod(0o755)
    with pytest.raises(ClipError, match="does not start") as error:
        probe(REFUSED)
    assert error.value.reason == Reason.UNSUPPORTED_CODEC


def test_a_file_that_becomes_more_than_it_can_hold(ffmpeg, tmp_path, monkeypatch):
    path = converted(ffmpeg, tmp_path, np.zeros(200_000, np.float32), "a.m4a", "-c:a", "alac")
    monkeypatch.setattr(protocol, "_LEAST_BYTES", 1_000)
    monkeypatch.setattr(protocol, "_BYTES_A_BYTE", 1)
    with pytest.raises(ClipError, match="more samples than a file of its size can hold") as error:
        probe(path)
    assert error.value.reason == Reason.OUT_OF_MEMORY_GUARD


def test_its_version_is_among_those_of_what_decodes(ffmpeg, monkeypatch):
    library_versions.cache_clear()
    assert library_versions()["ffmpeg"] == ffmpeg_version(str(ffmpeg))
    assert library_versions()["ffmpeg"] != "unknown"
    library_versions.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert "ffmpeg" not in library_versions()
    library_versions.cache_clear()


def test_what_the_system_cannot_read_is_one_reject(tmp_path):
    """A folder stands for a disk that fails."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(ClipError, match="Is a directory") as error:
        convert(OpenFile(descriptor, 100, mp3=False, identity=None))
    os.close(descriptor)
    assert error.value.reason == Reason.UNREADABLE
