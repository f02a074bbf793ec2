"""Sounds of pages: a file that an independent decoder takes for the waveform."""

import io

import numpy as np
import pytest
import soundfile

from model.pages.card import card, envelope
from model.pages.sound import RATES_HZ, encode_sound, played_rate_hz


def decoded(content: bytes) -> tuple[np.ndarray, int]:
    return soundfile.read(io.BytesIO(content), dtype="float32")


def tone(seconds: float, rate_hz: int, hz: float) -> np.ndarray:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("seconds", [0.01, 1.0])
def test_a_sound_has_the_rate_the_length_and_the_tone(rate_hz, seconds):
    waveform = tone(seconds, rate_hz, 440)
    sound = encode_sound(waveform, rate_hz)
    heard, rate = decoded(sound.content)
    assert (rate, len(heard)) == (rate_hz, len(waveform))
    assert sound.seconds == pytest.approx(seconds, abs=1 / rate_hz)
    if seconds == 1:
        spectrum = np.abs(np.fft.rfft(heard))
        assert spectrum.argmax() == 440
        assert np.corrcoef(heard, waveform)[0, 1] > 0.98


@pytest.mark.parametrize(("rate_hz", "played"), [(1_000, 8_000), (8_001, 11_025), (48_001, 48_000), (384_000, 48_000)])
def test_other_rates_are_played_at_one_that_browsers_know(rate_hz, played):
    assert played_rate_hz(rate_hz) == played
    sound = encode_sound(tone(0.5, rate_hz, 200), rate_hz)
    heard, rate = decoded(sound.content)
    assert rate == played
    assert len(heard) / rate == pytest.approx(0.5, abs=1 / rate)


@pytest.mark.parametrize("samples", [1, 2, 159, 160, 161])
def test_short_sounds_are_whole(samples):
    waveform = np.linspace(-0.5, 0.5, samples, dtype=np.float32)
    for rate_hz in (16_000, 250_000):
        heard, _ = decoded(encode_sound(waveform, rate_hz).content)
        assert len(heard) >= 1
    assert len(decoded(encode_sound(waveform, 16_000).content)[0]) == samples


def test_the_smaller_file_is_taken():
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    assert encode_sound(noise, 16_000).media_type == "audio/mpeg"
    assert len(encode_sound(noise, 16_000).content) < 2 * len(noise)
    short = encode_sound(noise[:100], 16_000)
    assert short.media_type == "audio/wav"
    assert len(short.content) == 44 + 2 * 100


def test_what_is_beyond_full_scale_does_not_turn_around():
    heard, _ = decoded(encode_sound(np.full(100, 1.5, np.float32), 16_000).content)
    assert heard.min() > 0.99


@pytest.mark.parametrize("scale", [1, 1e-4])
@pytest.mark.parametrize("samples", [1, 159, 160, 161, 16_000])
def test_an_envelope_holds_the_extremes_of_quiet_sounds_too(samples, scale):
    waveform = np.random.default_rng(samples).uniform(-scale, scale, samples).astype(np.float32)
    both = envelope(waveform)
    peak = float(np.abs(waveform).max())
    assert len(both) == min(samples, 160)
    assert both[:, 0].min() == round(127 * float(waveform.min()) / peak)
    assert both[:, 1].max() == round(127 * float(waveform.max()) / peak)
    made = card("a.wav", (0.0, 1.0), "yes", [("yes", 1.0)], waveform, 16_000)
    assert made["peak"] == pytest.approx(peak, rel=0.005)


def test_silence_has_an_envelope():
    silence = np.zeros(1000, np.float32)
    assert not envelope(silence).any()
    assert card("a.wav", (0.0, 1.0), "yes", [("yes", 1.0)], silence, 16_000)["peak"] == 0


def test_a_card_without_its_recording_has_no_sound():
    made = card("a.wav", (0.0, 1.0), "yes", [("no", 0.75), ("yes", 0.25)], None, 16_000)
    assert made == {"path": "a.wav", "start": 0.0, "end": 1.0, "label": "yes", "predicted": "no",
                    "top": [["no", 0.75], ["yes", 0.25]]}  # fmt: skip
