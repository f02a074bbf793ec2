"""A network behind its front end as one function of TensorFlow, which every export is made of."""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from features.frontend.spec import FeatureSpec
from model.formats.tf_front_end import TensorFlowFrontEnd
from model.inference.artifact import Artifact

_LARGEST = float(np.finfo(np.float32).max)


class NetworkFunction(tf.Module):
    """A network with its front end: from waveforms to numbers, in operations that all formats have.

    Where the front end runs a network of its own, which TensorFlow may not be able to run, it takes features.

    A clip that holds a number that is not finite is what soundmill itself rejects: its predictions and probabilities
    are NaN, and its class id is -1.

    Attributes:
        input: the input, without a number of clips: float32 named `waveforms` of shape (None, spec.clip_samples), or
            named `features` of shape (None, *spec.shape).
    """

    def __init__(self, artifact: Artifact, by_fft: bool = False) -> None:
        """Keeps the network, whose weights are saved with the module.

        Args:
            artifact: the network.
            by_fft: see `TensorFlowFrontEnd`.
        """
        super().__init__(name="soundmill")
        self._spec: FeatureSpec = artifact.spec
        self._outputs = artifact.outputs
        # The network stays behind a function, where saving does not see it: its weights would be written twice.
        self._predict: Callable[[tf.Tensor], tf.Tensor] = lambda features: artifact.network(features, training=False)
        self._weights = [weight.value for weight in artifact.network.weights]
        if self._spec.network_name is None:
            self._front_end: TensorFlowFrontEnd | None = TensorFlowFrontEnd(self._spec, by_fft)
            self.input = tf.TensorSpec((None, self._spec.clip_samples), tf.float32, name="waveforms")
        else:
            self._front_end = None
            self.input = tf.TensorSpec((None, *self._spec.shape), tf.float32, name="features")

    def label(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Labels clips, one at least.

        Args:
            inputs: as `input` says.

        Returns:
            `predictions`, what the network gives, and `probabilities`, float32 of shape (clips, classes) each, and
            `class_ids`, int32 of shape (clips,).
        """
        features = self._front_end(inputs) if self._front_end else inputs
        usable = _is_finite(features) & _is_finite(inputs)  # (clips,)
        predictions = self._predict(tf.expand_dims(features, axis=-1))
        predictions = tf.where(tf.expand_dims(usable, axis=1), predictions, math.nan)
        class_ids = tf.argmax(predictions, axis=-1, output_type=tf.int32)  # of NaN, 0
        return {
            "predictions": predictions,
            "probabilities": self._outputs.in_tensorflow(predictions),
            "class_ids": tf.where(usable, class_ids, -1),
        }

    def label_any_number(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Labels clips as `label` does, or none: an empty batch gets a clip of zeros, which is dropped again.

        Not every operation of a network takes an empty batch.
        """
        clips = tf.shape(inputs)[0]
        missing = tf.cast(tf.equal(clips, 0), tf.int32)
        some = tf.pad(inputs, [[0, missing], *[[0, 0]] * (len(inputs.shape) - 1)])
        return {name: values[:clips] for name, values in self.label(some).items()}


def _is_finite(values: tf.Tensor) -> tf.Tensor:
    """Returns whether all numbers of each clip are finite: (clips, ...) to (clips,). LiteRT has no `is_finite`."""
    return tf.reduce_all(tf.abs(values) <= _LARGEST, axis=tuple(range(1, len(values.shape))))
