"""Begins a training with the weights of an earlier run, which may know other classes."""

import keras
import numpy as np

from features.errors import UsageError
from model.inference.artifact import Artifact


def take_weights(model: keras.Model, classes: list[str], earlier: Artifact, run: str) -> list[str]:
    """Gives a network the weights of an earlier one of the same kind.

    All layers take theirs over, the normalization of the features too, which the others were learnt with. Of the last
    layer, the outputs of the classes that both know are taken, and the others stay as they were drawn.

    Args:
        model: to be trained.
        classes: labels in the order of its outputs.
        earlier: the earlier network.
        run: its folder, for messages.

    Returns:
        The classes that the earlier network did not know.

    Raises:
        UsageError: it is of another kind, or for features of another shape.
    """
    places = {label: number for number, label in enumerate(earlier.classes)}
    common = [number for number, label in enumerate(classes) if label in places]
    theirs = [places[classes[number]] for number in common]
    for mine, other in zip_weights(model, earlier.network, run):
        value = np.asarray(other)
        if tuple(mine.shape) == value.shape and not _is_of_classes(mine, model):
            mine.assign(value)
        elif _is_of_classes(mine, model) and tuple(mine.shape[:-1]) == value.shape[:-1]:
            weights = np.array(mine)
            weights[..., common] = value[..., theirs]
            mine.assign(weights)
        else:
            raise _other_kind(run, f"its {mine.path} has shape {value.shape}, not {tuple(mine.shape)}")
    return [label for label in classes if label not in places]


def zip_weights(model: keras.Model, other: keras.Model, run: str) -> list[tuple[keras.Variable, keras.Variable]]:
    """Returns the weights of two networks of one kind in pairs; raises `UsageError` where they are of two."""
    pairs = list(zip(model.weights, other.weights, strict=False))
    if len(model.weights) != len(other.weights):
        raise _other_kind(run, f"it has {len(other.weights)} weights, not {len(model.weights)}")
    return pairs


def _is_of_classes(weight: keras.Variable, model: keras.Model) -> bool:
    return any(weight is one for one in model.layers[-1].weights)


def _other_kind(run: str, why: str) -> UsageError:
    return UsageError(f"--init {run} holds another network than the one to be trained: {why}; give its --network, or "
                      "train without --init")  # fmt: skip
