"""Networks by name, each a table of layers."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from features.errors import UsageError


@dataclass(frozen=True)
class Network:
    """A network and what belongs to it.

    Attributes:
        build: from the shape of a clip's features, the number of classes, and mean and variance of the training
            features, to the network; it takes (clips, *shape, 1) and returns (clips, classes).
        returns_logits: whether the output is to be put through a softmax to give probabilities.
    """

    build: Callable[[tuple[int, ...], int, float, float], keras.Model]
    returns_logits: bool


def normalization(mean: float, variance: float) -> layers.Normalization:
    """Returns a layer that brings features of this mean and variance to 0 and 1.

    The two are weights, as `adapt` leaves them, so that they count as parameters and are saved with the network.
    """
    layer = layers.Normalization(axis=None)
    layer.build((None, None, None, 1))
    layer.set_weights([np.float32(mean), np.float32(variance), np.int32(0)])
    layer.finalize_state()
    return layer


def tutorial_cnn(shape: tuple[int, ...], num_classes: int, mean: float, variance: float) -> keras.Model:
    """Returns the network of TensorFlow's audio recognition tutorial, for spectrograms of any size."""
    return keras.Sequential(
        [
            layers.Input((*shape, 1), name="features"),
            layers.Resizing(32, 32),
            normalization(mean, variance),
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


NETWORKS = {"tutorial-cnn": Network(tutorial_cnn, returns_logits=True)}


def network(name: str) -> Network:
    """Returns a network by its name; raises `UsageError` for a name that is none."""
    if name not in NETWORKS:
        raise UsageError(f"no network {name!r}; there are {', '.join(sorted(NETWORKS))}")
    return NETWORKS[name]


def layer_table(model: keras.Model) -> str:
    """Returns the table of a network's layers, output shapes and parameters, as text."""
    lines: list[str] = []
    model.summary(print_fn=lambda text, **_: lines.append(text), line_length=80)
    return "\n".join(lines) + "\n"
