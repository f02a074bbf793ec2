"""A run folder without a training: a network that guesses."""

from pathlib import Path

import keras

from features.store.manifest import load_manifest
from features.store.statistics import Statistics
from model.inference.artifact import Artifact, save_artifact
from model.networks.builder import build
from model.networks.registry import network


def save_untrained(
    run: Path, features: Path, classes: list[str] | None = None, seed: int = 0, name: str = "tutorial-cnn"
) -> Path:
    """Writes a network as its seed made it, with the statistics of a feature set, into a run folder."""
    manifest = load_manifest(features)
    classes = manifest.classes if classes is None else classes
    keras.utils.set_random_seed(seed)
    chosen = network(name)
    statistics = Statistics.merge(manifest.statistics.values())
    model = build(chosen, manifest.spec.shape, len(classes), statistics)
    artifact = Artifact(model, manifest.spec, classes, name, chosen.returns_logits, ("training",))
    save_artifact(run, artifact, networks=manifest.layout(features).networks_folder)
    return run
