"""From a network's outputs to probabilities: the one way, for scoring, for Keras and for exports."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Outputs:
    """What a network's outputs are.

    Attributes:
        are_logits: whether a softmax turns them into probabilities; else they are probabilities.
    """

    are_logits: bool

    def probabilities(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the probability of each class: (clips, classes) to (clips, classes)."""
        if not self.are_logits:
            return outputs
        from scipy.special import softmax  # which takes a fifth of a second to load, and --help does not need

        result: NDArray[np.float32] = softmax(outputs, axis=-1)
        return result

    def in_tensorflow(self, outputs: "tf.Tensor") -> "tf.Tensor":
        """Returns what `probabilities` does as an operation of TensorFlow, which a SavedModel carries along."""
        import tensorflow as tf

        return tf.nn.softmax(outputs) if self.are_logits else tf.identity(outputs)
