"""A run folder without a training: a network that guesses."""

from pathlib import Path

import keras

from features.manifest import load_manifest
from features.statistics import Statistics
from model.artifact import Artifact, save_artifact
from model.networks import network


def save_untrained(run: Path, features: Path, classes: list[str] | None = None, seed: int = 0) -> Path:
    """Writes a network as its seed made it, with the statistics of a feature set, into a run folder."""
    manifest = load_manifest(features)
    classes = manifest.classes if classes is None else classes
    mean, variance = Statistics.merge(manifest.statistics.values()).scalar()
    keras.utils.set_random_seed(seed)
    model = network("tutorial-cnn").build(manifest.spec.shape, len(classes), mean, variance)
    save_artifact(run, Artifact(model, manifest.spec, classes, "tutorial-cnn", True, ("training",)))
    return run
