"""Networks by name, each a table of layers."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from features.errors import UsageError
from features.store.statistics import Statistics

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """A network and what belongs to it.

    Attributes:
        build: from the shape of a clip's features, the number of classes, and the statistics of the training features,
            to the network; it takes (clips, *shape, 1) and returns (clips, classes).
        returns_logits: whether the output is to be put through a softmax to give probabilities.
        is_binary: whether each class is learnt as a yes or no of its own (binary cross-entropy on one-hot labels,
            recall watched), instead of one class out of all (cross-entropy on class ids).
        needs_frames: whether features have to be (frames, bands).
        least_size: frames and bands that they have at least.
    """

    build: Callable[[Shape, int, Statistics], keras.Model]
    returns_logits: bool = False
    is_binary: bool = False
    needs_frames: bool = True
    least_size: int = 1

    def compile(self, model: keras.Model, learning_rate: float) -> None:
        """Gives the network its loss, Adam, and the metrics that are watched."""
        if self.is_binary:
            loss = keras.losses.BinaryCrossentropy(from_logits=self.returns_logits)
            metrics = [keras.metrics.CategoricalAccuracy(name="accuracy"), keras.metrics.Recall(name="recall")]
        else:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=self.returns_logits)
            metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
        model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss=loss, metrics=metrics)


def normalization(mean: float | NDArray[np.float64], variance: float | NDArray[np.float64]) -> layers.Normalization:
    """Returns a layer that brings features of this mean and variance to 0 and 1.

    The two are weights, as `adapt` leaves them, so that they count as parameters and are saved with the network.

    Args:
        mean: one number for all values, or a number a band, (bands,), for inputs whose last axis is the bands.
        variance: likewise.
    """
    bands = np.shape(mean)
    layer = layers.Normalization(axis=-1 if bands else None)
    layer.build((None, *bands) if bands else (None, None, None, 1))
    layer.set_weights([np.asarray(mean, np.float32), np.asarray(variance, np.float32), np.int32(0)])
    layer.finalize_state()
    return layer


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


NETWORKS = {
    "mlp": Network(mlp, needs_frames=False),
    "raw-cnn": Network(raw_cnn, is_binary=True, least_size=5),
    "tutorial-cnn": Network(tutorial_cnn, returns_logits=True),
}


def network(name: str, shape: Shape) -> Network:
    """Returns a network by its name; raises `UsageError` for a name that is none, or features that it cannot take."""
    if name not in NETWORKS:
        raise UsageError(f"no network {name!r}; there are {', '.join(sorted(NETWORKS))}")
    chosen = NETWORKS[name]
    if chosen.needs_frames and len(shape) != 2:
        others = ", ".join(sorted(other for other, one in NETWORKS.items() if not one.needs_frames))
        raise UsageError(
            f"{name} takes features of shape (frames, bands), not {shape}, which is a mean over all frames; train "
            f"{others}, or featurize with a preset that has frames"
        )
    if min(shape) < chosen.least_size:
        raise UsageError(
            f"{name} takes at least {chosen.least_size} frames and bands, not features of shape {shape}; train another "
            "network, or featurize with a preset that has more of them"
        )
    return chosen


def layer_table(model: keras.Model) -> str:
    """Returns the table of a network's layers, output shapes and parameters, as text."""
    lines: list[str] = []
    model.summary(print_fn=lambda text, **_: lines.append(text), line_length=80)
    return "\n".join(lines) + "\n"
