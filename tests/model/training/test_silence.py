from dataclasses import replace

import numpy as np
import pytest

from features.frontend.presets import PRESETS
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import compute_features
from model.training.silence import Silence, at_levels
from tests.signals import noise

LOG_MEL = FeatureSpec(**PRESETS["log-mel"])
MFCC = replace(FeatureSpec(**PRESETS["urbansound-mfcc"]), clip_seconds=1.0)
SPECS = {
    "stft": FeatureSpec(**PRESETS["speech-commands"]),
    "natural": LOG_MEL,
    "natural power": replace(LOG_MEL, spectrum_power=2),
    "decibel": replace(LOG_MEL, log_scale="decibel", log_offset=1e-10, spectrum_power=2, dynamic_range_db=80.0),
    "float16": replace(LOG_MEL, storage_dtype="float16"),
    "pooled": replace(LOG_MEL, pool="mean", log_scale="decibel", log_offset=1e-10, spectrum_power=2),
    "mfcc": MFCC,
}
GAINS_DB = np.array([6.0, 0.0, -7.5, -30.0], np.float32)


@pytest.mark.parametrize("name", SPECS)
def test_a_level_is_that_of_a_louder_or_softer_waveform(name):
    spec = SPECS[name]
    waveforms = np.stack([noise(spec.clip_samples, seed=seed) for seed in range(len(GAINS_DB))])
    scaled = (waveforms * 10 ** (GAINS_DB[:, None] / 20)).astype(np.float32)
    features = compute_features(waveforms, spec).astype(np.float32)
    expected = compute_features(scaled, spec).astype(np.float32)
    found = at_levels(features, GAINS_DB, spec)
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() < (4e-3 if name == "float16" else 1e-4) * scale
    assert np.abs(features - expected).max() > 0.01 * scale, "the level makes a difference"
    assert found.dtype == np.float32


@pytest.mark.parametrize("name", SPECS)
def test_digital_silence_is_what_the_front_end_makes_of_zeros(name):
    spec = SPECS[name]
    waveforms = np.stack([noise(spec.clip_samples), np.zeros(spec.clip_samples, np.float32)])
    heard, nothing = compute_features(waveforms, spec).astype(np.float32)
    found = at_levels(np.stack([heard, heard, nothing]), np.array([-np.inf, -2000.0, 6.0], np.float32), spec)
    np.testing.assert_allclose(found, np.stack([nothing] * 3), rtol=1e-5, atol=1e-4)


def test_rows_name_recording_and_start_and_are_the_same_read_in_parts():
    windows = np.arange(1, 4, dtype=np.float32)[:, None, None] * np.ones((1, *LOG_MEL.shape), np.float32)
    one = Silence(windows, ["a.wav@0", "a.wav@1600", r"b\xff.wav@0"], LOG_MEL)
    rows = one.fixed(7)
    whole = rows.read(0, 7)
    parts = [rows.read(first, first + 3) for first in (0, 3, 6)]
    assert len(rows) == len(whole.tensors) == 7
    assert [path for part in parts for path in part.paths] == whole.paths
    np.testing.assert_array_equal(np.concatenate([part.features for part in parts]), whole.features)
    assert len(set(whole.paths)) == 7
    assert {path.split("/", 2)[2] for path in whole.paths} == set(one.places), "each window comes"
    assert set(whole.labels) == {"_silence_"}
    again = one.fixed(7)
    np.testing.assert_array_equal(again.windows, rows.windows)
    np.testing.assert_array_equal(again.gains_db, rows.gains_db)


def test_levels_are_wide_and_now_and_then_there_is_nothing():
    one = Silence(np.ones((2, *LOG_MEL.shape), np.float32), ["a@0", "a@1"], LOG_MEL)
    gains = one.draw(4000, np.random.default_rng(1)).gains_db
    finite = gains[np.isfinite(gains)]
    assert 0.07 < 1 - len(finite) / len(gains) < 0.13
    assert -60 <= finite.min() < -55
    assert 1 < finite.max() <= 6
    assert abs(np.median(finite) + 27) < 4
