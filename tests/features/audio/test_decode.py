import csv
import errno
import io
import os
import shutil
import struct
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import features.audio.decoder_client
import features.audio.sound_file
from features.audio.decode import decode, file_error, probe, probe_plain
from features.errors import ClipError, Reason
from features.frontend.clip import clip_waveform
from features.frontend.presets import preset
from features.frontend.windows import window_waveforms
from tests.conftest import DATA
from tests.features.examples import STFT
from tests.signals import chirp, film, noise, sine, write_wav

SAMPLES = np.array([0, 1, -1, 32767, -32768, 12345, -12345, 256, -257, 2], "<i2")


def chunk(name: bytes, body: bytes, padded: bool = True) -> bytes:
    return name + struct.pack("<I", len(body)) + body + (b"\0" if padded and len(body) % 2 else b"")


def form(channels: int = 1, rate_hz: int = 16_000, tag: int = 1, bits: int = 16) -> bytes:
    frame_bytes = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, bits))


GUID = bytes.fromhex("0100000000001000800000aa00389b71")  # of PCM


def extended(header: bytes, valid_bits: int | None = None, guid: bytes = GUID) -> bytes:
    """The chunk `fmt ` of an extensible WAV, of one that is not."""
    _, *fields = struct.unpack("<HHIIHH", header[8:])
    more = struct.pack("<HHI", 22, fields[-1] if valid_bits is None else valid_bits, 0)
    return chunk(b"fmt ", struct.pack("<HHIIHH", 0xFFFE, *fields) + more + guid)


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def wav(channels: int = 1, rate_hz: int = 16_000, samples: np.ndarray = SAMPLES) -> bytes:
    return riff(form(channels, rate_hz), chunk(b"data", samples.tobytes()))


def encoded(samples: np.ndarray, file_format: str, subtype: str, rate_hz: int = 16_000) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, rate_hz, format=file_format, subtype=subtype)
    return content.getvalue()


def without_length(flac: bytes) -> bytes:
    """A FLAC as one that was streamed: the 36 bits that hold the number of its samples are zero."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


def soundfile_big_endian(samples: np.ndarray) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, 16_000, format="WAV", subtype="PCM_16", endian="BIG")
    return content.getvalue()


def soundfiles(content: bytes) -> tuple[np.ndarray, int]:
    return soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)


def same_as_soundfile(content: bytes) -> None:
    expected, rate_hz = soundfiles(content)
    info = probe(content)
    samples = decode(content, info)
    assert (info.frames, info.channels, info.rate_hz) == (*expected.shape, rate_hz)
    assert samples.dtype == np.float32
    assert samples.shape == expected.shape
    assert np.array_equal(samples.view(np.uint32), expected.view(np.uint32))


def reason_of(content: bytes | str) -> tuple[str, Reason]:
    with pytest.raises(ClipError) as error:
        clip_waveform(content, STFT)
    assert error.value.message
    return error.value.stage, error.value.reason


@given(
    sample_bytes=st.sampled_from([2, 3, 4]),
    extensible=st.booleans(),
    channels=st.integers(1, 4),
    frames=st.integers(1, 40),
    rate_hz=st.sampled_from([100, 8_000, 16_000, 44_100, 768_000]),
    before=st.lists(
        st.tuples(st.sampled_from([b"LIST", b"JUNK", b"bext", b"cue "]), st.binary(max_size=9)), max_size=2
    ),
    after=st.lists(st.tuples(st.sampled_from([b"LIST", b"id3 "]), st.binary(max_size=9)), max_size=2),
    seed=st.integers(0, 9),
)
def test_plain_pcm_is_read_as_soundfile_reads_it(
    sample_bytes, extensible, channels, frames, rate_hz, before, after, seed
):
    samples = np.random.default_rng(seed).bytes(frames * channels * sample_bytes)
    header = form(channels, rate_hz, bits=8 * sample_bytes)
    content = riff(
        *(chunk(*parts) for parts in before),
        extended(header) if extensible else header,
        chunk(b"data", samples),
        *(chunk(*parts) for parts in after),
    )
    assert probe_plain(content, len(content)) is not None
    same_as_soundfile(content)


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_extreme_samples_of_any_width_are_soundfiles(bits):
    most = 2 ** (bits - 1)
    values = {0, 1, most - 1, most // 2, most // 2 + 1, 2**24 % most, (2**24 + 1) % most, (2**24 + 3) % most}
    both = sorted({*values, *(-value for value in values), -most})
    samples = b"".join(value.to_bytes(bits // 8, "little", signed=True) for value in both)
    content = riff(form(bits=bits), chunk(b"data", samples))
    assert probe_plain(content, len(content)) is not None
    same_as_soundfile(content)
    info = probe(content)
    assert decode(content, info)[:, 0].tolist() == [float(np.float32(value)) / most for value in both]


@pytest.mark.parametrize(
    "header",
    [
        extended(form(bits=24), valid_bits=20),
        extended(form(bits=24), guid=b"\x03" + GUID[1:]),
        extended(form(bits=24), guid=GUID[:-1] + b"\0"),
        form(bits=24)[:-4] + struct.pack("<HH", 4, 24),  # in four bytes each
        form(tag=3, bits=32),
        form(bits=8),
    ],
)
def test_samples_that_are_no_plain_integers_are_left_to_soundfile(no_ffmpeg, header):
    content = riff(header, chunk(b"data", bytes(range(48))))
    assert probe_plain(content, len(content)) is None
    try:
        expected = soundfiles(content)[0]
    except soundfile.LibsndfileError:
        assert reason_of(content)[0] == "decode"
        return
    if np.isfinite(expected).all():
        same_as_soundfile(content)


CHUNK_NAMES = st.sampled_from(
    [b"LIST", b"JUNK", b"bext", b"cue ", b"fact", b"id3 ", b"PEAK", b"smpl", b"abcd", b"ds64"]
)
SIZES = st.one_of(st.none(), st.sampled_from([0, 1, 7, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]), st.integers(0, 200))


@st.composite
def careless_wavs(draw) -> bytes:
    """WAVs of PCM as careless programs leave them, of which some are plain and some are not WAVs any more."""
    channels = draw(st.integers(1, 3))
    samples = draw(st.binary(max_size=60))
    width = draw(st.sampled_from([2, 2, 3, 4]))
    samples += bytes(-len(samples) % draw(st.sampled_from([width * channels] * 4 + [1, 2])))
    frame_bytes = draw(st.sampled_from([width * channels] * 8 + [1, 2, 3, 4, 0]))
    form_bytes = struct.pack("<HHIIHH", draw(st.sampled_from([1] * 8 + [3, 0xFFFE, 6])), channels,
                             draw(st.sampled_from([100, 8_000, 16_000, 44_100, 768_000])), 32_000, frame_bytes,
                             draw(st.sampled_from([8 * width] * 8 + [8, 12, 15, 24])))  # fmt: skip
    more = [b"\0\0", b"\x16\0" + bytes(22), struct.pack("<HHI", 22, 8 * width, 0) + GUID]
    form_bytes += draw(st.sampled_from([b""] * 4 + more))
    parts = [(b"fmt ", form_bytes), (b"data", samples)]
    for extra in draw(st.lists(st.tuples(CHUNK_NAMES, st.binary(max_size=9)), max_size=3)):
        parts.insert(draw(st.integers(0, len(parts))), extra)
    if draw(st.integers(0, 9)) == 9:
        parts.insert(draw(st.integers(0, len(parts))), draw(st.sampled_from(parts)))
    if draw(st.integers(0, 9)) == 9:
        parts = draw(st.permutations(parts))
    body = b"WAVE"
    for name, content in parts:
        size = draw(SIZES) if draw(st.integers(0, 9)) == 9 else None
        body += name + struct.pack("<I", len(content) if size is None else size) + content
        body += b"\0" if len(content) % 2 and draw(st.integers(0, 9)) < 9 else b""
    size = draw(SIZES) if draw(st.integers(0, 9)) == 9 else None
    more = draw(st.binary(max_size=5)) if draw(st.integers(0, 9)) == 9 else b""
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body + more


@pytest.mark.parametrize("examples", [300, pytest.param(3_000, marks=pytest.mark.endurance)])
def test_whatever_the_header_samples_are_soundfiles(no_ffmpeg, examples):
    @settings(max_examples=examples)
    @given(careless_wavs())
    def check(content: bytes) -> None:
        try:
            expected, _ = soundfiles(content)
        except soundfile.LibsndfileError:
            assert probe_plain(content, len(content)) is None
            assert reason_of(content)[0] == "decode"
            return
        if probe(content).size_note:  # it believes a size of 0, whatever lies behind
            assert len(expected) == 0
        elif np.isfinite(expected).all():
            same_as_soundfile(content)

    check()


def test_many_unusual_headers_are_read_by_hand_and_many_are_not():
    """Else the test above would compare soundfile with itself."""
    found = []

    @settings(max_examples=200)
    @given(careless_wavs())
    def look(content):
        found.append(probe_plain(content, len(content)) is not None)

    look()
    assert 0.05 < np.mean(found) < 0.9


DATA_CHUNK = chunk(b"data", SAMPLES.tobytes())
UNUSUAL_HEADERS = {
    "no samples": riff(form(), chunk(b"data", b"")),
    "half a frame": riff(form(2), chunk(b"data", SAMPLES[:5].tobytes())),
    "half a sample": riff(form(), chunk(b"data", SAMPLES.tobytes()[:-1])),
    "no pad byte": riff(form(), chunk(b"data", SAMPLES.tobytes()[:-1], padded=False)),
    "a pad byte that the size leaves out": riff(form(), DATA_CHUNK, b"\0", size=36 + SAMPLES.nbytes),
    "size zero": riff(form(), DATA_CHUNK, size=0),
    "size too large": riff(form(), DATA_CHUNK, size=10_000),
    "streamed": riff(form(), b"data\xff\xff\xff\xff" + SAMPLES.tobytes(), size=0xFFFFFFFF),
    "data longer than the file": riff(form(), b"data" + struct.pack("<I", 1_000) + SAMPLES.tobytes()),
    "bytes after the end": wav() + b"abcdefg",
    "fmt of 18 bytes": riff(chunk(b"fmt ", form()[8:] + b"\0\0"), DATA_CHUNK),
    "extensible": encoded(sine(440, 100), "WAVEX", "PCM_16"),
    "header beyond the first 4096 bytes": riff(form(), chunk(b"JUNK", b"j" * 5_000), DATA_CHUNK),
    "block align that contradicts the channels": riff(form()[:-4] + b"\4\0\x10\0", DATA_CHUNK),
    "8 bit": riff(form(bits=8), DATA_CHUNK),
    "24 bit": riff(form(bits=24), chunk(b"data", SAMPLES.tobytes() + b"\0")),
    "float": encoded(sine(440, 100), "WAV", "FLOAT"),
    "big-endian": encoded(sine(440, 100), "AIFF", "PCM_16"),
    "rf64": encoded(sine(440, 100), "RF64", "PCM_16"),
}


@pytest.mark.parametrize("content", UNUSUAL_HEADERS.values(), ids=UNUSUAL_HEADERS)
def test_unusual_headers_are_read_as_soundfile_reads_them(content):
    same_as_soundfile(content)


@pytest.mark.parametrize(
    "content",
    [
        riff(form(tag=3), DATA_CHUNK),
        riff(form(channels=0), DATA_CHUNK),
        riff(form(rate_hz=0), DATA_CHUNK),
        riff(form(), form(), DATA_CHUNK),
        riff(DATA_CHUNK, form()),
        riff(form()),
        riff(form(), chunk(b"JUNK", b"abc", padded=False), DATA_CHUNK),
        riff(form(), chunk(b"data", b"OggS" + bytes(4_000))),  # samples that libsndfile takes for another file in it
        riff(form(), chunk(b"data", b"wvpk")),
        wav()[:11],
        b"RIFX" + wav()[4:],
        b"",
    ],
)
def test_what_is_not_plain_is_left_to_soundfile(no_ffmpeg, content):
    assert probe_plain(content, len(content)) is None
    try:
        soundfiles(content)
    except soundfile.LibsndfileError:
        assert reason_of(content)[0] == "decode"
    else:
        same_as_soundfile(content)


def real_files(folder: str) -> list:
    if not DATA:
        return [folder]
    with open(os.path.join(DATA, folder, "INDEX.tsv"), encoding="utf-8", newline="") as file:
        return [pytest.param(row, id=row["file"]) for row in csv.DictReader(file, delimiter="\t")]


@pytest.mark.data
@pytest.mark.parametrize("row", real_files("odd_audio"))
@pytest.mark.parametrize("path_with", ["ffmpeg", "no_ffmpeg"])
def test_real_damaged_files(data, row, path_with, request):
    request.getfixturevalue(path_with)
    path = str(data / "odd_audio" / row["file"])
    if row["expected"].startswith("decoder-dependent"):
        if path_with == "ffmpeg":
            info = probe(path)
            samples = decode(path, info)
            assert samples.size == int(row["ffmpeg"].split()[1])
            assert not info.truncated
        else:
            with pytest.raises(ClipError, match="an ffmpeg on the PATH may decode it, and there is none") as error:
                probe(path)
            assert error.value.reason == Reason.UNSUPPORTED_CODEC
        return
    if not row["soundfile"].startswith("ok"):
        assert row["expected"] == "error"
        stage, reason = reason_of(path)
        assert stage == "decode"
        assert reason in (Reason.NOT_AUDIO, Reason.UNSUPPORTED_CODEC, Reason.DAMAGED)
        return
    info = probe(path)
    if row["file"] == "made__yes_float_nan_inf.wav":
        with pytest.raises(ClipError) as error:
            decode(path, info)
        assert error.value.reason == Reason.NOT_FINITE
        return
    # garbage.mp3 promises 83 million frames.
    expected, rate_hz = soundfile.read(path, frames=500_000, dtype="float32", always_2d=True)
    samples = decode(path, info, 0, 500_000)
    assert (info.channels, info.rate_hz) == (expected.shape[1], rate_hz)
    assert np.array_equal(samples.view(np.uint32), expected.view(np.uint32))
    if row["expected"].startswith("empty"):
        assert reason_of(path) == ("decode", Reason.EMPTY)


@pytest.mark.data
def test_real_plain_files_take_the_fast_path(data):
    paths = sorted((data / "speech_commands_8words" / "yes").glob("*.wav"))[:100]
    for path in [*paths, *sorted((data / "fsdd").rglob("*.wav"))[:100]]:
        content = path.read_bytes()
        assert probe_plain(content, len(content)) is not None
        same_as_soundfile(content)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("made__text.wav", Reason.NOT_AUDIO),
        ("audiomentations__testing.m4a", Reason.UNSUPPORTED_CODEC),
        ("made__channels_zero.wav", Reason.DAMAGED),
        ("made__header_only_12.wav", Reason.DAMAGED),
        ("cryptix__headers_zerosamples.wav", Reason.EMPTY),
        ("made__yes_float_nan_inf.wav", Reason.NOT_FINITE),
    ],
)
def test_reasons_of_real_files(data, no_ffmpeg, name, reason):
    assert reason_of(str(data / "odd_audio" / name)) == ("decode", reason)


@pytest.mark.data
@pytest.mark.parametrize("name", ["opensoundscape__empty_2c.wav", "scipy__test-44100Hz-le-1ch-4bytes-early-eof.wav"])
def test_real_truncated_files_are_seen_to_be(data, name):
    assert probe(str(data / "odd_audio" / name)).truncated


CONTENTS = {
    "plain wav": wav(2, samples=np.tile(SAMPLES, 20)),
    "wav 24 bit": encoded(noise(100), "WAV", "PCM_24"),
    "wav 32 bit": encoded(noise(200).reshape(-1, 2), "WAV", "PCM_32"),
    "float wav": encoded(noise(100), "WAV", "FLOAT"),
    "flac": encoded(noise(100), "FLAC", "PCM_16"),
    "ogg": encoded(noise(100), "OGG", "VORBIS"),
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("start", [0, 1, 50, 99, 100])
@pytest.mark.parametrize("frames", [0, 1, 49, 50, 51, None])
def test_a_part_is_the_same_part_of_the_whole(content, start, frames):
    info = probe(content)
    assert info.frames == 100
    whole = decode(content, info)
    part = decode(content, info, start, frames)
    assert np.array_equal(part, whole[start:][:frames])
    assert part.shape == (min(100 - start, 100 if frames is None else frames), info.channels)


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("start", [101, 10_000])
def test_beyond_its_end_a_file_has_no_frames(content, start):
    info = probe(content)
    assert decode(content, info, start, 5).shape == (0, info.channels)


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_file_is_read_as_its_content_is(tmp_path, content):
    path = os.fsencode(tmp_path) + b"/\xff\xc3\xa4 \n.wav"
    with open(path, "wb") as file:
        file.write(content)
    source = os.fsdecode(path)
    assert probe(source) == probe(content)
    assert np.array_equal(decode(source, probe(source)), decode(content, probe(content)))
    assert np.array_equal(decode(source, probe(source), 7, 20), decode(content, probe(content), 7, 20))


# Files that no seek works in.
ONE_WAY = {
    "gsm in wav": encoded(chirp(30_000, 8_000), "WAV", "GSM610", 8_000),
    "g721 in au": encoded(chirp(30_000, 8_000), "AU", "G721_32", 8_000),
    "adpcm of nms": encoded(chirp(30_000, 8_000), "WAV", "NMS_ADPCM_32", 8_000),
    "flac of unknown length": without_length(encoded(chirp(30_000), "FLAC", "PCM_16")),
}


@pytest.mark.parametrize("content", ONE_WAY.values(), ids=ONE_WAY)
@pytest.mark.parametrize("block_samples", [1_000, 2**20])
def test_a_part_of_what_is_read_in_one_way_only_begins_at_its_start(monkeypatch, content, block_samples):
    monkeypatch.setattr(features.audio.sound_file, "_BLOCK_SAMPLES", block_samples)
    info = probe(content)
    whole = decode(content, info)
    assert len(whole) == info.frames >= 30_000
    for start in (0, 1, 999, 1_000, 20_000, info.frames - 1, info.frames, info.frames + 1):
        assert np.array_equal(decode(content, info, start), whole[start:])
        assert np.array_equal(decode(content, info, start, 500), whole[start : start + 500])


@pytest.mark.parametrize("frames", [1, 4_095, 4_096, 100_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_flac_of_unknown_length_is_what_it_was_before_its_length_was_lost(tmp_path, frames, channels):
    whole = encoded(noise(frames * channels).reshape(frames, channels), "FLAC", "PCM_16")
    content = without_length(whole)
    assert probe(content) == replace(probe(whole), end_unverified=False)
    assert np.array_equal(decode(content, probe(content)), decode(whole, probe(whole)))
    path = tmp_path / "a.flac"
    path.write_bytes(content)
    assert probe(str(path)) == probe(content)


def test_a_flac_of_unknown_length_that_was_cut_is_used_as_far_as_it_goes():
    whole = encoded(noise(100_000), "FLAC", "PCM_16")
    cut = without_length(whole)[: len(whole) // 2]
    info = probe(cut)
    assert info.truncated
    assert 40_000 < info.frames < 60_000
    assert np.array_equal(decode(cut, info), soundfiles(whole)[0][: info.frames])
    assert clip_waveform(cut, STFT)[2] == "truncated"


FORMATS = {
    "plain wav": wav(samples=np.tile(SAMPLES, 800)),
    "stereo wav": wav(2, samples=np.tile(SAMPLES, 1_600)),
    **{
        f"{file_format} {subtype}": encoded(chirp(8_000), file_format, subtype)
        for file_format, subtypes in {
            "WAV": ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"],
            "WAVEX": ["PCM_16", "PCM_24", "FLOAT"],
            "RF64": ["PCM_16", "PCM_24"],
            "W64": ["PCM_16", "PCM_24", "FLOAT"],
            "AIFF": ["PCM_16", "PCM_24", "FLOAT", "ULAW"],
            "AU": ["PCM_16", "PCM_24", "FLOAT", "ULAW"],
            "CAF": ["PCM_16", "PCM_24", "FLOAT", "ALAC_16"],
            "FLAC": ["PCM_16", "PCM_24"],
            "OGG": ["VORBIS"],
            "MP3": ["MPEG_LAYER_III"],
        }.items()
        for subtype in subtypes
    },
    "OGG OPUS": encoded(chirp(24_000, 48_000), "OGG", "OPUS", 48_000),
    "RIFX": soundfile_big_endian(chirp(8_000)),
}


@pytest.mark.parametrize("content", FORMATS.values(), ids=FORMATS)
def test_every_format_is_read_as_soundfile_reads_it_and_is_whole(content):
    same_as_soundfile(content)
    info = probe(content)
    assert not info.truncated
    assert info.frames >= 8_000
    assert clip_waveform(content, STFT)[2] == ""


@pytest.mark.parametrize("channels", [1, 2, 6, 64])
@pytest.mark.parametrize(("file_format", "subtype"), [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("CAF", "FLOAT")])
def test_channels(channels, file_format, subtype):
    content = encoded(noise(100 * channels).reshape(100, channels), file_format, subtype)
    same_as_soundfile(content)
    assert probe(content).channels == channels


@pytest.mark.parametrize("rate_hz", [100, 8_000, 11_025, 96_000, 192_000, 768_000])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_rates(rate_hz, subtype):
    content = encoded(noise(20_000), "WAV", subtype, rate_hz)
    same_as_soundfile(content)
    assert clip_waveform(content, STFT)[1] == 20_000 / rate_hz


@pytest.mark.parametrize("rate_hz", [0, 1, 99, 768_001, 2**31 - 1, 2**32 - 1])
@pytest.mark.parametrize("bits", [16, 24])
def test_rates_that_no_recording_has_are_damage(rate_hz, bits):
    content = riff(form(bits=bits)[:12] + struct.pack("<IIHH", rate_hz, 0, bits // 8, bits), DATA_CHUNK)
    assert reason_of(content) == ("decode", Reason.DAMAGED)


# What shows that it was cut off before it is decoded. CAF is refused by soundfile then, and by its decoder ffmpeg not.
SELF_TELLING = [name for name in FORMATS if not name.startswith(("FLAC", "MP3", "CAF", "OGG"))]


@pytest.mark.parametrize("name", SELF_TELLING)
def test_a_file_that_was_cut_off_is_used_as_far_as_it_goes_and_says_so(name):
    cut = FORMATS[name][: len(FORMATS[name]) // 2]
    info = probe(cut)
    assert info.truncated
    assert 2_000 < info.frames < 6_000
    same_as_soundfile(cut)
    assert clip_waveform(cut, STFT)[2] == "truncated"


def test_chunks_that_end_beyond_all_files_are_the_end(tmp_path):
    """Sizes near 2**64, which no file position can be."""
    w64 = b"riff" + bytes(20) + b"wave" + bytes(12) + b"abcd" + bytes(12) + b"\xff" * 8
    assert reason_of(w64) == ("decode", Reason.DAMAGED)
    caf = b"caff\0\1\0\0abcd\x7f" + b"\xff" * 7 + bytes(64)
    assert reason_of(caf) == ("decode", Reason.DAMAGED)
    whole = FORMATS["W64 PCM_16"]
    at = whole.index(b"data", 40)
    damaged = whole[:at] + b"levl" + whole[at + 4 : at + 16] + struct.pack("<Q", 2**63 + 24) + whole[at:]
    same_as_soundfile(damaged)


def test_a_size_that_no_file_has_makes_up_no_sound():
    """libsndfile makes days of silence of a chunk whose size is nearly 2^64; there is what the file holds."""
    whole = encoded(sine(440.0, 7_000), "W64", "GSM610", 44_100)
    damaged = bytearray(whole)
    at = damaged.index(b"data\xf3\xac") + 16
    damaged[at : at + 8] = struct.pack("<q", 0x5AE - 2**40)
    info = probe(bytes(damaged))
    assert (info.frames, info.truncated) == (probe(whole).frames, True)
    np.testing.assert_array_equal(decode(bytes(damaged), info), decode(whole, probe(whole)))


def test_a_small_file_of_many_frames_at_a_low_rate_is_not_taken_whole():
    """A FLAC of silence: 3 kB that would be 880 MB at the rate of the spec."""
    content = encoded(np.zeros(1_000_000, np.float32), "FLAC", "PCM_16", 100)
    with pytest.raises(ClipError) as error:
        clip_waveform(content, preset("urbansound-mfcc"))
    assert (error.value.stage, error.value.reason) == ("fit", Reason.OUT_OF_MEMORY_GUARD)
    with pytest.raises(ClipError):
        list(window_waveforms(content, probe(content), preset("urbansound-mfcc"), 0, 1))
    assert len(clip_waveform(content, STFT)[0]) == 16_000


@pytest.mark.filterwarnings("error")
def test_samples_whose_mixture_is_not_finite_are_a_reason():
    for samples, rate_hz in (
        (np.full((16_000, 2), 3e38), 16_000),
        (3.4e38 * np.sign(np.sin(np.arange(44_100) * 0.3)), 44_100),
    ):
        content = encoded(samples, "WAV", "FLOAT", rate_hz)
        with pytest.raises(ClipError) as error:
            clip_waveform(content, STFT)
        assert (error.value.stage, error.value.reason) == ("fit", Reason.NOT_FINITE)


def test_an_mp3_without_a_whole_frame_says_so():
    with pytest.raises(ClipError, match="no frame of sound can be found") as error:
        probe(FORMATS["MP3 MPEG_LAYER_III"][:100])
    assert error.value.reason == Reason.DAMAGED


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9])
def test_a_flac_that_was_cut_off_is_used_up_to_its_last_whole_frame(subtype, kept):
    whole = encoded(noise(40_000), "FLAC", subtype)
    samples = soundfiles(whole)[0]
    cut = whole[: int(len(whole) * kept)]
    info = probe(cut)
    assert info.frames == 40_000
    part = decode(cut, info)
    assert 40_000 * kept - 4_608 < len(part) < 40_000 * kept + 256
    assert np.array_equal(part, samples[: len(part)])
    # From any place on there is what the whole file has there, or nothing.
    for start in (1, 4_095, len(part) // 2, len(part) - 1):
        assert np.array_equal(decode(cut, info, start), samples[start : len(part)])
    with pytest.raises(ClipError) as error:
        decode(cut, info, len(part))
    assert error.value.reason == Reason.DAMAGED
    # A clip that ends before has the warning too.
    assert clip_waveform(cut, replace(STFT, clip_seconds=0.1))[2] == "truncated"
    assert clip_waveform(whole, replace(STFT, clip_seconds=0.1))[2] == ""
    long = replace(STFT, clip_seconds=2.5)
    waveform, seconds, warning = clip_waveform(cut, long)
    assert (seconds, warning) == (2.5, "truncated")
    assert np.array_equal(waveform[: len(part)], part[:, 0])
    assert not waveform[len(part) :].any()


@pytest.mark.parametrize(
    ("file_format", "subtype", "rate_hz"),
    [("OGG", "VORBIS", 16_000), ("OGG", "OPUS", 48_000), ("MP3", "MPEG_LAYER_III", 16_000)],
)
def test_a_lossy_file_that_was_cut_off_is_used_as_far_as_it_goes_and_says_so(file_format, subtype, rate_hz):
    samples = 0.3 * chirp(20 * rate_hz, rate_hz)
    content = io.BytesIO()
    with soundfile.SoundFile(content, "w", rate_hz, 1, subtype=subtype, format=file_format) as file:
        for first in range(0, len(samples), rate_hz):  # libsndfile fails on much Vorbis at once
            file.write(samples[first : first + rate_hz])
    cut = content.getvalue()[: len(content.getvalue()) // 2]
    part = decode(cut, probe(cut))
    assert len(samples) * 0.1 < len(part) < len(samples) * 0.9
    assert clip_waveform(cut, replace(STFT, clip_seconds=20.0))[2] == "truncated"
    assert clip_waveform(cut, replace(STFT, clip_seconds=0.1))[2] == "truncated"
    assert clip_waveform(content.getvalue(), replace(STFT, clip_seconds=0.1))[2] == ""


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9])
def test_a_flac_that_is_damaged_within_is_used_up_to_there_and_says_so(at):
    whole = bytearray(encoded(noise(40_000), "FLAC", "PCM_16"))
    samples = soundfiles(bytes(whole))[0]
    for place in range(int(len(whole) * at), int(len(whole) * at) + 40):
        whole[place] ^= 0xFF
    damaged = bytes(whole)
    part = decode(damaged, probe(damaged))
    assert len(part) < 40_000
    sound = min(len(part), int(40_000 * at) - 4_608)
    assert np.array_equal(part[: max(0, sound)], samples[: max(0, sound)])
    assert clip_waveform(damaged, replace(STFT, clip_seconds=2.5))[2] == "truncated"


@pytest.mark.parametrize("ending", ["wav", "mp3", "flac", "au", "snd", "gsm", "vox", "sf", "raw", "ogg"])
def test_no_name_makes_a_picture_a_sound(tmp_path, ending):
    path = tmp_path / f"picture.{ending}"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 20)
    assert reason_of(str(path)) == ("decode", Reason.NOT_AUDIO)


def test_an_mp3_with_rubbish_before_it_is_found_by_its_name(tmp_path):
    content = b"rubbish" * 100 + encoded(chirp(8_000), "MP3", "MPEG_LAYER_III")
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    assert np.array_equal(decode(str(path), probe(str(path))), samples)
    shutil.copy(path, tmp_path / "a.wav")
    assert reason_of(str(tmp_path / "a.wav")) == ("decode", Reason.NOT_AUDIO)


@pytest.mark.parametrize("cut", [0, 1, 11, 12, 20, 36, 43, 44, 45, 46])
def test_no_cut_of_a_wav_is_more_than_a_clip_error(cut):
    content = wav()[:cut]
    try:
        frames = len(soundfiles(content)[0])
    except soundfile.LibsndfileError:
        assert reason_of(content) == (
            "decode",
            Reason.DAMAGED if cut >= 4 else Reason.EMPTY if not cut else Reason.NOT_AUDIO,
        )
        return
    same_as_soundfile(content)
    if not frames:
        assert reason_of(content) == ("decode", Reason.EMPTY)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 500, 999])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_values_that_are_not_finite_are_a_reason(value, at, subtype):
    samples = noise(1000).astype(np.float64)
    samples[at] = value
    assert reason_of(encoded(samples, "WAV", subtype)) == ("decode", Reason.NOT_FINITE)


@pytest.mark.filterwarnings("error")
def test_opposite_infinities_are_a_reason_and_huge_values_are_not():
    assert reason_of(encoded(np.array([np.inf, -np.inf]), "WAV", "FLOAT")) == ("decode", Reason.NOT_FINITE)
    same_as_soundfile(encoded(np.full(1000, 3e38), "WAV", "FLOAT"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"hello, this is text\n", Reason.NOT_AUDIO),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, Reason.NOT_AUDIO),
        (b"\0" * 5_000, Reason.NOT_AUDIO),
        (b"\0\0\0\x20ftypM4A " + b"\0" * 50, Reason.DAMAGED),
        (film(), Reason.UNSUPPORTED_CODEC),
        (b"\x30\x26\xb2\x75" + b"\0" * 50, Reason.UNSUPPORTED_CODEC),
        (b"\x1a\x45\xdf\xa3" + b"\0" * 50, Reason.UNSUPPORTED_CODEC),
        (b"fLaC" + b"\xff" * 100, Reason.DAMAGED),
        (b"OggS" + b"\0" * 100, Reason.DAMAGED),
        (b"RIFF\x10\0\0\0WAVEfmt ", Reason.DAMAGED),
        (riff(form(), chunk(b"data", b"")), Reason.EMPTY),
    ],
)
def test_reasons(no_ffmpeg, content, reason):
    assert reason_of(content) == ("decode", reason)


def test_a_file_that_is_not_there_or_no_file(tmp_path):
    write_wav(tmp_path / "a.wav", sine(440, 100))
    assert reason_of(str(tmp_path / "b.wav")) == ("decode", Reason.MISSING)
    assert reason_of(str(tmp_path / "a.wav" / "b.wav")) == ("decode", Reason.MISSING)
    assert reason_of(str(tmp_path)) == ("decode", Reason.UNREADABLE)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOENT, Reason.MISSING),
        (errno.ENOTDIR, Reason.MISSING),
        (errno.EACCES, Reason.PERMISSION),
        (errno.EPERM, Reason.PERMISSION),
        (errno.EIO, Reason.UNREADABLE),
        (errno.ESTALE, Reason.UNREADABLE),
    ],
)
def test_errors_of_the_system(number, reason):
    error = file_error(OSError(number, os.strerror(number), "a.wav"))
    assert (error.stage, error.reason, error.message) == ("decode", reason, os.strerror(number))


def test_a_file_that_shrinks_after_it_was_probed(tmp_path):
    path = str(write_wav(tmp_path / "a.wav", sine(440, 1000)))
    info = probe(path)
    os.truncate(path, 1000)
    with pytest.raises(ClipError) as error:
        decode(path, info)
    assert error.value.reason == Reason.VANISHED
    os.unlink(path)
    with pytest.raises(ClipError) as error:
        decode(path, info)
    assert error.value.reason == Reason.MISSING
