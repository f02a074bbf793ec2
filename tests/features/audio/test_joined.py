"""Files that were joined to one: all is heard where the format says that it is one recording, else it is named."""

import functools
import itertools
import struct
from dataclasses import replace

import numpy as np
import pytest

from features.audio.decode import AudioInfo, decode, decode_part, is_cut_off, probe
from features.audio.ogg_links import find_links
from features.audio.protocol import Decoded
from features.frontend.clip import clip_waveform, decode_clip, fit_clips
from features.frontend.windows import num_windows, window_waveforms
from tests.features.audio.test_decode import encoded, without_length
from tests.features.audio.test_endings import pages
from tests.features.audio.test_mpeg_frames import ID3V1, encoded_frames, id3v2
from tests.features.examples import STFT
from tests.signals import chirp, noise

# What a format that defines chains is encoded by, and its rate.
CHAINED = {
    "vorbis": ("OGG", "VORBIS", 16_000),
    "opus": ("OGG", "OPUS", 48_000),
    "opus at 16 kHz": ("OGG", "OPUS", 16_000),
    "mp3": ("MP3", "MPEG_LAYER_III", 16_000),
    "mp3 at 44.1 kHz": ("MP3", "MPEG_LAYER_III", 44_100),
}


@functools.cache
def part(kind: str, number: int, rate_hz: int = 0, channels: int = 1) -> bytes:
    """A file of a kind: noise, a chirp, or hardly anything."""
    file_format, subtype, usual_hz = CHAINED[kind]
    rate_hz = rate_hz or usual_hz
    mono = (noise(30_000), chirp(50_001, rate_hz), noise(700, 1))[number]
    return encoded(np.repeat(mono[:, None], channels, axis=1), file_format, subtype, rate_hz)


def heard(content: bytes | str) -> tuple[AudioInfo, np.ndarray]:
    info = probe(content)
    samples = decode(content, info)
    assert len(samples) == info.frames
    return info, samples


def is_all_heard(whole: bytes, *parts: bytes) -> None:
    info, samples = heard(whole)
    assert (info.truncated, info.header_warnings) == (False, {})
    assert np.array_equal(samples, np.concatenate([heard(one)[1] for one in parts]))


@pytest.mark.parametrize("kind", CHAINED)
@pytest.mark.parametrize("numbers", [(0, 1), (1, 0), (0, 0), (1, 2, 0, 2)])
def test_what_was_joined_is_heard_as_its_parts_are(kind, numbers):
    parts = [part(kind, number) for number in numbers]
    is_all_heard(b"".join(parts), *parts)


@pytest.mark.parametrize("kind", CHAINED)
def test_a_part_of_it_is_a_part_of_the_whole(kind):
    parts = [part(kind, 0), part(kind, 2), part(kind, 0)]
    content = b"".join(parts)
    info, whole = heard(content)
    ends = np.cumsum([heard(one)[0].frames for one in parts]).tolist()
    assert ends == [30_000, 30_700, 60_700]
    for start, frames in itertools.product(
        (0, 5_000, 29_999, 30_000, 30_001, 30_699, 30_700, 60_699, 60_700), (1, 900)
    ):
        samples = decode(content, info, start, frames)
        assert samples.shape == whole[start : start + frames].shape
        assert np.allclose(samples, whole[start : start + frames], atol=1e-3)


@pytest.mark.parametrize(("frames", "rate_hz"), [(300, 16_000), (15_000, 44_100), (64_000, 16_000), (100_000, 8_000)])
@pytest.mark.parametrize("joined", [False, True])
def test_a_read_of_vorbis_begins_where_it_is_asked_to_wherever_that_is(tmp_path, frames, rate_hz, joined):
    """Within the last page of a stream, too, which may be all of it."""
    path = tmp_path / "a.ogg"
    link = encoded(noise(frames), "OGG", "VORBIS", rate_hz)
    path.write_bytes(link * (2 if joined else 1))
    info, whole = heard(str(path))
    times = [int.from_bytes(page[6:14], "little") for page in pages(link)]
    starts = {0, 1, frames - 1, *np.linspace(0, info.frames - 1, 24).astype(int).tolist()}
    starts |= {min(frames - 1, max(0, times[-2] + by)) for by in (-1_000, -1, 0, 1, 600, 1_000, 2_000)}
    for start in starts:
        samples = decode(str(path), info, start, 2_000)
        assert samples.shape == whole[start : start + 2_000].shape
        assert np.allclose(samples, whole[start : start + 2_000], atol=1e-6)


@pytest.mark.parametrize("kind", CHAINED)
def test_windows_and_clips_of_it_are_whole(kind, tmp_path):
    path = tmp_path / "a.sound"
    path.write_bytes(part(kind, 0) + part(kind, 1))
    info = probe(str(path))
    windows = list(window_waveforms(str(path), info, STFT, 0, num_windows(info, STFT)))
    assert len(windows) == -(-80_001 // info.rate_hz)
    assert all(window.whole for window in windows)
    assert windows[-1].end_seconds == pytest.approx(80_001 / info.rate_hz)
    assert clip_waveform(str(path), STFT, 20_000, 40_000)[1:] == (40_000 / info.rate_hz, "")


@pytest.mark.parametrize(
    ("kind", "rate_hz", "channels"),
    [("vorbis", 22_050, 1), ("vorbis", 0, 2), ("opus", 24_000, 1), ("mp3", 22_050, 1), ("mp3", 0, 2)],
)
def test_parts_are_heard_up_to_one_of_another_rate_or_other_channels(kind, rate_hz, channels):
    first, other = part(kind, 0), part(kind, 1, rate_hz, channels)
    rate_hz = rate_hz or CHAINED[kind][2]
    content = first + first + other + first
    info, samples = heard(content)
    assert np.array_equal(samples, np.concatenate([heard(first)[1]] * 2))
    assert not info.truncated
    assert info.joined_note == (
        f"{len(other + first):,} bytes follow its sound that are another recording, and are not used: it has "
        f"{channels} channel{'s' if channels > 1 else ''} at {rate_hz:,} Hz"
    )
    assert clip_waveform(content, STFT)[2] == "joined"


def test_a_link_that_cannot_be_decoded_ends_what_is_heard():
    speex = bytearray(part("vorbis", 0))
    speex[28:35] = b"Speex  "
    content = part("vorbis", 0) + bytes(speex)
    info, samples = heard(content)
    assert len(samples) == 30_000
    assert info.joined_note.endswith("are not used: it cannot be decoded")


@pytest.mark.parametrize("kind", ["vorbis", "opus"])
@pytest.mark.parametrize("without", ["an encoder that got nothing", "headers alone"])
def test_a_link_without_sound_takes_nothing_of_the_others(kind, without):
    one, other = part(kind, 0), part(kind, 1)
    file_format, subtype, rate_hz = CHAINED[kind]
    empty = {
        "an encoder that got nothing": encoded(np.zeros(0, np.float32), file_format, subtype, rate_hz),
        "headers alone": b"".join(page for page in pages(one) if page[6:14] == bytes(8)),
    }[without]
    is_all_heard(one + empty + other, one, other)
    is_all_heard(one + empty + empty + other + empty + one, one, other, one)
    is_all_heard(one + empty, one)


@pytest.mark.parametrize("kind", ["vorbis", "opus", "mp3"])
@pytest.mark.parametrize("share", [0.4, 0.8, 0.99])
def test_a_part_that_was_cut_off_before_another_is_a_warning(kind, share):
    file_format, subtype, rate_hz = CHAINED[kind]
    first, last = encoded(noise(200_000, 1), file_format, subtype, rate_hz), part(kind, 0)
    first = first[: int(share * len(first))]
    info, samples = heard(first + last)
    assert info.truncated
    assert info.header_warnings == {}
    assert (share - 0.2) * 200_000 < info.frames - 30_000 < (share + 0.1) * 200_000
    assert np.array_equal(samples[-30_000:], heard(last)[1])


def damaged(kind: str, frames: int) -> bytes:
    """A stream of noise of which a byte in the middle is another: its page is lost, as the checksum does not fit."""
    file_format, subtype, rate_hz = CHAINED[kind]
    content = bytearray(encoded(noise(frames, 1), file_format, subtype, rate_hz))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


@pytest.mark.parametrize("kind", ["vorbis", "opus"])
def test_a_damage_in_one_link_takes_nothing_of_the_others(kind):
    last, spoiled = part(kind, 0), damaged(kind, 100_000)
    content = last + spoiled + last
    _, alone = heard(last)
    spoiled_info = probe(spoiled)
    left = decode(spoiled, spoiled_info)
    assert 30_000 < len(left) < spoiled_info.frames == 100_000
    info, samples = heard(content)
    lost = (30_000 + len(left), 130_000)
    assert info.frames == 160_000
    assert np.array_equal(samples, np.concatenate([alone, left, np.zeros((100_000 - len(left), 1)), alone]))
    assert decode_part(content, info).missing == (lost,)
    assert clip_waveform(content, replace(STFT, clip_seconds=10.0))[2] == "truncated"
    # What begins within that part, too, goes on to the next one.
    for start in (lost[0] - 500, lost[0], lost[1] - 1):
        assert np.allclose(decode(content, info, start)[-30_000:], alone, atol=1e-3)
    # All that is known to be lost is no sound.
    assert len(decode(last + spoiled, probe(last + spoiled))) == lost[0]


@pytest.mark.parametrize("kind", ["vorbis", "opus"])
def test_windows_behind_a_damage_are_the_same_read_together_and_one_by_one(kind, tmp_path):
    path, (file_format, subtype, rate_hz) = tmp_path / "a.sound", CHAINED[kind]
    path.write_bytes(damaged(kind, 100_000) + encoded(noise(4 * rate_hz), file_format, subtype, rate_hz))
    info = probe(str(path))
    windows = {
        round(one.start_seconds): one for one in window_waveforms(str(path), info, STFT, 0, num_windows(info, STFT))
    }
    first = -(-100_000 // rate_hz)
    assert not all(window.whole for window in windows.values())
    for number in (first, first + 1, first + 2):
        assert windows[number].whole
        clip = decode_clip(str(path), STFT, number * rate_hz, rate_hz)
        assert not clip.truncated
        assert np.allclose(windows[number].waveform, fit_clips([clip], STFT)[0][0], atol=1e-3)


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (0, 3, (range(3), False)),
        (0, 4, (range(3), False)),
        (2, 6, (range(2, 3), False)),
        (3, 6, (range(0), False)),
        (4, 5, (range(0), False)),
        (3, 7, (range(3, 7), True)),
        (5, 8, (range(5, 8), True)),
        (2, 9, (range(2, 8), True)),
        (6, 8, (range(6, 8), False)),
        (6, 99, (range(6, 10), True)),
        (9, 99, (range(9, 10), False)),
        (10, 99, (range(0), False)),
    ],
)
def test_a_part_of_what_was_decoded_ends_with_what_is_there(begin, end, expected):
    decoded = Decoded(np.arange(10.0, dtype=np.float32)[:, None], ((3, 6), (8, 9)))
    samples, lacks = decoded.part(begin, end)
    assert (samples[:, 0].tolist(), lacks) == (list(expected[0]), expected[1])


def test_links_are_no_streams_that_lie_side_by_side_and_no_pages_that_were_not_first(tmp_path):
    first, second = pages(part("vorbis", 0)), pages(part("opus", 0))
    film = b"".join([first[0], second[0], *first[1:], *second[1:]])
    tricky = part("vorbis", 1).replace(b"libsndfile", b"OggS\0\2\1\1\1\1")  # an encoder's name in a comment
    assert tricky != part("vorbis", 1)
    with open(tmp_path / "a", "w+b") as file:
        for parts in ([film], [film, film], [tricky, tricky, b"".join(first)]):
            file.truncate(0)
            file.seek(0)
            file.write(b"".join(parts))
            file.flush()
            ends = np.cumsum([len(one) for one in parts]).tolist()
            assert find_links(file.fileno(), ends[-1]) == tuple(zip([0, *ends], ends, strict=False))


def test_tags_between_mp3s_are_no_sound():
    first, second = part("mp3", 0), part("mp3", 1)
    for between in (ID3V1, id3v2(3_000), ID3V1 + id3v2(70_000), bytes(400)):
        is_all_heard(id3v2(500) + first + between + second + ID3V1, first, second)


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize("headed", itertools.product([False, True], repeat=3))
def test_mp3s_with_their_headers_and_without(headed, variable):
    """Without, they are what their frames hold; with them, without what the encoder put before and behind."""
    header, frames = encoded_frames(16_000, variable)
    content = b"".join((header if one else b"") + b"".join(frames) for one in headed)
    lengths = [40_000 if one else 576 * len(frames) for one in headed]
    info, samples = heard(content)
    assert (info.frames, info.truncated, info.header_warnings) == (sum(lengths), False, {})
    rising = chirp(16_000)
    for end, one in zip(np.cumsum(lengths), headed, strict=True):
        if one:
            assert np.corrcoef(samples[end - 16_000 : end - 4_000, 0], rising[:12_000])[0, 1] > 0.9


def test_a_header_of_an_mp3_that_tells_too_little_loses_nothing():
    header, frames = encoded_frames(44_100, True)
    at = max(header.find(b"Xing"), header.find(b"Info"))
    content = header[: at + 7] + struct.pack(">BI", 1, 20) + header[at + 12 :] + b"".join(frames)
    info, samples = heard(content)
    assert info.frames > 1_152 * (len(frames) - 3)
    assert not info.truncated
    assert np.abs(samples[-44_100:]).max() > 0.3  # the chirp at its end


FLACS = {
    "told": encoded(noise(30_000), "FLAC", "PCM_16"),
    "24 bits, two channels": encoded(np.stack([noise(9_000), chirp(9_000)], axis=1), "FLAC", "PCM_24"),
    "untold": without_length(encoded(noise(30_000), "FLAC", "PCM_16")),
    "silent": encoded(np.zeros(100_000, np.float32), "FLAC", "PCM_16"),
}


def with_block(flac: bytes, content: bytes) -> bytes:
    """A FLAC with a block of an application behind its first one."""
    return (
        flac[:4] + bytes([flac[4] & 0x7F]) + flac[5:42] + b"\2" + len(content).to_bytes(3, "big") + content + flac[42:]
    )


@pytest.mark.parametrize(("first", "second"), itertools.product(FLACS, ["told", "untold"]))
def test_a_flac_behind_a_flac_is_named_and_not_used(first, second):
    alone, samples = heard(FLACS[first])
    more = id3v2(300) + FLACS[second]
    for before in (b"", id3v2(2_000)):
        content = before + FLACS[first] + more
        info, both = heard(content)
        assert (info.frames, info.rate_hz, info.channels) == (alone.frames, alone.rate_hz, alone.channels)
        assert np.array_equal(both, samples)
        assert not is_cut_off(content, info)
        rest = len(more)
        assert info.header_warnings == {
            "joined": f"{rest:,} bytes follow its sound that are another recording, and are not used"
        }
        assert np.array_equal(decode(content, info, 8_000, 500), samples[8_000:8_500])


def test_a_flac_within_a_block_of_a_flac_is_no_recording():
    info, _ = heard(with_block(FLACS["told"], FLACS["silent"] + FLACS["told"]))
    assert (info.frames, info.header_warnings) == (30_000, {})


def with_total(flac: bytes, frames: int) -> bytes:
    """A FLAC whose header names so many samples."""
    return flac[:21] + bytes([flac[21] & 0xF0 | frames >> 32]) + (frames & 0xFFFFFFFF).to_bytes(4, "big") + flac[26:]


@pytest.mark.parametrize("behind", [b"", ID3V1])
@pytest.mark.parametrize("frames", [2, 4_095, 4_096, 4_097, 8_192, 100_000])
@pytest.mark.parametrize("sound", ["noise", "nothing"])
def test_a_flac_whose_header_says_too_little_is_used_whole(frames, sound, behind):
    flac = encoded(noise(frames) if sound == "noise" else np.zeros(frames, np.float32), "FLAC", "PCM_16") + behind
    assert probe(flac).header_warnings == {}
    samples = heard(flac)[1]
    for said in {1, frames // 2, frames - 1}:
        content = with_total(flac, said)
        info, more = heard(content)
        assert info.header_warnings == {
            "wrong_size": f"its header says {said:,} samples a channel, and the file holds {frames:,}"
        }
        assert np.array_equal(more, samples)
        assert not is_cut_off(content, info)
        assert np.array_equal(decode(content, info, frames - 1), samples[-1:])
        assert clip_waveform(with_block(content, bytes(9_000)), STFT)[2].removeprefix("silent;") == "wrong_size"


def test_a_flac_that_was_cut_off_or_says_too_much_is_truncated_as_ever():
    flac = encoded(noise(100_000), "FLAC", "PCM_16")
    for content in (flac[: len(flac) // 2], with_total(flac, 200_000)):
        info = probe(content)
        assert info.header_warnings == {}
        assert is_cut_off(content, info)


@pytest.mark.data
def test_a_real_flac_whose_header_says_too_little(data):
    (path,) = (data / "odd_audio_2").glob("*wrong_total_number_of_samples.flac")
    info, _ = heard(str(path))
    assert (info.frames, list(info.header_warnings)) == (109_487, ["wrong_size"])
