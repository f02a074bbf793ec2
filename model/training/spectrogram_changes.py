"""Changes of batches of spectrograms as they lie in a feature set, where their waveforms are not at hand.

All take and return float32 of shape (clips, frames, bands), and keep clips apart.
"""

import numpy as np
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import cosine_weights

Clips = NDArray[np.float32]

_NEPERS_PER_DECIBEL = np.float32(np.log(10.0) / 10.0)  # of power
# Below this share of the offset inside the logarithm, what is left of a value is mostly its rounding.
_SHARE_OF_OFFSET = 0.01
# Clips are warped so many at a time that they stay in the cache of a core: in less than half the time of all at once.
_BLOCK_BYTES = 2**18


def silence(spec: FeatureSpec) -> NDArray[np.float32]:
    """Returns the features of a frame of digital silence, (bands,); a dynamic range would raise them."""
    if spec.front_end == "stft":
        return np.zeros(spec.num_bands, np.float32)
    values = from_power(np.zeros(spec.mel_bands or 0, np.float32), spec)
    if spec.front_end == "mfcc":
        values = values @ cosine_weights(spec)
    return values.astype(spec.storage_dtype).astype(np.float32)


def warp(
    clips: Clips,
    shifts: NDArray[np.int64],
    stretches: NDArray[np.float64],
    band_factors: NDArray[np.float64],
    outside: NDArray[np.float32],
) -> Clips:
    """Moves, stretches and warps clips, by linear interpolation between frames and between bands.

    Args:
        clips: float32 of shape (clips, frames, bands).
        shifts: frames by which each begins later in what is there, (clips,).
        stretches: how many times faster each becomes, about its middle, (clips,).
        band_factors: band b of each becomes what was in band b times this, the highest where that is above it.
        outside: a frame before the first and after the last, (bands,).
    """
    step = max(1, _BLOCK_BYTES // clips[0].nbytes) if len(clips) else 1
    changed = np.empty_like(clips)
    for first in range(0, len(clips), step):
        block = slice(first, first + step)
        changed[block] = _warp_block(clips[block], shifts[block], stretches[block], band_factors[block], outside)
    return changed


def _warp_block(
    clips: Clips,
    shifts: NDArray[np.int64],
    stretches: NDArray[np.float64],
    band_factors: NDArray[np.float64],
    outside: NDArray[np.float32],
) -> Clips:
    count, frames, bands = clips.shape
    middle = (frames - 1) / 2
    places = (np.arange(frames) - middle) * stretches[:, None] + middle + shifts[:, None]  # (clips, frames)
    low, high, share = _neighbours(places, frames)
    rows = np.arange(count)[:, None]
    changed = clips[rows, low]
    changed += (clips[rows, high] - changed) * share[..., None]
    changed[(places < 0) | (places > frames - 1)] = outside
    if np.all(band_factors == 1):
        return changed
    low, high, share = _neighbours(np.arange(bands) * band_factors[:, None], bands)
    flat, first = changed.reshape(-1), np.arange(0, changed.size, bands).reshape(count, frames, 1)
    changed = flat.take(first + low[:, None])
    changed += (flat.take(first + high[:, None]) - changed) * share[:, None]
    return changed


def to_power(clips: Clips, spec: FeatureSpec) -> Clips:
    """Returns the power in each frame and band, in an array of its own; silence is 0. `from_power` is its inverse.

    What mel bands of magnitudes hold is a mean of magnitudes: its square is taken for their power.
    """
    if spec.front_end == "stft":
        return np.square(clips, dtype=np.float32)
    if spec.log_scale == "decibel":
        power: Clips = np.exp(clips * _NEPERS_PER_DECIBEL)
        power[clips <= silence(spec)] = 0  # or a gain would raise what was never there
        return power
    power = np.exp(clips)
    power -= np.float32(spec.log_offset or 0.0)
    np.maximum(power, 0, out=power)
    return np.square(power, out=power) if spec.spectrum_power == 1 else power


def from_power(power: Clips, spec: FeatureSpec) -> Clips:
    """Returns the features of a power in each frame and band, which is written over; of MFCCs, their mel bands."""
    if spec.spectrum_power == 1:
        np.sqrt(power, out=power)
    if spec.front_end == "stft":
        return power
    offset = np.float32(spec.log_offset or 0.0)
    if spec.log_scale == "natural":
        power += offset
        return np.log(power, out=power)
    np.maximum(power, offset, out=power)
    np.log10(power, out=power)
    power *= np.float32(10.0)
    return power


def add_noise(
    power: Clips, noise_power: Clips, rows: NDArray[np.int64], snr_db: NDArray[np.float64], spec: FeatureSpec
) -> None:
    """Adds background noise to some clips, in place.

    Powers of signals that know nothing of each other add up in the mean. A clip's own mean power decides how loud its
    noise is: one that is nearly silent stays so, and what it holds is never drowned.

    Args:
        power: of the clips, as `to_power` gives it.
        noise_power: of a window of noise for each of the rows, (rows, frames, bands); it is written over.
        rows: numbers of the clips that get noise, each once.
        snr_db: by how much each of them is louder than its noise, (rows,).
        spec: the front end.
    """
    loudness, noise_loudness = power[rows].mean(axis=(1, 2)), noise_power.mean(axis=(1, 2))
    least = (_SHARE_OF_OFFSET * (spec.log_offset or 0.0)) ** (2 / spec.spectrum_power)
    usable = noise_loudness > least  # else its rounding would be amplified
    factors = np.where(usable, loudness / np.where(usable, noise_loudness, 1) * 10 ** (-snr_db / 10), 0)
    noise_power *= factors.astype(np.float32)[:, None, None]
    power[rows] += noise_power


def limit_range(clips: Clips, spec: FeatureSpec) -> None:
    """Raises what is further below a clip's loudest value than the front end's dynamic range allows, in place."""
    if spec.dynamic_range_db is not None:
        np.maximum(clips, clips.max(axis=(1, 2), keepdims=True) - np.float32(spec.dynamic_range_db), out=clips)


def stretches_covered(
    clips: int, length: int, count: int, longest: int, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Draws stretches of a line for each clip: how long from 0 to `longest`, and then where, all equally likely.

    SpecAugment's masks (Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition",
    2019) are these, of frames and of bands.

    Returns:
        Which places the stretches of each clip cover together, (clips, length).
    """
    places = np.arange(length)
    covered = np.zeros((clips, length), bool)
    for _ in range(count):
        lengths = generator.integers(0, min(longest, length) + 1, (clips, 1))
        starts = generator.integers(0, length - lengths + 1)
        covered |= (places >= starts) & (places < starts + lengths)
    return covered


def _neighbours(
    places: NDArray[np.float64], length: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Returns the two whole places around each place on a line, and how far between them it is; its ends end it."""
    places = np.clip(places, 0, length - 1)
    low = places.astype(np.intp)
    return low, np.minimum(low + 1, length - 1), (places - low).astype(np.float32)
