import io

import numpy as np
import pytest
import soundfile

from features.audio.decode import decode, probe
from features.audio.wav_file import wav_file
from features.errors import RunError

RANDOM = np.random.default_rng(1)


def integers(bits, frames, channels):
    most = 2 ** (bits - 1)
    values = RANDOM.integers(-most, most, (frames, channels))
    values[:2] = np.array([[most - 1], [-most]])[: len(values[:2])]
    return (values / most).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("frames", [1, 2, 1_001])
@pytest.mark.parametrize(
    ("make", "subtype"),
    [
        (lambda *shape: integers(16, *shape), "PCM_16"),
        (lambda *shape: np.zeros(shape, np.float32), "PCM_16"),
        (lambda *shape: integers(24, *shape), "PCM_24"),
        (lambda *shape: np.full(shape, 2.0**-23, np.float32), "PCM_24"),
        (lambda *shape: RANDOM.uniform(0.001, 0.002, shape).astype(np.float32), "FLOAT"),
        (lambda *shape: np.ones(shape, np.float32), "FLOAT"),  # one more than the largest integer
        (lambda *shape: np.full(shape, 3e38, np.float32), "FLOAT"),
        (lambda *shape: np.full(shape, 2.0**-24, np.float32), "FLOAT"),
    ],
)
def test_samples_come_back_to_the_bit_from_the_narrowest_format(tmp_path, make, subtype, frames, channels):
    samples = make(frames, channels)
    content = wav_file(samples, 22_050)
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        assert (file.format, file.subtype, file.samplerate) == ("WAV", subtype, 22_050)
        assert np.array_equal(file.read(dtype="float32", always_2d=True), samples)
    (tmp_path / "a.wav").write_bytes(content)
    info = probe(str(tmp_path / "a.wav"))
    assert (info.frames, info.channels, info.truncated, info.size_note) == (frames, channels, False, "")
    assert (info.pcm_offset is not None) == (subtype != "FLOAT")  # integers are read without another process
    assert np.array_equal(decode(str(tmp_path / "a.wav"), info), samples)


def test_more_than_a_wav_can_hold_is_refused():
    samples = np.lib.stride_tricks.as_strided(np.array([0.3], np.float32), (2**30, 1), (0, 0))
    with pytest.raises(RunError, match="less than 4 GiB of sound, and 1,073,741,824 frames of 1 channel may"):
        wav_file(samples, 48_000)
