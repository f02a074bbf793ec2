"""Trains a network on the shards of a feature set: python -m model.train."""

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from features import console
from features.atomic import write_file
from features.build import library_versions
from features.console import LOG
from features.errors import RunError, UsageError
from features.manifest import Manifest, load_manifest
from features.partition import parse_partitions
from features.statistics import Statistics
from model.backend import load_tensorflow

EXAMPLE = "python -m model.train --features FEATURES --output RUN --network tutorial-cnn --epochs 10 --seed 0"
# Of the memory that is free, the share that a set in memory may take.
_MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class Settings:
    """Everything that makes a training what it is, beside the features.

    Attributes:
        network: name of the network.
        epochs: how often the training partition is gone through at most.
        batch_size: clips a step.
        learning_rate: of Adam (Kingma and Ba, 2015).
        patience: epochs without a smaller validation loss before training stops; 0 goes on to the end.
        seed: of weights, dropout and order.
        train_on: partitions trained on.
        validate_on: partitions that the best weights are chosen by.
    """

    network: str = "tutorial-cnn"
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    patience: int = 2
    seed: int = 0
    train_on: tuple[str, ...] = ("training",)
    validate_on: tuple[str, ...] = ("validation",)

    def __post_init__(self) -> None:
        """Raises `UsageError` for numbers that no training has."""
        for name, least in (("epochs", 1), ("batch_size", 1), ("patience", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"--{name.replace('_', '-')} is at least {least}, not {getattr(self, name)}")
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(f"--learning-rate is above 0, not {self.learning_rate}")


def check(manifest: Manifest, settings: Settings, features: str) -> None:
    """Raises `UsageError` where a set cannot be trained on."""
    if len(manifest.classes) < 2:
        raise UsageError(
            f"training takes two classes at least, but {features} has only {manifest.classes[0]!r}; "
            "featurize a folder with one folder per class"
        )
    for purpose, partitions in (("train", settings.train_on), ("validate", settings.validate_on)):
        if not manifest.rows(partitions):
            names = ", ".join(partitions)
            clips = ", ".join(f"{name}: {manifest.rows([name]):,}" for name in manifest.partitions)
            raise UsageError(
                f"nothing to {purpose} on: the {names} partition of {features} is empty ({clips}). Featurize with "
                f"another --split or --group, so that its groups spread, or choose with --{purpose}-on"
            )
    both = sorted(set(settings.train_on) & set(settings.validate_on))
    if both:
        raise UsageError(f"validation is on other clips than training, but both name {both[0]!r}")


def check_output(run: Path) -> None:
    """Raises `UsageError` where there is something already that a run folder would mix with."""
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        if (run / "config.json").is_file() and not (run / "model").is_dir():
            raise UsageError(f"the training in {run} did not end; remove the folder or give another --output")
        raise UsageError(f"{run} exists already; give another --output, or remove it")


def fits_in_memory(num_bytes: int) -> bool:
    """Tells whether so much may be kept beside what else is in memory."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return False
    return num_bytes <= _MEMORY_SHARE * free


def train(features: str, output: str, settings: Settings, keep_in_memory: str = "auto") -> dict[str, Any]:
    """Trains a network and leaves a run folder.

    Args:
        features: a feature set.
        output: the run folder, new or empty.
        settings: of the training.
        keep_in_memory: `on`, `off`, or `auto` for where the set fits; it changes the speed alone.

    Returns:
        The figures of the run.

    Raises:
        UsageError: the features cannot be trained on, or the output exists.
        RunError: a shard is missing or damaged, or the training diverged.
    """
    manifest = load_manifest(features)
    check(manifest, settings, features)
    run = Path(output)
    check_output(run)
    # TensorFlow takes seconds to load: what can be refused was refused before.
    load_tensorflow()
    import keras

    from model.artifact import Artifact, save_artifact
    from model.dataset import Rows, ordered_dataset, steps, training_dataset
    from model.history import Recorder, read_history
    from model.networks import layer_table, network
    from model.pictures import draw_curves

    chosen = network(settings.network)
    run.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    statistics = Statistics.merge(manifest.statistics[name] for name in settings.train_on)
    mean, variance = statistics.scalar()
    config = {
        "settings": asdict(settings),
        "features": os.path.abspath(features),
        "features_state": manifest.state,
        "spec": manifest.spec.to_dict(),
        "fingerprint": manifest.spec.fingerprint,
        "classes": manifest.classes,
        "normalization": {"mean": mean, "variance": variance},
        "versions": {**library_versions(), **_versions()},
    }
    write_file(run / "config.json", json.dumps(config, indent=1, ensure_ascii=False) + "\n")

    keras.utils.set_random_seed(settings.seed)
    model = chosen.build(manifest.spec.shape, len(manifest.classes), mean, variance)
    model.compile(
        optimizer=keras.optimizers.Adam(settings.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=chosen.returns_logits),
        metrics=["accuracy"],
    )
    table = layer_table(model)
    write_file(run / "layers.txt", table)
    LOG.info("%s", table)

    folder = Path(features)
    total_bytes = sum(shard.bytes for shard in manifest.shards((*settings.train_on, *settings.validate_on)))
    in_memory = fits_in_memory(total_bytes) if keep_in_memory == "auto" else keep_in_memory == "on"
    training = Rows(folder, manifest, settings.train_on, manifest.classes, in_memory)
    validation = Rows(folder, manifest, settings.validate_on, manifest.classes, in_memory)
    LOG.info(
        "training on %s clips, validating on %s, %s",
        f"{len(training):,}",
        f"{len(validation):,}",
        "kept in memory" if in_memory else "streamed from the shards",
    )
    best = run / "best.weights.h5"
    callbacks = [
        keras.callbacks.ModelCheckpoint(best, monitor="val_loss", save_best_only=True, save_weights_only=True),
        keras.callbacks.TensorBoard(run / "logs", write_graph=False),
        Recorder(run / "history.csv", settings.epochs, settings.batch_size, len(training)),
    ]
    if settings.patience:
        callbacks.append(keras.callbacks.EarlyStopping(monitor="val_loss", patience=settings.patience))
    model.fit(
        training_dataset(training, settings.batch_size, settings.seed),
        steps_per_epoch=steps(training, settings.batch_size),
        validation_data=ordered_dataset(validation, settings.batch_size),
        epochs=settings.epochs,
        callbacks=callbacks,
        shuffle=False,  # the data set has shuffled already
        verbose=0,
    )
    if not best.exists():
        raise RunError("the validation loss was never a number: the training diverged; lower --learning-rate")
    model.load_weights(best)
    artifact = Artifact(
        model, manifest.spec, manifest.classes, settings.network, chosen.returns_logits, settings.train_on
    )
    history = read_history(run / "history.csv")
    draw_curves(history, run / "curves.png")
    save_artifact(run, artifact)
    best.unlink()
    chosen_epoch = min(history, key=lambda row: row["val_loss"])
    return {
        "seconds": time.monotonic() - started,
        "clips": len(training),
        "clips_per_second": len(training) * len(history) / sum(row["seconds"] for row in history),
        "epochs": len(history),
        "best_epoch": int(chosen_epoch["epoch"]),
        "accuracy": chosen_epoch["val_accuracy"],
        "loss": chosen_epoch["val_loss"],
        "training_accuracy": chosen_epoch["accuracy"],
        "parameters": model.count_params(),
        "seed": settings.seed,
    }


def _versions() -> dict[str, str]:
    import keras
    import tensorflow as tf

    return {"keras": keras.__version__, "tensorflow": tf.__version__}


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command."""
    result = console.parser("Trains a network on a feature set and leaves a run folder.", EXAMPLE)
    default = Settings()
    result.add_argument("--features", required=True, metavar="FEATURES", help="folder made by pipelines.featurize")
    result.add_argument("--output", required=True, metavar="RUN", help="new folder for the run")
    result.add_argument("--network", default=default.network, help="name of the network (%(default)s)")
    result.add_argument("--epochs", type=int, default=default.epochs, help="at most so many (%(default)s)")
    result.add_argument("--batch-size", type=int, default=default.batch_size, help="clips a step (%(default)s)")
    result.add_argument("--learning-rate", type=float, default=default.learning_rate, help="of Adam (%(default)s)")
    result.add_argument(
        "--patience", type=int, default=default.patience,
        help="stop after so many epochs without a smaller validation loss; 0 never stops early (%(default)s)",
    )  # fmt: skip
    result.add_argument("--seed", type=int, default=default.seed, help="of weights, dropout and order (%(default)s)")
    result.add_argument("--train-on", default="training", metavar="LIST", help="partitions, by commas (%(default)s)")
    result.add_argument(
        "--validate-on", default="validation", metavar="LIST", help="partitions, by commas (%(default)s)"
    )
    result.add_argument(
        "--keep-in-memory", choices=("auto", "on", "off"), default="auto",
        help="whether the features stay in memory between epochs; auto: where they fit (%(default)s)",
    )  # fmt: skip
    return result


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Trains and prints what came of it."""
    settings = Settings(
        network=options.network,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        patience=options.patience,
        seed=options.seed,
        train_on=parse_partitions(options.train_on),
        validate_on=parse_partitions(options.validate_on),
    )
    figures = train(options.features, options.output, settings, options.keep_in_memory)
    paragraph = (
        f"Trained {settings.network} for {figures['epochs']} epochs on {figures['clips']:,} clips in "
        f"{figures['seconds']:.1f} s ({figures['clips_per_second']:,.0f} clips a second). Best was epoch "
        f"{figures['best_epoch']}: accuracy {figures['accuracy']:.4f} on {', '.join(settings.validate_on)}. The run "
        f"is in {options.output}: curves.png shows it. Next: python -m model.evaluate --model {options.output} "
        f"--features {options.features}"
    )
    console.finish(options, paragraph, figures)
    return 0


if __name__ == "__main__":
    console.run(main, parser())
