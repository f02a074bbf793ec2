"""Builds the networks of the registry, and compiles them with the loss that stands there."""

from collections.abc import Callable

import keras

from features.store.statistics import Statistics
from model.networks.baselines import mlp, raw_cnn, tutorial_cnn
from model.networks.registry import Network, Shape

BUILDERS: dict[str, Callable[[Shape, int, Statistics], keras.Model]] = {
    "mlp": mlp,
    "raw-cnn": raw_cnn,
    "tutorial-cnn": tutorial_cnn,
}
"""By name, what makes a network: see `build`."""


def build(network: Network, shape: Shape, num_classes: int, statistics: Statistics) -> keras.Model:
    """Builds a network, its weights drawn by Keras' random generator.

    Args:
        network: as `model.networks.registry.network` returns it for this shape.
        shape: of a clip's features.
        num_classes: number of outputs.
        statistics: of the training features.

    Returns:
        A model that takes (clips, *shape, 1) and returns (clips, classes).
    """
    return BUILDERS[network.name](shape, num_classes, statistics)


def compile_model(model: keras.Model, network: Network, learning_rate: float) -> None:
    """Gives a model the loss of its network, Adam, and the metrics that are watched."""
    if network.loss == "binary":
        loss = keras.losses.BinaryCrossentropy(from_logits=network.returns_logits)
        metrics = [keras.metrics.CategoricalAccuracy(name="accuracy"), keras.metrics.Recall(name="recall")]
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=network.returns_logits)
        metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss=loss, metrics=metrics)


def layer_table(model: keras.Model) -> str:
    """Returns the table of a network's layers, output shapes and parameters, as text."""
    lines: list[str] = []
    model.summary(print_fn=lambda text, **_: lines.append(text), line_length=80)
    return "\n".join(lines) + "\n"
