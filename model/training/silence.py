"""The class of silence: windows of background noise, each at a level of its own, down to none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import compute_features
from features.store.shards import ShardRows
from model.training.label_plan import SILENCE

# From noise as it was recorded to what a good room leaves of it; beside that, digital silence, which pads files.
_LEAST_DB, _MOST_DB = -60.0, 6.0
_DIGITAL_SHARE = 0.1
_FIXED_SEED = 0


@dataclass(frozen=True)
class SilenceRows:
    """Rows of `_silence_`, computed when they are read.

    Attributes:
        silence: what they are cut from.
        windows: number of the window of each, int64 of shape (rows,).
        gains_db: of each, -inf for digital silence, float32 of shape (rows,).
    """

    silence: "Silence"
    windows: NDArray[np.int64]
    gains_db: NDArray[np.float32]

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.windows)

    def read(self, first: int, last: int) -> ShardRows:
        """Returns the rows from `first` to before `last` as those of a shard; a path names recording and start."""
        windows = self.windows[first:last]
        features = at_levels(self.silence.features[windows], self.gains_db[first:last], self.silence.spec)
        places = [self.silence.places[window] for window in windows.tolist()]
        paths = [f"{SILENCE}/{first + number:06d}/{place}" for number, place in enumerate(places)]
        return ShardRows(list(features), paths, [SILENCE] * len(paths))


@dataclass(frozen=True)
class Silence:
    """Windows of background noise.

    Attributes:
        features: float32 of shape (windows, *shape), one at least.
        places: recording and start of each, as `features.sources.paths.escape_path` writes paths.
        spec: the front end.
    """

    features: NDArray[np.float32]
    places: list[str]
    spec: FeatureSpec

    def draw(self, count: int, generator: np.random.Generator) -> SilenceRows:
        """Returns so many rows, each window as often as the others."""
        windows = generator.permutation(cycle(len(self.features), count, generator))
        gains_db = generator.uniform(_LEAST_DB, _MOST_DB, count).astype(np.float32)
        gains_db[generator.random(count) < _DIGITAL_SHARE] = -np.inf
        return SilenceRows(self, windows, gains_db)

    def fixed(self, count: int) -> SilenceRows:
        """Returns so many rows to validate or test on: always the same ones, whatever the seed of a training is."""
        return self.draw(count, np.random.default_rng(_FIXED_SEED))


def cycle(size: int, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draws `count` of `size` numbers, one of them a second time only when all have come: (count,), sorted."""
    if not size:
        return np.empty(0, np.int64)
    whole, rest = divmod(count, size)
    part = generator.permutation(size)[:rest] if rest else np.empty(0, np.int64)
    return np.sort(np.concatenate([np.tile(np.arange(size), whole), part]))


def at_levels(features: NDArray[np.float32], gains_db: NDArray[np.float32], spec: FeatureSpec) -> NDArray[np.float32]:
    """Returns features as the front end would have computed them from louder or softer windows.

    Exact for `stft` and `log_mel`, up to what rounding and a mean over frames lose; of MFCCs the first moves as the
    loudness does, and none below that of digital silence.

    Args:
        features: (windows, *spec.shape).
        gains_db: of each window, -inf for digital silence: (windows,).
        spec: the front end.

    Returns:
        float32 of shape (windows, *spec.shape).
    """
    zeros = np.zeros((1, spec.clip_samples or max(spec.sample_rate_hz, spec.least_samples)), np.float32)
    digital = compute_features(zeros, spec)[0].astype(np.float32)
    gains = gains_db.astype(np.float64).reshape(-1, *[1] * len(spec.shape))
    if spec.front_end == "stft":
        return (features * 10 ** (gains / 20)).astype(spec.storage_dtype).astype(np.float32)
    is_silent = np.isneginf(gains)
    finite = np.where(is_silent, 0.0, gains)
    # What the logarithm of each mel band gains.
    shift = finite * spec.spectrum_power / 2 * (np.log(10) / 10 if spec.log_scale == "natural" else 1.0)
    if spec.front_end == "mfcc":
        changed = features.astype(np.float64)
        changed[..., :1] += shift * np.sqrt(spec.mel_bands or 1)  # of the orthonormal cosine transform
        is_silent = is_silent | (changed[..., :1] <= digital[..., :1])
    elif spec.log_scale == "natural":
        offset = spec.log_offset or 0.0
        bands = np.maximum(np.exp(features.astype(np.float64)) - offset, 0.0)
        changed = np.log(bands * np.exp(shift) + offset)
    else:
        changed = np.maximum(features + shift, digital)
    return np.where(is_silent, digital, changed).astype(spec.storage_dtype).astype(np.float32)
