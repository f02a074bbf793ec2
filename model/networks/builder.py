"""Builds the networks of the registry, but for the linear one, which is solved for without Keras."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import keras

from features.store.statistics import Statistics
from model.networks.baselines import mlp, raw_cnn, tutorial_cnn
from model.networks.bc_resnet import bc_resnet
from model.networks.cost import multiply_adds
from model.networks.ds_tc_resnet import ds_tc_resnet
from model.networks.own import build_own, returns_logits
from model.networks.registry import Network, Shape
from model.networks.residual import residual

BUILDERS: dict[str, Callable[[Shape, int, Statistics], keras.Model]] = {
    "bc-resnet-1": partial(bc_resnet, 1),
    "bc-resnet-1.5": partial(bc_resnet, 1.5),
    "bc-resnet-2": partial(bc_resnet, 2),
    "bc-resnet-3": partial(bc_resnet, 3),
    "bc-resnet-6": partial(bc_resnet, 6),
    "bc-resnet-8": partial(bc_resnet, 8),
    "ds-tc-resnet": ds_tc_resnet,
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

    Raises:
        UsageError: a network of the user's own is not such a model, or could not be loaded from where it is saved.
    """
    if network.is_own:
        return build_own(network.name, shape, num_classes, statistics)
    return BUILDERS[network.name](shape, num_classes, statistics)


def as_built(network: Network, model: keras.Model) -> Network:
    """Returns a network with what only its model says: whether a network of the user's own gives logits."""
    return replace(network, returns_logits=returns_logits(network.name, model)) if network.is_own else network


def layer_table(model: keras.Model) -> str:
    """Returns the table of a network's layers, output shapes and parameters, and what a clip costs, as text."""
    lines: list[str] = []
    model.summary(print_fn=lambda text, **_: lines.append(text), line_length=80)
    cost = f"{model.count_params():,} parameters, {multiply_adds(model):,} multiply-adds a clip"
    return "\n".join([*lines, cost]) + "\n"
