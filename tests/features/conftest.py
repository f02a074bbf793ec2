"""TensorFlow and real clips for the tests that compare with them."""

import os

import numpy as np
import pytest
import soundfile


@pytest.fixture(scope="session")
def tf():
    """TensorFlow, which takes seconds to import."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow

    return tensorflow


@pytest.fixture(scope="session")
def real_clips(data) -> np.ndarray:
    """Three clips of each word, padded to a second: (24, 16000)."""
    folder = data / "speech_commands_8words"
    words = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("_"))
    paths = [path for word in words for path in sorted(word.glob("*.wav"))[::250][:3]]
    clips = np.zeros((len(paths), 16_000), np.float32)
    for row, path in enumerate(paths):
        samples, rate_hz = soundfile.read(path, dtype="float32")
        assert rate_hz == 16_000
        clips[row, : len(samples)] = samples
    return clips
