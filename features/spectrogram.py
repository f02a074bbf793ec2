"""The front end: waveforms to spectrograms, mel bands or MFCCs, in batches.

One sentence holds for every front end: float32 waveforms of shape (clips, spec.clip_samples) become features of shape
(clips, *spec.shape), and a clip's values are the same to the bit whatever batch it came in. That is why spectra are
taken of frames in a ready buffer, magnitudes by elementwise products instead of `abs`, and matrices are applied clip by
clip (`matmul` in three dimensions) on one BLAS thread. A spec without a clip length takes waveforms of any lengths, one
after the other.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from features.mel import cosine_matrix, mel_matrix
from features.spec import FeatureSpec

Batch = NDArray[np.float32]

_BLOCK_CLIPS = 8


def compute_features(waveforms: Batch | Sequence[NDArray[np.float32]], spec: FeatureSpec) -> NDArray[np.floating]:
    """Computes the features of a batch of fitted clips.

    Args:
        waveforms: float32 of shape (clips, spec.clip_samples); where the spec has no clip length, (samples,) of each
            clip, `spec.least_samples` at least.
        spec: the front end.

    Returns:
        spec.storage_dtype of shape (clips, *spec.shape); of waveforms that are too loud for it not finite.

    Raises:
        ValueError: the waveforms have another shape.
    """
    result = np.empty((len(waveforms), *spec.shape), dtype=spec.storage_dtype)
    with _blas().limit(limits=1, user_api="blas"), np.errstate(over="ignore", invalid="ignore"):
        # So many clips are worked on at a time: what is in work then stays in the cache of a core.
        step = 1 if spec.clip_samples is None else _BLOCK_CLIPS
        for first in range(0, len(waveforms), step):
            result[first : first + step] = _features(_checked(waveforms[first : first + step], spec), spec)
    return result


def _checked(waveforms: Batch | Sequence[NDArray[np.float32]], spec: FeatureSpec) -> Batch:
    block = np.asarray(waveforms, dtype=np.float32)
    if block.ndim != 2 or spec.clip_samples not in (None, block.shape[1]) or block.shape[1] < spec.least_samples:
        length = spec.clip_samples or f"{spec.least_samples} or more"
        raise ValueError(f"waveforms have shape (clips, {length}), not {block.shape}")
    return block


def _features(waveforms: Batch, spec: FeatureSpec) -> Batch:
    bands = _spectrum(waveforms, spec)
    if spec.front_end != "stft":
        bands = _log(np.matmul(bands, mel_weights(spec)), spec)  # (clips, frames, bands)
    if spec.front_end == "mfcc":
        bands = np.matmul(bands, cosine_weights(spec))  # (clips, frames, coefficients)
    if spec.pool is None:
        return bands
    # Clip by clip, so that the order of the sum never follows from the batch.
    means = [clip.mean(axis=0, dtype=np.float64) for clip in bands]
    return np.asarray(means, dtype=np.float32)  # (clips, bands)


def _spectrum(waveforms: Batch, spec: FeatureSpec) -> Batch:
    """Returns magnitudes or power of the short-time Fourier transform: (clips, frames, bins)."""
    if spec.centred:
        half = spec.fft_samples // 2
        waveforms = np.pad(waveforms, ((0, 0), (half, half)))
    frames = np.lib.stride_tricks.sliding_window_view(waveforms, spec.window_samples, axis=1)
    frames = frames[:, :: spec.hop_samples]  # (clips, frames, window)
    buffer = np.zeros((*frames.shape[:2], spec.fft_samples), dtype=np.float32)
    np.multiply(frames, _window(spec), out=buffer[..., : spec.window_samples])
    spectrum = scipy.fft.rfft(buffer, axis=-1, workers=1)  # complex64 (clips, frames, bins)
    power: Batch = spectrum.real * spectrum.real
    power += spectrum.imag * spectrum.imag
    return power if spec.spectrum_power == 2 else np.sqrt(power, out=power)


def _log(bands: Batch, spec: FeatureSpec) -> Batch:
    """Returns the logarithm of mel bands, in place: (clips, frames, bands)."""
    offset = np.float32(spec.log_offset or 0.0)
    if spec.log_scale == "natural":
        bands += offset
        return np.log(bands, out=bands)
    np.maximum(bands, offset, out=bands)
    np.log10(bands, out=bands)
    bands *= np.float32(10.0)
    if spec.dynamic_range_db is not None:
        loudest = bands.max(axis=(1, 2), keepdims=True)  # of each clip, never of the batch
        np.maximum(bands, loudest - np.float32(spec.dynamic_range_db), out=bands)
    return bands


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


@cache
def _window(spec: FeatureSpec) -> NDArray[np.float32]:
    """Returns the Hann window (Harris, 1978) as `tf.signal.hann_window` has it.

    It is periodic where the length is even, as librosa and scipy take it; where it is odd, as the tutorial's 255 is,
    TensorFlow's is the symmetric one.
    """
    period = spec.window_samples - spec.window_samples % 2
    phase = 2.0 * np.pi * np.arange(spec.window_samples) / max(period, 1)
    window = 0.5 - 0.5 * np.cos(phase)
    return (window if period else np.ones(1)).astype(np.float32)


@cache
def mel_weights(spec: FeatureSpec) -> NDArray[np.float32]:
    """Returns the weights from the bins of a spectrum to the mel bands of a spec: (bins, bands)."""
    return mel_matrix(
        spec.mel_filter_bank or "",
        spec.mel_bands or 0,
        spec.fft_samples,
        spec.sample_rate_hz,
        spec.mel_low_hz or 0.0,
        spec.mel_high_hz or 0.0,
    )


@cache
def cosine_weights(spec: FeatureSpec) -> NDArray[np.float32]:
    """Returns the weights from log mel bands to the coefficients of a spec: (bands, coefficients)."""
    return cosine_matrix(spec.mel_bands or 0, spec.coefficients or 0)
