"""How frames are counted whose number no header can be believed to say, and where that ends."""

import struct

import pytest

from features.audio.sound_file import SoundFile, count
from features.errors import ClipError, Reason
from tests.features.audio.test_decode import encoded
from tests.signals import noise, sine

CODED = {
    "pcm": encoded(noise(7_000), "WAV", "PCM_24"),
    "flac": encoded(noise(7_000), "FLAC", "PCM_16"),
    "vorbis": encoded(noise(7_000), "OGG", "VORBIS"),
    "mp3": encoded(noise(7_000), "MP3", "MPEG_LAYER_III"),
}


@pytest.mark.parametrize("name", CODED)
def test_as_many_frames_are_counted_as_there_are_and_one_more_than_may_be_is_damage(tmp_path, name):
    path = tmp_path / "a"
    path.write_bytes(CODED[name])
    with open(path, "rb") as file:
        for most in (7_000, 7_001):
            assert count(SoundFile(file.fileno()), most) == (7_000, False)
        for most in (0, 1, 6_999):
            with pytest.raises(ClipError, match=f"more than {most:,} frames, which a file of its size") as error:
                count(SoundFile(file.fileno()), most)
            assert (error.value.stage, error.value.reason) == ("decode", Reason.DAMAGED)


def test_a_decoder_that_goes_on_behind_the_end_of_a_file_is_stopped(tmp_path):
    """Of a chunk whose size is nearly 2^64 libsndfile makes days of silence."""
    damaged = bytearray(encoded(sine(440.0, 7_000), "W64", "GSM610", 44_100))
    at = damaged.index(b"data\xf3\xac") + 16
    damaged[at : at + 8] = struct.pack("<q", 0x5AE - 2**40)
    path = tmp_path / "a.w64"
    path.write_bytes(damaged)
    with open(path, "rb") as file:
        audio = SoundFile(file.fileno())
        assert audio.frames > 2**36
        with pytest.raises(ClipError, match=f"more than {8 * len(damaged):,} frames"):
            count(audio, 8 * len(damaged))
