"""The class of silence: windows of background noise, each at a level of its own, down to none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.store.shards import ShardRows
from model.inference.classes import SILENCE
from model.training.spectrogram_changes import from_power, limit_range, silence, to_power

# From noise as it was recorded to what a good room leaves of it; beside that, digital silence, which pads files.
_LEAST_DB, _MOST_DB = -60.0, 6.0
_DIGITAL_SHARE = 0.1
_FIXED_SEED = 0
_NOTHING_DB, _SLACK = np.float32(-1000.0), np.float32(1e-3)


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
        # Windows of one recording are alike, as clips of one speaker are.
        groups = [place.rpartition("@")[0] for place in places]
        return ShardRows(list(features), paths, [SILENCE] * len(paths), groups)


@dataclass(frozen=True)
class Silence:
    """Windows of background noise.

    Attributes:
        features: float32 of shape (windows, *shape), one at least.
        places: `RECORDING@START` of each, as `features.sources.paths.escape_path` writes paths.
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

    Exact for spectra, up to their rounding and to a mean over frames; of MFCCs the first moves as the loudness does,
    until it is that of digital silence.

    Args:
        features: (windows, *spec.shape).
        gains_db: of each window, -inf for digital silence: (windows,).
        spec: the front end.

    Returns:
        float32 of shape (windows, *spec.shape).
    """
    gains = gains_db.reshape(-1, *[1] * len(spec.shape))
    if spec.front_end == "mfcc":
        digital, of_first = silence(spec), np.float32(np.sqrt(spec.mel_bands or 1))  # the transform is orthonormal
        a_decibel = spec.spectrum_power / 2 * (np.log(10) / 10 if spec.log_scale == "natural" else 1.0)
        changed = features.copy()
        changed[..., :1] += np.maximum(gains, _NOTHING_DB) * np.float32(a_decibel) * of_first
        lowest = np.minimum(features[..., :1], changed[..., :1])  # what holds nothing has nothing to be made louder
        changed = np.where(np.isneginf(gains) | (lowest <= digital[0] + _SLACK * of_first), digital, changed)
    else:
        power = to_power(features, spec)
        power *= 10 ** (gains / 10)
        changed = from_power(power, spec)
        if len(spec.shape) > 1:
            limit_range(changed, spec)
    return changed.astype(spec.storage_dtype).astype(np.float32)
