"""Small networks: those that results of others are compared with."""

import keras
from keras import layers

from features.store.statistics import Statistics
from model.networks.layers import normalization
from model.networks.registry import Shape


def tutorial_cnn(shape: Shape, num_classes: int, statistics: Statistics) -> keras.Model:
    """Returns the network of TensorFlow's audio recognition tutorial, for spectrograms of any size."""
    return keras.Sequential(
        [
            layers.Input((*shape, 1), name="features"),
            layers.Resizing(32, 32),
            normalization(*statistics.scalar()),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(num_classes, name="logits"),
        ],
        name="tutorial_cnn",
    )


def raw_cnn(shape: Shape, num_classes: int, statistics: Statistics) -> keras.Model:
    """Returns two convolutions and a wide dense layer on the spectrogram as it is; it has most of its weights there."""
    return keras.Sequential(
        [
            layers.Input((*shape, 1), name="features"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(num_classes, activation="softmax", name="probabilities"),
        ],
        name="raw_cnn",
    )


def mlp(shape: Shape, num_classes: int, statistics: Statistics) -> keras.Model:
    """Returns two dense layers on features of any shape, each band brought to mean 0 and variance 1."""
    return keras.Sequential(
        [
            layers.Input((*shape, 1), name="features"),
            layers.Reshape(shape),
            normalization(*statistics.by_band()),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(256, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(num_classes, activation="softmax", name="probabilities"),
        ],
        name="mlp",
    )
