"""Whether a file is called truncated: where sound is lost, and not where only a mark is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.audio.decode import decode, probe
from tests.features.audio.test_decode import encoded
from tests.signals import chirp, noise

OGGS = {
    "vorbis": encoded(noise(64_000), "OGG", "VORBIS"),
    "opus": encoded(chirp(96_000, 48_000), "OGG", "OPUS", 48_000),
}


def pages(ogg: bytes) -> list[bytes]:
    found = []
    while ogg:
        end = 27 + ogg[26] + sum(ogg[27 : 27 + ogg[26]])
        found.append(ogg[:end])
        ogg = ogg[end:]
    return found


def with_flags(page: bytes, flags: int) -> bytes:
    """A page with other flags, and the checksum that belongs to them (CRC-32 of polynomial 0x04C11DB7)."""
    blank = page[:5] + bytes([flags]) + page[6:22] + bytes(4) + page[26:]
    crc = 0
    for byte in blank:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return blank[:22] + crc.to_bytes(4, "little") + blank[26:]


@pytest.mark.parametrize("content", OGGS.values(), ids=OGGS)
def test_a_last_page_that_does_not_say_so_is_the_last_all_the_same(content):
    *before, last = pages(content)
    assert last[5] & 4
    assert with_flags(last, last[5]) == last
    unmarked = b"".join(before) + with_flags(last, last[5] & ~4)
    info = probe(unmarked)
    assert not info.truncated
    whole = decode(content, probe(content))
    samples = decode(unmarked, info)
    assert len(samples) > 0.95 * len(whole)
    common = int(0.95 * len(whole))  # the last block of Vorbis is faded where nothing says that it is the last
    assert np.array_equal(samples[:common], whole[:common])


@pytest.mark.parametrize("content", OGGS.values(), ids=OGGS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_an_ogg_that_was_cut_off_within_a_page_says_so(content, data):
    ends = np.cumsum([len(page) for page in pages(content)])
    headers = int(ends[2])  # and a page of sound, without which it is refused
    cut = data.draw(st.integers(headers + 1, len(content) - 1).filter(lambda cut: cut not in ends))
    assert probe(content[:cut]).truncated


@pytest.mark.parametrize(("subtype", "frame_bytes"), [("PCM_16", 2), ("PCM_24", 3), ("ULAW", 1)])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_sphere_that_was_cut_off_says_so(subtype, frame_bytes, channels):
    content = encoded(noise(4_000 * channels).reshape(4_000, channels), "NIST", subtype)
    info = probe(content)
    assert (info.frames, info.truncated) == (4_000, False)
    for missing in (1, frame_bytes * channels, 100, 4_000):
        cut = content[:-missing]
        assert probe(cut).truncated
        assert probe(cut).frames == len(decode(cut, probe(cut))) >= 4_000 - -(-missing // (frame_bytes * channels))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("odd_audio_2/YannickJadoul_Parselmouth__Example_opus_audio.ogg", 235_165),
        ("odd_audio/lhotse__stereo.sph", None),
        ("odd_audio/lhotse__mono_c0.opus", None),
    ],
)
def test_real_files_that_are_whole(data, name, frames):
    info = probe(str(data / name))
    assert not info.truncated
    assert frames in (None, info.frames)
