"""Batch normalization as one operation while a network learns; the network that is kept has Keras' own layers."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from model.training.precision import FLOAT32

_IMAGE_RANK = 4  # (clips, rows, columns, channels), which TensorFlow's operation takes


class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]  # Keras has no types
    """Keras' layer by the one operation that TensorFlow has for it, where Keras 3 takes some ten, each over all values.

    Outputs, gradients and running means are those of the layer that it stands for, but for rounding.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the inputs normalized, of the same shape; in training the running means move on."""
        if not training or not self.trainable or mask is not None or not self._can_be_fused(len(inputs.shape)):
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma.value, self.beta.value, epsilon=self.epsilon, is_training=True
        )
        # It returns the variance with n - 1 in its denominator, and Keras takes that with n.
        number = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], variance.dtype)
        for running, current in ((self.moving_mean, mean), (self.moving_variance, variance * (number - 1) / number)):
            running.assign(running * self.momentum + current * (1 - self.momentum))
        return outputs

    def _can_be_fused(self, rank: int) -> bool:
        return (
            rank == _IMAGE_RANK
            and self.axis in (-1, _IMAGE_RANK - 1)
            and self.center
            and self.scale
            and not self.synchronized
            and self.compute_dtype == FLOAT32
        )


@contextlib.contextmanager
def fused_normalization(model: keras.Model) -> Iterator[None]:
    """Has Keras' batch normalization in a network computed as one operation meanwhile, where that can stand for it.

    The layers stay the same objects with the same weights and are of Keras' own class again afterwards, so that the
    network can be saved and loaded without this module.
    """
    changed = [layer for layer in _all_layers(model) if type(layer) is keras.layers.BatchNormalization]
    for layer in changed:
        layer.__class__ = FusedBatchNormalization
    try:
        yield
    finally:
        for layer in changed:
            layer.__class__ = keras.layers.BatchNormalization


def _all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _all_layers(layer)
