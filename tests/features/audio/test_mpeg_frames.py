"""How long an MP3 is whose length no header tells: by its frames, whatever lies before, behind and between them."""

import functools
import io
import struct
import tempfile
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from features.audio.decode import decode, probe
from features.audio.mpeg_frames import MpegSound, find_sounds
from features.audio.mpeg_header import frame_lengths
from features.frontend.clip import clip_waveform
from tests.features.audio.test_decode import chunk, riff
from tests.features.examples import STFT
from tests.signals import chirp, noise

RATES_HZ = (8_000, 16_000, 22_050, 32_000, 44_100, 48_000)


def frame_samples(rate_hz: int) -> int:
    return 1_152 if rate_hz >= 32_000 else 576


@functools.cache
def encoded_frames(rate_hz: int, variable: bool, channels: int = 1) -> tuple[bytes, tuple[bytes, ...]]:
    """Returns an MP3 of noise, silence and a chirp: the frame of its Info or Xing header and the frames of its sound.

    They are told apart by the number of frames and of bytes that the header has, and by where frames can begin.
    """
    mono = np.concatenate([noise(rate_hz // 2), np.zeros(rate_hz, np.float32), 0.5 * chirp(rate_hz, rate_hz)])
    content, samples = io.BytesIO(), np.repeat(mono[:, None], channels, axis=1)
    level, mode = (0.9, "VARIABLE") if variable else (0.5, "CONSTANT")
    soundfile.write(content, samples, rate_hz, "MPEG_LAYER_III", format="MP3", compression_level=level,
                    bitrate_mode=mode)  # fmt: skip
    whole = content.getvalue()
    sync = whole[:2]
    at = max(whole.find(b"Xing"), whole.find(b"Info"))
    assert int.from_bytes(whole[at + 4 : at + 8], "big") & 3 == 3
    count, size = struct.unpack_from(">II", whole, at + 8)
    assert size == len(whole)
    frames, begin = [], 0
    while begin < len(whole):
        rates = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
        if rate_hz >= 32_000:
            rates = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
        bits = frame_samples(rate_hz) * rates[(whole[begin + 2] >> 4) - 1] * 1_000
        end = begin + bits // 8 // rate_hz + (whole[begin + 2] >> 1 & 1)
        frames.append(whole[begin:end])
        assert frames[-1][:2] == sync
        begin = end
    assert len(frames) == count + 1
    return frames[0], tuple(frames[1:])


def without_header(rate_hz: int = 16_000, variable: bool = True, channels: int = 1) -> bytes:
    return b"".join(encoded_frames(rate_hz, variable, channels)[1])


def is_whole(content: bytes | str, frames: int) -> None:
    info = probe(content)
    assert (info.frames, info.truncated) == (frames, False)
    assert len(decode(content, info)) == frames
    assert clip_waveform(content, replace(STFT, clip_seconds=0.1))[2] != "truncated"
    assert clip_waveform(content, replace(STFT, clip_seconds=5.0))[2] == ""


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("channels", [1, 2])
def test_without_a_header_all_frames_are_used(rate_hz, variable, channels):
    frames = encoded_frames(rate_hz, variable, channels)[1]
    is_whole(b"".join(frames), len(frames) * frame_samples(rate_hz))


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize("count", [2, 3, 4, 5, 30])
def test_of_any_number_of_frames(variable, count):
    content = b"".join(encoded_frames(16_000, variable)[1][-count:])
    info = probe(content)
    assert (info.frames, info.truncated) == (576 * count, False)
    assert len(decode(content, info)) == 576 * count


def test_what_was_read_before_is_what_it_was_and_parts_are_parts_of_the_whole():
    """libsndfile reads the beginning, as far as it guesses; what follows has to be what a guess would not reach."""
    content = without_header(32_000)
    guessed = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0]
    info = probe(content)
    whole = decode(content, info)
    assert len(guessed) < 0.9 * info.frames
    assert np.array_equal(whole[: len(guessed)], guessed)
    assert np.abs(whole[-32_000:]).max() > 0.3  # the chirp at its end
    for start in (1, 1_151, 1_152, 40_000, info.frames - 5_000, info.frames - 1):
        part = decode(content, info, start, 3_000)
        assert part.shape == whole[start : start + 3_000].shape
        assert np.allclose(part, whole[start : start + 3_000], atol=1e-6)


def id3v2(size: int, footer: bool = False) -> bytes:
    length = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    picture = np.random.default_rng(size).bytes(size)
    flags = b"\x10" if footer else b"\0"
    return b"ID3\4\0" + flags + length + picture + (b"3DI\4\0" + flags + length if footer else b"")


def ape(size: int) -> bytes:
    """An APE tag with a picture in it, with its header and its footer."""
    body = np.random.default_rng(size).bytes(size)
    rest = struct.pack("<III", 2_000, size + 32, 1)
    return b"APETAGEX" + rest + b"\0\0\0\xa0" + bytes(8) + body + b"APETAGEX" + rest + b"\0\0\0\x80" + bytes(8)


ID3V1 = b"TAG" + b"title".ljust(125, b"\0")
TAGS = {
    "id3v2": (id3v2(2_000), b""),
    "a cover larger than the sound": (id3v2(200_000), b""),
    "id3v2 twice and padding": (id3v2(100) + id3v2(3_000) + bytes(500), b""),
    "id3v1": (b"", ID3V1),
    "ape and id3v1": (b"", ape(20_000) + ID3V1),
    "lyrics and id3v1": (b"", b"LYRICSBEGININD00002000LYRICS200" + ID3V1),
    "id3v2 with footer, id3v1": (id3v2(1_000, footer=True), ID3V1),
    "id3v2 at the end": (b"", id3v2(5_000, footer=True)),
    "zeros": (b"", bytes(3_000)),
}


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize(("before", "behind"), TAGS.values(), ids=TAGS)
def test_tags_are_no_sound(tmp_path, before, behind, variable):
    frames = len(encoded_frames(44_100, variable)[1])
    path = tmp_path / "a.mp3"  # libsndfile passes over some of them by this name alone
    path.write_bytes(before + without_header(44_100, variable) + behind)
    is_whole(str(path), frames * 1_152)


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_mp3_in_wav(rate_hz, variable):
    frames = encoded_frames(rate_hz, variable)[1]
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, rate_hz, 8_000, 1, 0, 12, 1, 2, 1_152, 1, 1_393)
    fact = chunk(b"fact", struct.pack("<I", frame_samples(rate_hz) * len(frames)))
    content = riff(chunk(b"fmt ", form), fact, chunk(b"data", b"".join(frames)), chunk(b"LIST", bytes(700)))
    is_whole(content, frame_samples(rate_hz) * len(frames))


@pytest.mark.parametrize("missing", [0, 1, 2, 20])
def test_a_vbri_header_is_no_sound_and_says_how_many_frames_there_are(missing):
    header, frames = encoded_frames(44_100, True)
    length = 1_152 // 8 * 64_000 // 44_100
    vbri = header[:2] + b"\x50" + header[3:4] + bytes(32) + b"VBRI" + struct.pack(">HHHII", 1, 0, 75, 0, len(frames))
    content = vbri.ljust(length, b"\0") + b"".join(frames[: len(frames) - missing])
    info = probe(content)
    assert info.frames == len(decode(content, info)) == 1_152 * (len(frames) - missing)
    assert info.truncated == (missing > 1)  # encoders count the header, or do not


@pytest.mark.parametrize("name", ["Xing", "Info"])
def test_a_header_that_names_no_number_of_frames_is_no_sound_either(name):
    header, frames = encoded_frames(44_100, True)
    at = max(header.find(b"Xing"), header.find(b"Info"))
    content = header[:at] + name.encode() + bytes(len(header) - at - 4) + b"".join(frames)
    is_whole(content, 1_152 * len(frames))


@settings(max_examples=60, deadline=None)
@given(variable=st.booleans(), cut=st.floats(0.1, 1.0))
def test_wherever_it_was_cut_off_whole_frames_are_used_and_a_part_of_one_is_a_warning(variable, cut):
    frames = encoded_frames(22_050, variable)[1]
    kept = int(cut * sum(map(len, frames)))
    content = b"".join(frames)[:kept]
    ends = np.cumsum([len(frame) for frame in frames])
    whole = int(np.searchsorted(ends, kept, side="right"))
    info = probe(content)
    assert info.frames == len(decode(content, info)) == 576 * whole
    # A last byte of padding is no loss, and two bytes of a header can be anything.
    lacks_padding = whole < len(ends) and ends[whole] - kept == 1
    assert info.truncated == (kept - ends[whole - 1] > 2 and not lacks_padding)


@pytest.mark.parametrize("rubbish", [1, 50, 900, 3_000])
def test_what_lies_between_frames_is_damage_and_what_can_be_decoded_is_used(rubbish):
    frames = encoded_frames(16_000, False)[1]
    middle = np.random.default_rng(rubbish).integers(0, 255, rubbish, np.uint8).tobytes()  # no byte that begins a frame
    content = b"".join(frames[:40]) + middle + b"".join(frames[40:])
    info = probe(content)
    assert info.truncated
    assert len(decode(content, info)) == info.frames >= 576 * 39
    if rubbish <= 900:  # mpg123 looks no further than 1,024 bytes
        assert info.frames >= 576 * (len(frames) - 3)


def test_a_tag_between_two_files_in_one_is_no_damage():
    frames = encoded_frames(16_000, True)[1]
    is_whole(without_header() + ID3V1 + id3v2(300) + without_header(), 2 * 576 * len(frames))


def test_of_one_with_its_header_nothing_changes():
    header, frames = encoded_frames(44_100, True)
    content = header + b"".join(frames)
    expected = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0]
    assert np.array_equal(decode(content, probe(content)), expected)
    assert probe(content).truncated is False
    assert probe(content[: len(content) // 2]).truncated


def sounds_in(content: bytes, searched: bool = False) -> tuple[MpegSound, ...]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return find_sounds(file.fileno(), 0, len(content), searched)


def made_frame(head: bytes, mark: bytes = b"", at: int = 0) -> bytes:
    """A frame that cannot be decoded, with a mark behind zeros."""
    length = frame_lengths(head)[head]
    return (head + (bytes(at - 4) + mark if mark else b"")).ljust(length, b"\x55")[:length]


LAYER2, LAYER3, LAYER3_MONO, LAYER3_SMALL = (
    bytes.fromhex(head) for head in ("fffda004", "fffb9044", "fffb90c4", "ffe310c4")
)


@pytest.mark.parametrize("head", [LAYER2, LAYER3, LAYER3_MONO, LAYER3_SMALL])
@pytest.mark.parametrize("at", [13, 20, 21, 22, 36, 37])
@pytest.mark.parametrize("mark", [b"Xing", b"Info", b"VBRI"])
def test_a_mark_in_a_frame_is_a_header_wherever_that_is_looked_for_or_nowhere(head, at, mark):
    plain, marked = made_frame(head), made_frame(head, mark, at)
    alone = sounds_in(marked + plain * 9)[0]
    sounds = sounds_in(plain * 10 + marked + plain * 9)
    assert len(sounds) == (2 if alone.length == "told" or alone.headed else 1)
    assert [sound.begin for sound in sounds[1:]] == [len(plain) * (10 + alone.headed)] * (len(sounds) - 1)


PIECES = st.one_of(
    st.builds(
        lambda head, mark, at, times: made_frame(head, mark, at) * times,
        st.sampled_from([LAYER2, LAYER3, LAYER3_MONO, LAYER3_SMALL]),
        st.sampled_from([b"", b"", b"Xing", b"Info\0\0\0\3\0\0\0\5", b"VBRI"]),
        st.sampled_from([13, 21, 36, 5, 23]),
        st.integers(1, 4),
    ),
    st.binary(max_size=40),
    st.builds(lambda size: bytes(size), st.integers(1, 300)),
    st.just(ID3V1),
)


@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(PIECES, max_size=12), cut=st.integers(0, 60), searched=st.booleans())
def test_whatever_the_bytes_are_the_walk_ends_and_goes_forward(pieces, cut, searched):
    content = b"".join(pieces)
    content = content[: max(0, len(content) - cut)]
    sounds = sounds_in(content, searched)
    places = [place for sound in sounds for place in (sound.begin, sound.end)]
    assert places == sorted(places)
    assert all(place <= len(content) for place in places)
    assert len(sounds) == 1 or all(sound.length != "counted" or sound.frames for sound in sounds)


def stating(header: bytes, frames: int, size: int) -> bytes:
    """A Xing or Info header that says something else."""
    at = max(header.find(b"Xing"), header.find(b"Info"))
    return header[: at + 8] + struct.pack(">II", frames, size) + header[at + 16 :]


@pytest.mark.parametrize("kind", ["the same", "zeros", "no counts", "VBRI"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_header_in_front_of_a_whole_file_loses_nothing(kind, times):
    header, frames = encoded_frames(44_100, True)
    whole = header + b"".join(frames)
    at = max(header.find(b"Xing"), header.find(b"Info"))
    more = {
        "the same": header,
        "zeros": stating(header, 0, 0),
        "no counts": header[: at + 4] + bytes(len(header) - at - 4),
        "VBRI": made_frame(header[:4], b"VBRI" + struct.pack(">HHHII", 1, 0, 75, len(whole), len(frames)), 36),
    }[kind] * times
    info = probe(whole)
    alone = decode(whole, info)
    for content, copies in ((more + whole, 1), (id3v2(300) + more + whole, 1), (whole + more + whole, 2)):
        both = probe(content)
        assert (both.frames, both.truncated, both.joined_note) == (copies * info.frames, False, "")
        assert np.array_equal(decode(content, both), np.concatenate([alone] * copies))


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_mono_behind_stereo_without_headers_is_another_recording(rate_hz, channels):
    first, second = (b"".join(encoded_frames(rate_hz, True, each)[1]) for each in (channels, 3 - channels))
    frames = len(encoded_frames(rate_hz, True, channels)[1])
    for between in (b"", ID3V1 + id3v2(400)):
        info = probe(first + between + second)
        assert (info.frames, info.channels, info.truncated) == (frames * frame_samples(rate_hz), channels, False)
        assert info.joined_note.startswith(f"{len(second):,} bytes follow its sound")
        assert len(decode(first + between + second, info)) == info.frames


def test_how_two_channels_are_coded_may_change_within_a_stream():
    frames = [made_frame(LAYER3[:3] + bytes([mode << 6 | 4])) for mode in (0, 1, 1, 0, 2, 1)] * 3
    (sound,) = sounds_in(b"".join(frames))
    assert (sound.length, sound.frames, sound.cut_off) == ("counted", 1_152 * len(frames), False)


@functools.cache
def of_low_rate(mode: str, level: float, rate_hz: int) -> bytes:
    """An MP3 in which silence saves bits that the sound behind it uses."""
    saving = np.where(np.arange(4 * rate_hz) % (rate_hz // 5) < rate_hz // 8, 0.01, 0.8) * noise(4 * rate_hz)
    content = io.BytesIO()
    soundfile.write(content, saving + 0.2 * chirp(4 * rate_hz, rate_hz), rate_hz, "MPEG_LAYER_III", format="MP3",
                    compression_level=level, bitrate_mode=mode)  # fmt: skip
    return content.getvalue()


@pytest.mark.parametrize("headed", [True, False])
@pytest.mark.parametrize(
    ("mode", "level", "rate_hz"),
    [("CONSTANT", 0.999, 44_100), ("CONSTANT", 0.95, 44_100), ("VARIABLE", 0.99, 44_100), ("CONSTANT", 0.99, 16_000)],
)
def test_from_wherever_it_is_read_it_is_what_it_is_in_the_whole(mode, level, rate_hz, headed):
    content, step = of_low_rate(mode, level, rate_hz), frame_samples(rate_hz)
    if not headed:
        content = content[frame_lengths(content[:4])[content[:4]] :]
    assert len(content) * 8 / 4 < 64_000
    info = probe(content)
    whole = decode(content, info)
    places = {step * frame + off for frame in range(1, info.frames // step, 13) for off in (-1, 0, 1)}
    for start in sorted({*places, 0, 8 * 1_152 - 1, 8 * 1_152, 8 * 1_152 + 1, info.frames - 1, info.frames}):
        for length in (1, step + 1):
            part = decode(content, info, start, length)
            assert part.shape == whole[start : start + length].shape
            assert np.allclose(part, whole[start : start + length], atol=1e-5)


@pytest.mark.parametrize(
    ("missing", "behind", "truncated"),
    [
        (0, b"", False),
        (0, ID3V1, False),
        (1, b"", False),  # of padding
        (2, b"", True),
        (300, b"", True),
        (1_500, b"", True),
        (300, ID3V1, True),
        (1_500, ID3V1, True),
    ],
)
def test_its_header_shows_that_a_few_bytes_are_missing(missing, behind, truncated):
    header, frames = encoded_frames(44_100, False)
    content = header + b"".join(frames)
    assert content[-len(frames[-1]) + 2] & 2
    assert probe(content[: len(content) - missing] + behind).truncated is truncated


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("androidx_media__bear-vbr-no-seek-table.mp3", 2.808),
        ("androidx_media__bear-vbr-vbri-header.mp3", 2.808),
        ("huggingface_datasets__test_audio_44100.mp3", 2.508),
        ("beetbox_beets__full.mp3", 1.071),
        ("Borewit_music-metadata__he_32khz.mp3", 5.4),
        ("GalLalouche_jaudiotagger__testV2L2.mp3", 1.296),
        ("beetbox_beets__mpeglayer3.wav", 5.042),
        ("made__streamed_vbr_60s.mp3", 60.048),
    ],
)
def test_real_files_without_a_length_are_used_whole(data, name, seconds):
    path = str(data / "odd_audio_2" / name)
    info = probe(path)
    assert info.frames / info.rate_hz == pytest.approx(seconds, abs=5e-4)
    assert not info.truncated
    assert len(decode(path, info)) == info.frames
