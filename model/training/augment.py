"""What the network sees of a batch while it learns: clips changed at random, targets as shares of the classes.

The order is that in which a recording comes about: the voice and when it speaks (warp), how loud (gain), what else is
there (noise); then what is left out (masks) and mixed (mixup).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.sources.partition import TRAINING
from features.store.statistics import Statistics
from model.training.noise import Noise
from model.training.settings import Settings
from model.training.spectrogram_changes import (
    Clips,
    add_noise,
    from_power,
    limit_range,
    silence,
    stretches_covered,
    to_power,
    warp,
)

Changed = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Features (clips, *shape, 1), targets (clips, classes), and weights (clips,) of the clips in the loss."""

# Tells the numbers of the augmentation from those of the order, which have the same seed.
_AUGMENTATION = 1

_ON_FRAMES = ("time_shift_seconds", "time_stretch", "frequency_warp", "gain_db", "time_masks", "frequency_masks",
              "noise_probability")  # fmt: skip
_ON_SPECTRA = ("frequency_warp", "gain_db", "noise_probability")
_MOVES = ("time_shift_seconds", "time_stretch")


@dataclass(frozen=True)
class Augmenter:
    """Changes the batches of a training at random, each by a generator of its own.

    Attributes:
        settings: of the training, without what the features do not allow; see `impossible`.
        class_weights: what a clip of each class counts in the loss, float32 of shape (classes,).
        spec: the front end of the features.
        mean: of the features trained on, float32 of shape (bands,): what masks leave.
        noise: features of windows of background noise, float32 of shape (windows, *shape); None where none is used.
    """

    settings: Settings
    class_weights: NDArray[np.float32]
    spec: FeatureSpec
    mean: NDArray[np.float32]
    noise: NDArray[np.float32] | None = None

    def change(self, features: NDArray[np.float32], ids: NDArray[np.int32], generator: np.random.Generator) -> Changed:
        """Returns a batch as the network learns from it.

        Args:
            features: float32 of shape (clips, *shape, 1); they may be written over.
            ids: class ids, (clips,).
            generator: of this batch: the same one in the same state gives the same bits.
        """
        classes = len(self.class_weights)
        targets = np.eye(classes, dtype=np.float32)[ids]
        if len(self.spec.shape) > 1 and self.spec.front_end != "embedding":
            clips = self._warped(features[..., 0], generator)
            clips = self._with_gain_and_noise(clips, generator)
            features = self._masked(clips, generator)[..., None]
        features, targets = self._mixed(features, targets, generator)
        smoothing = np.float32(self.settings.schedule.label_smoothing)
        weights = targets @ self.class_weights
        return features, targets * (1 - smoothing) + smoothing / classes, weights

    def _warped(self, clips: Clips, generator: np.random.Generator) -> Clips:
        chosen, count = self.settings.augmentation, len(clips)
        if not (chosen.time_shift_seconds or chosen.time_stretch or chosen.frequency_warp):
            return clips
        most = round(chosen.time_shift_seconds * self.spec.sample_rate_hz / self.spec.hop_samples)
        shifts = generator.integers(-most, most + 1, count)
        # Twice as fast is as likely as half as fast.
        stretches = np.exp(generator.uniform(-1, 1, count) * np.log1p(chosen.time_stretch))
        band_factors = np.exp(generator.uniform(-1, 1, count) * np.log1p(chosen.frequency_warp))
        return warp(clips, shifts, stretches, band_factors, silence(self.spec))

    def _with_gain_and_noise(self, clips: Clips, generator: np.random.Generator) -> Clips:
        chosen, count = self.settings.augmentation, len(clips)
        if chosen.gain_db or self.noise is not None:
            power = to_power(clips, self.spec)
            gains_db = generator.uniform(-chosen.gain_db, chosen.gain_db, (count, 1, 1))
            power *= (10 ** (gains_db / 10)).astype(np.float32)
            if self.noise is not None:
                rows = np.flatnonzero(generator.random(count) < chosen.noise_probability)
                windows = generator.integers(0, len(self.noise), len(rows))
                snr_db = generator.uniform(*chosen.noise_snr_db, len(rows))
                add_noise(power, to_power(self.noise[windows], self.spec), rows, snr_db, self.spec)
            clips = from_power(power, self.spec)
        if self.spec.front_end != "mfcc":
            limit_range(clips, self.spec)
        return clips

    def _masked(self, clips: Clips, generator: np.random.Generator) -> Clips:
        chosen, (count, frames, bands) = self.settings.augmentation, clips.shape
        longest = round(chosen.time_mask_seconds * self.spec.sample_rate_hz / self.spec.hop_samples)
        widest = round(chosen.frequency_mask_share * bands)
        if chosen.time_masks:
            clips[stretches_covered(count, frames, chosen.time_masks, longest, generator)] = self.mean
        if chosen.frequency_masks:
            covered = stretches_covered(count, bands, chosen.frequency_masks, widest, generator)
            np.copyto(clips, self.mean, where=covered[:, None])
        return clips

    def _mixed(
        self, features: NDArray[np.float32], targets: NDArray[np.float32], generator: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mixes each clip and its target with another's (Zhang et al., "mixup: Beyond Empirical Risk Minimization").

        The larger share is always the clip's own: the other way round is the same pair, which as many others have.
        """
        alpha = self.settings.augmentation.mixup_alpha
        if not alpha:
            return features, targets
        shares = generator.beta(alpha, alpha, len(features))
        own = np.maximum(shares, 1 - shares).astype(np.float32)
        others = generator.permutation(len(features))

        def mix(values: NDArray[np.float32]) -> NDArray[np.float32]:
            share = own.reshape(-1, *[1] * (values.ndim - 1))
            mixed = values[others]
            mixed *= 1 - share
            values *= share
            mixed += values
            return mixed

        return mix(features), mix(targets)


def batch_generator(seed: int, epoch: int, number: int) -> np.random.Generator:
    """Returns the generator of a batch of a training, which follows from its number, however the training got there."""
    return np.random.default_rng([seed, epoch, number, _AUGMENTATION])


def make_augmenter(
    spec: FeatureSpec,
    statistics: Statistics,
    settings: Settings,
    noise: Noise | None,
    class_counts: NDArray[np.int64],
) -> Augmenter:
    """Returns the augmenter of a training.

    Args:
        spec: of the features.
        statistics: of the features learnt from.
        settings: of the training.
        noise: background noise, None where none is used.
        class_counts: clips of each class in an epoch, (classes,).
    """
    windows = noise.windows[TRAINING].features if noise and settings.augmentation.noise_probability else None
    mean = statistics.by_band()[0].astype(np.float32)
    return Augmenter(settings, class_weights(class_counts, settings.schedule.balance), spec, mean, windows)


def impossible(settings: Settings, spec: FeatureSpec, has_noise: bool) -> dict[str, str]:
    """Returns which augmentations of a training cannot be, by the names of their settings, and why.

    Args:
        settings: of the training.
        spec: the front end of its features.
        has_noise: whether there are recordings of background noise.
    """
    reasons = {}
    if not has_noise:
        reasons["noise_probability"] = (
            "there is no background noise, neither a folder _background_noise_ in the source nor --noise"
        )
    if spec.clip_seconds is not None and settings.augmentation.time_shift_seconds >= spec.clip_seconds:
        reasons["time_shift_seconds"] = f"a clip of {spec.clip_seconds:g} s would be moved out of itself"
    if spec.front_end == "mfcc":
        reasons |= dict.fromkeys(_ON_SPECTRA, "MFCCs are no spectrum, which could be added to or moved")
        if spec.dynamic_range_db is not None:
            reasons |= dict.fromkeys(_MOVES, "what silence is depends on each clip's loudest sound, which MFCCs lost")
    if spec.front_end == "embedding":
        reasons |= dict.fromkeys(_ON_FRAMES, "embeddings are no spectrogram: they take --mixup-alpha alone")
    elif len(spec.shape) == 1:
        reasons |= dict.fromkeys(_ON_FRAMES, "features without frames take --mixup-alpha alone")
    chosen = settings.flat()
    return {name: reason for name, reason in reasons.items() if chosen[name]}


def changes_batches(settings: Settings) -> bool:
    """Returns whether a training sees its clips or targets otherwise than they are."""
    chosen, schedule = settings.flat(), settings.schedule
    changes = (*_ON_FRAMES, "mixup_alpha")
    return bool(schedule.label_smoothing or schedule.balance == "weights" or any(chosen[name] for name in changes))


def class_weights(counts: NDArray[np.int64], balance: str) -> NDArray[np.float32]:
    """Returns what a clip of each class counts in the loss: all the same, or `weights` that bring classes to one sum.

    Args:
        counts: clips of each class, (classes,).
        balance: see `Schedule`.

    Returns:
        float32 of shape (classes,); clips / (classes * counts) as scikit-learn's `balanced`, so that their mean over
        the clips is 1.
    """
    if balance != "weights":
        return np.ones(len(counts), dtype=np.float32)
    weights: NDArray[np.float64] = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return weights.astype(np.float32)
