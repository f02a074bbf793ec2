"""Run folders with a network of one layer."""

from pathlib import Path

import keras
import numpy as np

from features.frontend.spec import FeatureSpec
from model.inference.artifact import Artifact, save_artifact


def save_dense(run: Path, spec: FeatureSpec, classes: list[str], weights=None, softmax: bool = False) -> Path:
    """Writes a run folder with a network of one layer: random, or with the weights given."""
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(len(classes), activation="softmax" if softmax else None)
    network = keras.Sequential([keras.layers.Input((*spec.shape, 1)), keras.layers.Flatten(), dense])
    if weights is not None:
        dense.set_weights([weights, np.zeros(len(classes), np.float32)])
    save_artifact(run, Artifact(network, spec, classes, "dense", not softmax, ("training",)))
    return run
