"""Layers that networks share."""

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from features.store.statistics import Statistics


def normalization(mean: float | NDArray[np.float64], variance: float | NDArray[np.float64]) -> layers.Normalization:
    """Returns a layer that brings features of this mean and variance to 0 and 1.

    The two are weights, as `adapt` leaves them, so that they count as parameters and are saved with the network.

    Args:
        mean: one number for all values, or a number per band, (bands,), for inputs whose last axis is the bands.
        variance: likewise.
    """
    bands = np.shape(mean)
    # In float32 whatever the precision of the others: features far from 0 would lose most of their digits.
    layer = layers.Normalization(axis=-1 if bands else None, dtype="float32")
    layer.build((None, *bands) if bands else (None, None, None, 1))
    layer.set_weights([np.asarray(mean, np.float32), np.asarray(variance, np.float32), np.int32(0)])
    layer.finalize_state()
    return layer


def without_still_bands(x: keras.KerasTensor, statistics: Statistics) -> keras.KerasTensor:
    """Returns normalized features with 0, their mean, in place of the bands that stand still in training.

    A network that normalizes a part of the bands by itself would divide by the deviation of such bands, which is next
    to none, and take the first sound there for something enormous. Of other features it returns what it gets.

    Args:
        x: (clips, frames, bands, 1).
        statistics: of the training features.
    """
    still = statistics.still_bands()
    if still.all() or not still.any():
        return x
    return layers.Rescaling(np.where(still, 0.0, 1.0)[:, np.newaxis].tolist(), name="without_still_bands")(x)


def use_given_normalization(model: keras.Model) -> None:
    """Has a network compute with the means and variances among its weights, after others were assigned to them.

    Keras' layer computes with copies of them, which it takes when it is built or loaded, and so do the functions that
    were compiled of it. Without this a network would learn with other numbers than it is saved with.
    """
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()
        elif isinstance(layer, keras.Model):
            use_given_normalization(layer)
    model.train_function = model.test_function = model.predict_function = None
