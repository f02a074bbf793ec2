"""Labels waveforms and features with a trained network, in batches of one fixed size.

Every batch is filled up to the same number of rows: a network's last digits depend on the shape of what it is given,
and a clip's probabilities must not depend on how many others came with it.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import softmax

from model.artifact import Artifact
from model.labels import BATCH_CLIPS


class Predictor:
    """A network ready for use."""

    def __init__(self, artifact: Artifact) -> None:
        """Keeps the artifact and makes the network a graph of one batch shape."""
        self.artifact = artifact
        self.spec = artifact.spec
        self.classes = artifact.classes
        network = artifact.network
        signature = tf.TensorSpec((BATCH_CLIPS, *artifact.spec.shape, 1), tf.float32)
        self._call = tf.function(lambda batch: network(batch, training=False), input_signature=[signature])

    def probabilities(self, batch: NDArray[np.floating]) -> NDArray[np.float32]:
        """Returns the probability of each class: (clips, *spec.shape) to (clips, classes)."""
        parts = [self._fixed(part) for part in _slices(batch)]
        if not parts:
            return np.zeros((0, len(self.artifact.classes)), dtype=np.float32)
        return np.concatenate(parts)

    def _fixed(self, batch: NDArray[np.floating]) -> NDArray[np.float32]:
        filled = np.zeros((BATCH_CLIPS, *self.artifact.spec.shape, 1), dtype=np.float32)
        filled[: len(batch), ..., 0] = batch
        outputs = self._call(filled).numpy()[: len(batch)]
        return softmax(outputs, axis=-1) if self.artifact.returns_logits else outputs


def _slices(batch: NDArray[np.floating]) -> Iterator[NDArray[np.floating]]:
    return (batch[first : first + BATCH_CLIPS] for first in range(0, len(batch), BATCH_CLIPS))
