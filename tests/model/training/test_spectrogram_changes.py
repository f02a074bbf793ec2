import dataclasses

import numpy as np
import pytest

from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import compute_features
from model.training.spectrogram_changes import (
    add_noise,
    from_power,
    limit_range,
    silence,
    stretches_covered,
    to_power,
    warp,
)
from tests.signals import chirp, noise, sine

FRAMES = {"sample_rate_hz": 16_000, "clip_seconds": 0.5, "window_samples": 400, "hop_samples": 160, "fft_samples": 512}
STFT = FeatureSpec(front_end="stft", **FRAMES)
MEL = {"mel_filter_bank": "htk", "mel_bands": 24, "mel_low_hz": 60.0, "mel_high_hz": 7_600.0}
MAGNITUDE = FeatureSpec(front_end="log_mel", **FRAMES, **MEL, log_scale="natural", log_offset=1e-3)
POWER = dataclasses.replace(MAGNITUDE, spectrum_power=2, log_offset=1e-6)
DECIBEL = dataclasses.replace(POWER, log_scale="decibel", log_offset=1e-10)
RANGE = dataclasses.replace(DECIBEL, dynamic_range_db=60.0)
MFCC = dataclasses.replace(DECIBEL, front_end="mfcc", coefficients=13)
SPECTRA = {"stft": STFT, "magnitude": MAGNITUDE, "power": POWER, "decibel": DECIBEL, "range": RANGE}
each_spectrum = pytest.mark.parametrize("spec", SPECTRA.values(), ids=SPECTRA)
SAMPLES = 8_000


def features(waveforms, spec) -> np.ndarray:
    return compute_features(np.stack(waveforms).astype(np.float32), spec).astype(np.float32)


@pytest.mark.parametrize("spec", [*SPECTRA.values(), MFCC, dataclasses.replace(DECIBEL, storage_dtype="float16")])
def test_silence_is_what_the_front_end_makes_of_it(spec):
    [clip] = features([np.zeros(SAMPLES)], spec)
    np.testing.assert_allclose(clip, np.broadcast_to(silence(spec), clip.shape), rtol=2e-6, atol=1e-5)
    if spec.front_end != "mfcc":
        np.testing.assert_array_equal(clip, np.broadcast_to(silence(spec), clip.shape))


@each_spectrum
def test_a_power_is_turned_back_into_its_features(spec):
    clips = features([chirp(SAMPLES), noise(SAMPLES), np.zeros(SAMPLES)], spec)
    power = to_power(clips, spec)
    assert power.min() >= 0
    assert not power[2].any()
    np.testing.assert_allclose(from_power(power, spec), clips, rtol=1e-4, atol=1e-4)


@each_spectrum
@pytest.mark.parametrize("gain_db", [-6.0, 3.0])
def test_a_gain_is_that_of_the_waveform(spec, gain_db):
    waveform = sine(1_000.0, SAMPLES, amplitude=0.2) + noise(SAMPLES, amplitude=0.01)
    power = to_power(features([waveform, np.zeros(SAMPLES)], spec), spec)
    power *= np.float32(10 ** (gain_db / 10))
    changed = from_power(power, spec)
    amplified = 10 ** (gain_db / 20) * waveform
    np.testing.assert_allclose(changed, features([amplified, np.zeros(SAMPLES)], spec), rtol=1e-4, atol=1e-3)


@each_spectrum
@pytest.mark.parametrize("snr_db", [0.0, 12.0])
def test_noise_is_that_of_the_mixed_waveform_in_the_mean(spec, snr_db):
    count = 40
    voice = sine(700.0, SAMPLES, amplitude=0.3) + chirp(SAMPLES)
    noises = [noise(SAMPLES, seed=seed) for seed in range(count)]
    power = to_power(features([voice] * count, spec), spec)
    noise_power = to_power(features(noises, spec), spec)
    ratios = power.mean(axis=(1, 2)) / noise_power.mean(axis=(1, 2)) * 10 ** (-snr_db / 10)
    add_noise(power, noise_power, np.arange(count), np.full(count, snr_db), spec)
    mixed = [voice + np.sqrt(ratio) * one for ratio, one in zip(ratios, noises, strict=True)]
    theirs = to_power(features(mixed, spec), spec)
    # Of single values the mixed waveform's depend on phases; in the mean over the draws these cancel.
    difference_db = 10 * np.log10(power.mean(axis=0) / theirs.mean(axis=0))
    assert abs(np.median(difference_db)) < 0.3
    assert np.percentile(np.abs(difference_db), 90) < 2.0


def test_noise_is_as_loud_as_was_drawn_and_none_where_clip_or_noise_is_silent():
    power = to_power(features([sine(700.0, SAMPLES), np.zeros(SAMPLES), chirp(SAMPLES), chirp(SAMPLES)], POWER), POWER)
    before = power.copy()
    # The last is there to the front end, but less than its offset can hold.
    added = to_power(features([noise(SAMPLES), noise(SAMPLES), np.zeros(SAMPLES), 1e-9 * noise(SAMPLES)], POWER), POWER)
    add_noise(power, added, np.arange(4), np.array([10.0, 0.0, 0.0, 0.0]), POWER)
    assert (power[0] - before[0]).mean() == pytest.approx(before[0].mean() / 10, rel=1e-3)
    np.testing.assert_array_equal(power[1:], before[1:])


def test_a_dynamic_range_is_the_front_ends():
    quiet = sine(1_000.0, SAMPLES) * np.repeat([1.0, 1e-6], SAMPLES // 2)
    clips = features([quiet], DECIBEL)
    limit_range(clips, RANGE)
    np.testing.assert_array_equal(clips, features([quiet], RANGE))
    expected = clips.copy()
    limit_range(clips, DECIBEL)
    np.testing.assert_array_equal(clips, expected)


def grid(count=3, frames=7, bands=5) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, frames, bands)).astype(np.float32)


def ones(*factors: float) -> np.ndarray:
    return np.array(factors or (1.0, 1.0, 1.0))


OUTSIDE = np.arange(5, dtype=np.float32) - 100


@pytest.mark.parametrize("shift", [-8, -7, -6, -1, 0, 1, 6, 7, 8])
def test_a_shift_by_frames_is_the_slice_and_silence_beside_it(shift):
    clips = grid()
    changed = warp(clips, np.array([shift, 0, 0]), ones(), ones(), OUTSIDE)
    expected = np.full((7, 5), OUTSIDE)
    if shift >= 0:
        expected[: max(0, 7 - shift)] = clips[0, shift:]
    else:
        expected[-shift:] = clips[0, : max(0, 7 + shift)]
    np.testing.assert_array_equal(changed[0], expected)
    np.testing.assert_array_equal(changed[1:], clips[1:])


def test_warping_is_linear_interpolation_between_frames_and_bands():
    clips = grid(2)
    changed = warp(clips, np.array([0, 1]), ones(1.3, 0.8), ones(0.85, 1.2), OUTSIDE)
    for clip, found, shift, stretch, factor in zip(clips, changed, (0, 1), (1.3, 0.8), (0.85, 1.2), strict=True):
        frames, bands = (np.arange(7) - 3) * stretch + 3 + shift, np.arange(5) * factor
        in_time = np.stack([np.interp(frames, np.arange(7), clip[:, band]) for band in range(5)], axis=1)
        in_time[(frames < 0) | (frames > 6)] = OUTSIDE
        expected = np.stack([np.interp(bands, np.arange(5), frame) for frame in in_time])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize(("frames", "bands"), [(1, 1), (1, 40), (98, 1), (98, 40)])
def test_clips_are_changed_by_themselves_and_any_size_of_grid_has_a_warp(count, frames, bands):
    clips, outside = grid(count, frames, bands), np.zeros(bands, np.float32)
    shifts, factors = np.arange(count) % 5 - 2, np.linspace(0.9, 1.1, count)
    changed = warp(clips, shifts, factors, factors, outside)
    assert changed.shape == clips.shape
    assert np.isfinite(changed).all()
    for row in range(0, count, 9):
        part = slice(row, row + 1)
        alone = warp(clips[part], shifts[part], factors[part], factors[part], outside)
        np.testing.assert_array_equal(alone, changed[part])


@pytest.mark.parametrize("longest", [0, 1, 4, 5, 6])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_masks_cover_no_more_than_they_may_and_each_place_as_often(longest, count):
    covered = stretches_covered(4_000, 5, count, longest, np.random.default_rng(0))
    lengths = covered.sum(axis=1)
    assert covered.shape == (4_000, 5)
    assert lengths.max() == min(5, count * longest)
    assert (lengths == 0).mean() == pytest.approx((1 / (min(longest, 5) + 1)) ** count, abs=0.03)
    if count == 1:
        edges = np.diff(np.pad(covered, ((0, 0), (1, 1))).astype(int), axis=1)
        assert (edges == 1).sum(axis=1).max() <= 1  # one stretch
        assert lengths.mean() == pytest.approx(min(longest, 5) / 2, abs=0.1)
        np.testing.assert_allclose(covered.mean(axis=0), covered.mean(axis=0)[::-1], atol=0.04)  # no side is preferred
