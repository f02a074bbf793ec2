"""What the network sees of a batch while it learns: targets as shares of the classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.training.settings import Settings

Changed = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Features (clips, *shape, 1), targets (clips, classes), and weights (clips,) of the clips in the loss."""


@dataclass(frozen=True)
class Augmenter:
    """Changes the batches of a training at random, each by a generator of its own.

    Attributes:
        settings: of the training.
        class_weights: what a clip of each class counts in the loss, float32 of shape (classes,).
    """

    settings: Settings
    class_weights: NDArray[np.float32]

    def change(self, features: NDArray[np.float32], ids: NDArray[np.int32], generator: np.random.Generator) -> Changed:
        """Returns a batch as the network learns from it.

        Args:
            features: float32 of shape (clips, *shape, 1); they may be written over.
            ids: class ids, (clips,).
            generator: of this batch.
        """
        classes = len(self.class_weights)
        targets = np.eye(classes, dtype=np.float32)[ids]
        smoothing = np.float32(self.settings.schedule.label_smoothing)
        weights = targets @ self.class_weights
        return features, targets * (1 - smoothing) + smoothing / classes, weights


def changes_batches(settings: Settings) -> bool:
    """Returns whether a training sees its clips or targets otherwise than they are."""
    augmentation, schedule = settings.augmentation, settings.schedule
    return bool(
        schedule.label_smoothing
        or schedule.balance == "weights"
        or augmentation.time_shift_seconds
        or augmentation.time_stretch
        or augmentation.frequency_warp
        or augmentation.gain_db
        or augmentation.time_masks
        or augmentation.frequency_masks
        or augmentation.mixup_alpha
        or augmentation.noise_probability
    )


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
