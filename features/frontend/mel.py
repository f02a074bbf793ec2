"""Mel filter banks and the cosine transform behind MFCCs, as matrices."""

import numpy as np
from numpy.typing import NDArray

FILTER_BANKS = ("slaney", "htk")

# Slaney's Auditory Toolbox (1998): linear below 1 kHz, logarithmic above.
_SLANEY_HZ_PER_MEL = 200.0 / 3.0
_SLANEY_BREAK_HZ = 1000.0
_SLANEY_BREAK_MEL = _SLANEY_BREAK_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_LOG_STEP = np.log(6.4) / 27.0

# O'Shaughnessy (1987), the scale of the HTK book: mel = 1127 ln(1 + f / 700).
_HTK_BREAK_HZ = 700.0
_HTK_MELS_PER_NEPER = 1127.0


def hz_to_mel(hz: NDArray[np.float64], filter_bank: str) -> NDArray[np.float64]:
    """Converts frequencies in Hz to mels on the scale of `filter_bank` (`slaney` or `htk`)."""
    if filter_bank == "htk":
        return np.asarray(_HTK_MELS_PER_NEPER * np.log1p(hz / _HTK_BREAK_HZ))
    logarithmic = _SLANEY_BREAK_MEL + np.log(np.maximum(hz, _SLANEY_BREAK_HZ) / _SLANEY_BREAK_HZ) / (_SLANEY_LOG_STEP)
    return np.where(hz < _SLANEY_BREAK_HZ, hz / _SLANEY_HZ_PER_MEL, logarithmic)


def _slaney_mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithmic = _SLANEY_BREAK_HZ * np.exp(_SLANEY_LOG_STEP * (mel - _SLANEY_BREAK_MEL))
    return np.where(mel < _SLANEY_BREAK_MEL, mel * _SLANEY_HZ_PER_MEL, logarithmic)


def mel_matrix(
    filter_bank: str, bands: int, fft_samples: int, sample_rate_hz: int, low_hz: float, high_hz: float
) -> NDArray[np.float32]:
    """Returns the weights that turn a spectrum into mel bands.

    `slaney` has triangles in Hz, each of area one, as `librosa.filters.mel` has by default; `htk` has triangles
    in mels of height one and leaves out the bin at 0 Hz, as `tf.signal.linear_to_mel_weight_matrix` does.

    Returns:
        float32 of shape (fft_samples // 2 + 1, bands); multiply a spectrum from the left.
    """
    bins_hz = np.arange(fft_samples // 2 + 1, dtype=np.float64) * sample_rate_hz / fft_samples
    low_mel, high_mel = (float(mel) for mel in hz_to_mel(np.array([low_hz, high_hz]), filter_bank))
    edges_mel = np.linspace(low_mel, high_mel, bands + 2)
    if filter_bank == "htk":
        edges, bins = edges_mel, hz_to_mel(bins_hz, filter_bank)
    else:
        edges, bins = _slaney_mel_to_hz(edges_mel), bins_hz
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]  # (bands,) each
    rising = (bins[:, None] - lower) / (centre - lower)  # (bins, bands)
    falling = (upper - bins[:, None]) / (upper - centre)
    weights = np.maximum(0.0, np.minimum(rising, falling))
    if filter_bank == "htk":
        weights[0] = 0.0
    else:
        weights *= 2.0 / (upper - lower)
    return np.asarray(weights, dtype=np.float32)


def cosine_matrix(bands: int, coefficients: int) -> NDArray[np.float32]:
    """Returns the orthonormal DCT-II (Ahmed, Natarajan and Rao, 1974) that turns mel bands into MFCCs.

    Returns:
        float32 of shape (bands, coefficients); multiply log mel bands from the left.
    """
    band = np.arange(bands)[:, None] + 0.5
    matrix = np.sqrt(2.0 / bands) * np.cos(np.pi / bands * band * np.arange(coefficients))
    matrix[:, 0] /= np.sqrt(2.0)
    return np.asarray(matrix, dtype=np.float32)
