"""The sound of MPEG-4 files: as long as their index says, whatever a version of ffmpeg makes of that; damage named."""

import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.audio.decode import decode, probe
from features.audio.mp4 import SoundPart, sound_part
from features.errors import ClipError, Reason
from features.frontend.windows import num_windows
from tests.features.examples import STFT
from tests.signals import chirp, noise, write_wav

PACKET = 1_024  # samples of a packet of AAC, and what its encoder puts before the sound
TAG = " 00000000 {:08X} {:08X} {:016X} 00000000 00000000"


def made(ffmpeg: Path, path: Path, samples: int, *options: str, rate_hz: int = 16_000) -> Path:
    source = write_wav(path.with_name("source.wav"), chirp(samples) + noise(samples), rate_hz)
    command = [ffmpeg, "-v", "error", "-y", "-i", source, *options, path]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def source_of(path: Path) -> np.ndarray:
    return soundfile.read(path.with_name("source.wav"), dtype="float32", always_2d=True)[0]


def part_of(path: Path) -> SoundPart | None:
    with open(path, "rb") as file:
        return sound_part(file.fileno(), path.stat().st_size)


def box(name: bytes, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), name) + content


def in_index(path: Path, content: bytes) -> None:
    """Adds boxes to the index, which is the last of a file."""
    whole = bytearray(path.read_bytes())
    at = whole.rindex(b"moov") - 4
    (size,) = struct.unpack_from(">I", whole, at)
    assert at + size == len(whole)
    struct.pack_into(">I", whole, at, size + len(content))
    path.write_bytes(bytes(whole) + content)


def gapless_tag(before: int, behind: int, samples: int, versioned: bool = True) -> bytes:
    """The tag that Apple's encoders write, as MPEG-4 or QuickTime hold it."""
    text = TAG.format(before, behind, samples).encode()
    item = box(b"----", box(b"mean", bytes(4), b"com.apple.iTunes"), box(b"name", bytes(4), b"iTunSMPB"),
               box(b"data", b"\0\0\0\1", bytes(4), text))  # fmt: skip
    return box(b"udta", box(b"meta", bytes(4) if versioned else b"", box(b"ilst", item)))


@pytest.mark.parametrize("samples", [1, PACKET - 1, PACKET, PACKET + 1, 16_000, 16_001, 30_007])
@pytest.mark.parametrize("options", [("-c:a", "aac"), ("-c:a", "alac"), ("-c:a", "aac", "-movflags", "faststart")])
def test_a_file_has_the_samples_that_were_encoded(ffmpeg, tmp_path, samples, options):
    """Before, one of exactly a second had a second window of padding by some versions."""
    path = made(ffmpeg, tmp_path / "a.m4a", samples, *options)
    info = probe(str(path))
    assert (info.frames, info.truncated) == (samples, False)
    assert num_windows(info, STFT) == -(-samples // 16_000)
    decoded, expected = decode(str(path), info), source_of(path)
    if "alac" in options:
        assert np.array_equal(decoded, expected)
    elif samples >= 16_000:  # at its place: one sample beside it the noise would not fit
        errors = [np.sqrt(np.mean((decoded[100 + by : 15_000 + by] - expected[100:15_000]) ** 2)) for by in (-1, 0, 1)]
        assert errors[1] < 0.5 * min(errors[0], errors[2])


@pytest.mark.parametrize(("codec", "rate_hz", "exact"), [("libopus", 48_000, False), ("libmp3lame", 44_100, True)])
def test_other_codecs_in_mpeg_4(ffmpeg, tmp_path, codec, rate_hz, exact):
    path = made(ffmpeg, tmp_path / "a.mp4", rate_hz, "-c:a", codec, rate_hz=rate_hz)
    assert abs(probe(str(path)).frames - rate_hz) <= (0 if exact else rate_hz // 1_000)


@pytest.mark.parametrize("versioned", [True, False], ids=["mpeg-4", "quicktime"])
@pytest.mark.parametrize("samples", [1, PACKET, 16_000])
def test_without_an_edit_list_the_tag_says_it(ffmpeg, tmp_path, samples, versioned):
    path = made(ffmpeg, tmp_path / "a.m4a", samples, "-c:a", "aac", "-use_editlist", "0")
    assert part_of(path) is None
    packets = -(-samples // PACKET) + 1
    in_index(path, gapless_tag(PACKET, packets * PACKET - PACKET - samples, samples, versioned))
    assert probe(str(path)).frames == samples
    # A tag that does not fit to what is there says where the sound begins, and no more.
    path = made(ffmpeg, tmp_path / "b.m4a", samples, "-c:a", "aac", "-use_editlist", "0")
    in_index(path, gapless_tag(PACKET, 0, 10, versioned))
    assert probe(str(path)).frames == packets * PACKET - PACKET


def test_the_tag_is_finer_than_the_edit_list(ffmpeg, tmp_path):
    """Of the movie's clock a tick is a millisecond."""
    path = made(ffmpeg, tmp_path / "a.m4a", 16_000, "-c:a", "aac")
    in_index(path, gapless_tag(PACKET, 17 * PACKET - PACKET - 15_990, 15_990))
    assert probe(str(path)).frames == 15_990


@pytest.mark.parametrize(
    ("part", "decoded", "rate_hz", "frames"),
    [
        (SoundPart(1_024, 16_000, 16_000, None), 17_408, 16_000, (1_024, 16_000)),
        (SoundPart(1_024, None, 16_000, None), 17_408, 16_000, (1_024, 16_384)),
        (SoundPart(1_024, 16_000, 16_000, None), 17_023, 16_000, (1_024, 15_999)),  # it was cut off
        (SoundPart(1_024, 16_000, 16_000, None), 1_024, 16_000, (1_024, 0)),
        (SoundPart(1_024, 16_000, 16_000, None), 7, 16_000, (7, 0)),
        (SoundPart(1_024, 16_000, 16_000, None), 34_816, 32_000, (2_048, 32_000)),  # HE-AAC
        (SoundPart(0, None, 48_000, (2_112, 892, 44_100)), 47_104, 44_100, (2_112, 44_100)),
        (SoundPart(0, None, 22_050, (2_112, 892, 44_100)), 94_208, 44_100, (4_224, 88_200)),
        (SoundPart(5, 10, 44_100, (2_112, 892, 44_100)), 47_103, 44_100, (5, 10)),
    ],
)
def test_which_frames_are_the_sound(part, decoded, rate_hz, frames):
    assert part.frames(decoded, rate_hz) == frames


def with_edits(path: Path, movie_hz: int, *edits: tuple[int, int, int]) -> Path:
    """Replaces the edits of the only track by as many others, and the clock that they go by."""
    content = bytearray(path.read_bytes())
    struct.pack_into(">I", content, content.index(b"mvhd") + 16, movie_hz)
    at = content.index(b"elst") + 8
    assert struct.unpack_from(">I", content, at) == (len(edits),)
    for number, edit in enumerate(edits):
        struct.pack_into(">IiI", content, at + 4 + 12 * number, *edit)
    path.write_bytes(content)
    return path


def test_edits_that_are_no_trimming_are_left_to_ffmpeg(ffmpeg, tmp_path):
    path = made(ffmpeg, tmp_path / "a.m4a", 16_000, "-c:a", "aac")
    assert part_of(path) == SoundPart(PACKET, 16_000, 16_000, None)
    for edits, part in {
        (500, 2_048, 0x10000): SoundPart(2_048, 8_000, 16_000, None),
        (0, 2_048, 0x10000): SoundPart(2_048, None, 16_000, None),
        (999, PACKET, 0x10000): SoundPart(PACKET, 15_984, 16_000, None),
        (1_000, PACKET, 0x20000): None,
        (1_000, -1, 0x10000): None,
        (1_000, -7, 0x10000): None,
    }.items():
        assert part_of(with_edits(path, 1_000, edits)) == part


@pytest.mark.parametrize("samples", [15_992, 16_000, 16_001, 16_007])
@pytest.mark.parametrize("rounded", [np.floor, np.ceil])
def test_an_edit_in_milliseconds_loses_no_sample(ffmpeg, tmp_path, samples, rounded):
    path = made(ffmpeg, tmp_path / "a.m4a", samples, "-c:a", "alac")
    milliseconds = int(rounded(samples / 16))
    assert probe(str(with_edits(path, 1_000, (milliseconds, 0, 0x10000)))).frames == samples


def test_a_file_that_lacks_its_index_is_damaged_with_ffmpeg_and_without(ffmpeg, tmp_path, monkeypatch):
    """As of a recorder that died, or a download that ended: no decoder can do without."""
    path = made(ffmpeg, tmp_path / "a.m4a", 16_000)
    content = path.read_bytes()
    index = content.rindex(b"moov") - 4
    for search in (str(ffmpeg.parent), ""):
        monkeypatch.setenv("PATH", search)
        for length in (9, 28, 100, index // 2, index - 1, index, index + 7, index + 8, index + 100):
            with pytest.raises(ClipError, match=r"its index \(moov\) (is missing|was cut off)") as error:
                probe(content[:length])
            assert error.value.reason == Reason.DAMAGED


def test_one_that_was_cut_off_behind_its_index_is_used_as_far_as_it_goes(ffmpeg, tmp_path):
    path = made(ffmpeg, tmp_path / "a.m4a", 30_007, "-c:a", "aac", "-movflags", "faststart")
    whole = decode(str(path), probe(str(path)))
    os.truncate(path, path.stat().st_size * 2 // 3)
    info = probe(str(path))
    assert info.truncated
    assert 10_000 < info.frames < 25_000
    assert np.array_equal(decode(str(path), info)[:-PACKET], whole[: info.frames - PACKET])


def test_a_video_without_sound_is_named_without_ffmpeg_too(ffmpeg, tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    subprocess.run([ffmpeg, "-v", "error", "-f", "lavfi", "-i", "color=size=16x16:duration=1", path], check=True)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ClipError, match="there is no sound track in this video"):
        probe(str(path))


def test_an_index_may_say_anything(tmp_path, ffmpeg):
    """It is read in this process: no bytes of it may end that, or take long."""
    content = made(ffmpeg, tmp_path / "a.m4a", 2_000).read_bytes()
    random = np.random.default_rng(0)
    index = content.rindex(b"moov")
    for _ in range(300):
        spoiled = bytearray(content)
        for at in random.integers(index - 4, len(content), 3):
            spoiled[at] = random.choice([0, 1, 0x7F, 0xFF, random.integers(256)])
        (tmp_path / "b.m4a").write_bytes(spoiled)
        try:
            part = part_of(tmp_path / "b.m4a")
        except ClipError:
            continue
        if part is not None:
            for decoded in (0, 1, 5_000):
                first, frames = part.frames(decoded, 16_000)
                assert 0 <= first <= first + frames <= decoded
    nested = b"\0\0\0\x10trak\x7f\xff\xff\xffmdia" * 20_000  # each says that it holds all that follow
    (tmp_path / "c.m4a").write_bytes(box(b"ftyp", b"M4A ") + box(b"moov", nested))
    assert part_of(tmp_path / "c.m4a") is None


def index_of(*boxes: bytes) -> bytes:
    """A file with an index of one sound track, in which further boxes are."""
    clock = bytes(12) + struct.pack(">II", 1_000, 1_000) + bytes(80)
    media = box(b"mdia", box(b"mdhd", clock), box(b"hdlr", bytes(8), b"soun", bytes(12)))
    return box(b"ftyp", b"M4A ") + box(b"moov", box(b"mvhd", clock), box(b"trak", media, *boxes))


EDIT = bytes(4) + struct.pack(">IIiI", 1, 500, 250, 0x10000)


@pytest.mark.parametrize("size", [2**63 - 21, 2**63 - 5, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_box_of_an_impossible_size_is_damage_with_ffmpeg_and_without(ffmpeg, size, monkeypatch):
    content = struct.pack(">I4sQ", 1, b"ftyp", size) + bytes(100)
    for search in (str(ffmpeg.parent), ""):
        monkeypatch.setenv("PATH", search)
        with pytest.raises(ClipError, match=r"its index \(moov\) is missing") as error:
            probe(content)
        assert error.value.reason == Reason.DAMAGED


@pytest.mark.parametrize("names", [(b"edts", b"elst"), (b"udta", b"meta", b"ilst", b"----")])
def test_a_box_that_is_too_small_for_what_is_in_it_holds_nothing(tmp_path, names):
    path = tmp_path / "a.m4a"
    path.write_bytes(index_of(box(b"edts", box(b"elst", EDIT))))
    assert part_of(path) == SoundPart(250, 500, 1_000, None)
    for held in range(16):
        inner = struct.pack(">I4s", 28, names[-1]) + bytes(40)
        inner = struct.pack(">I4s", 8 + held, names[-2]) + inner
        for name in reversed(names[:-2]):
            inner = box(name, inner)
        path.write_bytes(index_of(inner))
        assert part_of(path) is None


def test_whatever_sizes_the_boxes_say_the_index_is_read_to_its_end(tmp_path):
    content = index_of(box(b"edts", box(b"elst", EDIT)), gapless_tag(1, 2, 3)) + gapless_tag(1, 2, 3)
    names = (b"ftyp", b"moov", b"mvhd", b"trak", b"mdia", b"mdhd", b"hdlr", b"edts", b"elst", b"udta", b"meta", b"ilst")
    places = [content.index(name) - 4 for name in names]
    long_sizes = (0, 15, 16, 17, 64, 2**31, 2**63 - len(content), 2**63 - 5, 2**63 - 1, 2**63, 2**64 - 1)
    random = np.random.default_rng(0)
    path = tmp_path / "a.m4a"
    for _ in range(500):
        spoiled = bytearray(content)
        for at in random.choice(places, 2, replace=False):
            if random.integers(2):
                struct.pack_into(">I", spoiled, at, random.choice([0, 2, 7, 8, 12, 40, 2**31, 2**32 - 1]))
            else:
                struct.pack_into(">I", spoiled, at, 1)
                struct.pack_into(">Q", spoiled, at + 8, long_sizes[random.integers(len(long_sizes))])
        path.write_bytes(spoiled)
        try:
            part_of(path)
        except ClipError as error:
            assert error.reason in (Reason.DAMAGED, Reason.UNSUPPORTED_CODEC)
