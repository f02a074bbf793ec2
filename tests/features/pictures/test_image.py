"""Small pictures of arrays, read back by Pillow."""

import io

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from features.pictures.image import image_of, spectrogram_image
from features.pictures.signal_summary import trace_waveform


def pixels(content: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(content))
    assert picture.format == "WEBP"
    return np.asarray(picture.convert("RGB")).astype(int)


@pytest.mark.parametrize(
    ("frames", "bands", "wide", "high"),
    [(1, 1, 1, 1), (1, 129, 1, 129), (399, 160, 399, 160), (401, 161, 201, 81), (1000, 40, 334, 40)],
)
def test_frames_go_to_the_right_and_bands_upwards(frames, bands, wide, high):
    values = np.zeros((frames, bands), np.float32)
    assert pixels(image_of(values)).shape == (high, wide, 3)


def test_colours_are_those_of_the_map():
    values = np.zeros((64, 64), np.float32)
    values[32:, :32] = 1  # late and low
    shown = pixels(image_of(values))
    dark, bright = (np.array(colormaps["cividis"](value, bytes=True)[:3], int) for value in (0.0, 1.0))
    assert np.abs(shown[56, 56] - bright).max() < 12
    for row, column in ((8, 8), (8, 56), (56, 8)):
        assert np.abs(shown[row, column] - dark).max() < 12


def test_a_tone_is_bright_at_its_frequency_and_silence_dark():
    times = np.arange(16_000) / 16_000
    shown = pixels(spectrogram_image(trace_waveform(np.sin(2 * np.pi * 2_000 * times).astype(np.float32), 16_000)))
    brightest = shown.sum(axis=2).mean(axis=1).argmax()
    assert 1 - brightest / len(shown) == pytest.approx(0.25, abs=0.02)
    silent = pixels(spectrogram_image(trace_waveform(np.zeros(16_000, np.float32), 16_000)))
    assert np.abs(silent - np.array(colormaps["cividis"](0.0, bytes=True)[:3], int)).max() < 12
