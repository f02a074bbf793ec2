"""Builds the networks of the registry."""

from collections.abc import Callable

import keras

from features.store.statistics import Statistics
from model.networks.baselines import mlp, raw_cnn, tutorial_cnn
from model.networks.registry import Network, Shape
from model.networks.residual import residual

BUILDERS: dict[str, Callable[[Shape, int, Statistics], keras.Model]] = {
    "mlp": mlp,
    "raw-cnn": raw_cnn,
    "residual": residual,
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


def layer_table(model: keras.Model) -> str:
    """Returns the table of a network's layers, output shapes and parameters, as text."""
    lines: list[str] = []
    model.summary(print_fn=lambda text, **_: lines.append(text), line_length=80)
    return "\n".join(lines) + "\n"
