"""What a training says of bands in which nothing happens, on features of recordings at other rates."""

import numpy as np
import pytest
import soxr

from features.frontend.presets import preset
from features.frontend.spectrogram import compute_features
from features.store.statistics import Statistics
from model.training.still_bands import warn_of_still_bands
from tests.features.networks.small import small_spec


def features(rate_hz: int, name: str, bits: int | None = None) -> np.ndarray:
    """Of ten seconds of noise recorded at a rate and brought to that of a preset, in integers of so many bits."""
    spec = preset(name)
    noise = np.random.default_rng(0).standard_normal(10 * rate_hz) * np.repeat([0.1, 0.01], 5 * rate_hz)
    waves = soxr.resample(noise, rate_hz, spec.sample_rate_hz).astype(np.float32)
    if bits:
        waves = np.round(waves * 2 ** (bits - 1)).astype(np.float32) / 2 ** (bits - 1)
    return compute_features(waves.reshape(10, -1), spec)


@pytest.mark.parametrize("bits", [None, 16])
@pytest.mark.parametrize("name", ["log-mel", "log-mel-40", "speech-commands"])
def test_bands_above_half_the_rate_of_the_recordings_are_named_with_the_cause(name, bits, caplog):
    statistics, spec = Statistics.of(features(8_000, name, bits)), preset(name)
    warn_of_still_bands(statistics, spec)
    [message] = caplog.messages
    numbers = np.flatnonzero(statistics.still_bands())
    last = numbers[-1] if spec.front_end == "log_mel" else 121  # of 7,600 Hz; above is a resampler's filter
    assert f"bands {numbers[0]} to {last} of {spec.num_bands} stand still in training" in message
    rate_hz = float(message.partition("about ")[2].partition(" samples")[0].replace(",", ""))
    assert 7_800 <= rate_hz <= 8_500
    assert f"below the {spec.sample_rate_hz:,} of the spec" in message


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("name", ["log-mel", "log-mel-40", "speech-commands", "urbansound-mfcc"])
def test_recordings_of_the_rate_of_the_spec_or_more_get_no_warning(name, rate_hz, caplog):
    warn_of_still_bands(Statistics.of(features(rate_hz, name)), preset(name))
    assert caplog.messages == []


def test_clips_that_are_all_silent_are_said_to_be(caplog):
    for name in ("log-mel", "urbansound-mfcc"):
        spec = preset(name)
        warn_of_still_bands(Statistics.of(compute_features(np.zeros((3, 16_000), np.float32), spec)), spec)
    assert "bands 0 to 63 of 64 stand still in training: the clips may be silent" in caplog.messages[0]
    assert "coefficients 0 to 39 of 40 stand still in training: all clips may be alike or silent" in caplog.messages[1]


@pytest.mark.parametrize("value", [-13.815511, -400.0, 1e-6, 0.1, 3.0])
@pytest.mark.parametrize("frames", [1, 98, 127, 128, 129, 1000])
def test_what_is_one_number_has_no_variance_however_it_is_added_up(value, frames):
    """Sums of float32 are rounded: their variance is not, by which features are divided."""
    alike = Statistics.of(np.full((9, frames, 4), value, np.float32))
    assert alike.scalar()[1] == 0
    assert alike.still_bands().all()
    assert alike.by_band()[1].tolist() == [1.0] * 4
    moving = np.full((9, frames, 4), value, np.float32)
    moving[::2] *= np.float32(1.01)
    mean, variance = Statistics.of(moving).by_band()
    assert mean == pytest.approx(moving.mean(axis=(0, 1), dtype=np.float64), rel=1e-6)
    assert variance == pytest.approx(moving.astype(np.float64).var(axis=(0, 1)), rel=0.1)


def test_of_embeddings_some_values_may_stand_still(caplog):
    values = np.random.default_rng(0).random((20, small_spec().embedding_size)).astype(np.float32)
    values[:, 2] = 0
    warn_of_still_bands(Statistics.of(values), small_spec())
    assert caplog.messages == []
    warn_of_still_bands(Statistics.of(np.ones_like(values)), small_spec())
    assert "values 0 to 5 of 6 stand still in training: all clips may be alike or silent" in caplog.messages[0]
