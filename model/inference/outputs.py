"""From a network's outputs to probabilities: the one way, for scoring, for Keras and for exports."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import tensorflow as tf

_SMALLEST_PROBABILITY = 1e-7  # as Keras clips probabilities before it takes their logarithm


@dataclass(frozen=True)
class Outputs:
    """What a network's outputs are.

    Attributes:
        are_logits: whether a softmax turns them into probabilities; else they are probabilities.
        temperature: by which logits are divided before the softmax (Guo et al., "On Calibration of Modern Neural
            Networks", 2017); above 1 probabilities are less sure. The order of the classes stays. Of outputs that are
            probabilities, the logits are the logarithms. With 1 nothing is divided, and the bits are those without it.
    """

    are_logits: bool
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Raises `ValueError` for a temperature that is none."""
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"a temperature is a finite number above 0, not {self.temperature}")

    def logits(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns what a softmax makes probabilities of, before the temperature: (clips, classes), the same shape."""
        if self.are_logits:
            return outputs
        logits: NDArray[np.float32] = np.log(np.maximum(outputs, np.float32(_SMALLEST_PROBABILITY)))
        return logits

    def probabilities(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the probability of each class: (clips, classes) to (clips, classes)."""
        if self.temperature == 1 and not self.are_logits:
            return outputs
        from scipy.special import softmax  # which takes a fifth of a second to load, and --help does not need

        logits = self.logits(outputs)
        if self.temperature != 1:
            logits = logits / np.float32(self.temperature)
        result: NDArray[np.float32] = softmax(logits, axis=-1)
        return result

    def in_tensorflow(self, outputs: "tf.Tensor") -> "tf.Tensor":
        """Returns what `probabilities` does as an operation of TensorFlow, which a SavedModel carries along."""
        import tensorflow as tf

        if self.temperature == 1:
            return tf.nn.softmax(outputs) if self.are_logits else tf.identity(outputs)
        logits = outputs if self.are_logits else tf.math.log(tf.maximum(outputs, _SMALLEST_PROBABILITY))
        return tf.nn.softmax(logits / self.temperature)
