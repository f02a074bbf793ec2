"""Trains a network on the shards of a feature set: python -m model.train."""

import argparse
from pathlib import Path
from typing import Any

from features.runtime import command
from features.runtime.log import LOG
from features.sources.partition import parse_partitions
from features.store.locks import claim, is_claimed
from features.store.manifest import Manifest, load_manifest
from model.inference.artifact import remove_artifact
from model.inference.tensorflow_setup import load_tensorflow
from model.training.run_folder import check_new, check_resume, read_config, warn_of_versions, write_config
from model.training.settings import Settings, check, warn_of_test

EXAMPLE = "python -m model.train --features FEATURES --output RUN --network tutorial-cnn --epochs 10 --seed 0"
_NONE = "none"


def train(
    features: str, output: str, options: dict[str, Any], keep_in_memory: str = "auto", resume: bool = False
) -> dict[str, Any]:
    """Trains a network and leaves a run folder.

    Args:
        features: a feature set.
        output: the run folder, new or empty.
        options: settings that differ from the defaults; on resuming, from those that the run was begun with.
        keep_in_memory: `on`, `off`, or `auto` for where the set fits; it changes the speed alone.
        resume: whether a run folder that is there goes on after its last whole epoch, to the same bits as a run that
            was never interrupted. Its number of epochs alone may change, to a larger one.

    Returns:
        The figures of the run.

    Raises:
        UsageError: the features cannot be trained on, the output exists or was begun otherwise, or another training
            is writing it.
        RunError: a shard is missing or damaged, or the training diverged.
    """
    run = Path(output)
    manifest = load_manifest(features)
    if not is_claimed(run):
        _begin(run, features, manifest, options, resume)  # what is refused is not touched
    with claim(run, "training", output):
        config, settings = _begin(run, features, manifest, options, resume)  # another may have trained in between
        warn_of_test(manifest, settings, settings.test_on)
        if resume and not config:
            LOG.info("nothing to go on with in %s: the training begins", output)
        # TensorFlow takes seconds to load: what can be refused was refused before.
        load_tensorflow()
        from model.training.trainer import VERSIONS, Training, run_training

        training = Training(run, features, manifest, settings, keep_in_memory)
        if config:
            warn_of_versions(config, VERSIONS)
        if not training.has_ended:
            remove_artifact(run)  # before the record, and not only when the next one is there: it is of fewer epochs
            write_config(run, features, manifest, settings, VERSIONS)
        return {"network": settings.network, **run_training(training, settings)}


def _begin(
    run: Path, features: str, manifest: Manifest, options: dict[str, Any], resume: bool
) -> tuple[dict[str, Any] | None, Settings]:
    """Returns the record of the training that goes on, None for a new one, and its settings.

    Raises:
        UsageError: it cannot be done; see `train`.
    """
    config = read_config(run) if resume else None
    settings = Settings(**((vars(config["settings"]) if config else {}) | options))
    check(manifest, settings, features)
    if config:
        check_resume(run, config, manifest, settings)
    else:
        check_new(run)
    return config, settings


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command. Settings that are not given are absent: a resumed run has its own."""
    result = command.parser("Trains a network on a feature set and leaves a run folder.", EXAMPLE)
    default = Settings()
    result.add_argument("--features", required=True, metavar="FEATURES", help="folder made by pipelines.featurize")
    result.add_argument("--output", required=True, metavar="RUN", help="new folder for the run")
    result.add_argument(
        "--resume", action="store_true",
        help="go on with a run that was interrupted, with its settings; --epochs may be larger than it was",
    )  # fmt: skip
    result.add_argument(
        "--keep-in-memory", choices=("auto", "on", "off"), default="auto",
        help="whether the features stay in memory between epochs; auto: where they fit (%(default)s)",
    )  # fmt: skip
    group = result.add_argument_group("settings")

    def add(name: str, kind: type, text: str) -> None:
        shown = getattr(default, name)
        metavar = name.rpartition("_")[2].upper()
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=argparse.SUPPRESS,
            metavar=metavar,
            help=f"{text} ({shown})",
        )

    add("network", str, "tutorial-cnn, raw-cnn or mlp")
    add("epochs", int, "at most so many")
    add("batch_size", int, "clips a step")
    add("learning_rate", float, "of Adam")
    add("patience", int, "stop after so many epochs without a smaller validation loss; 0 never stops early")
    add("seed", int, "of weights, dropout and order")
    for name, text in (
        ("train-on", "partitions, by commas (training)"),
        ("validate-on", "partitions, by commas, or none to keep the last weights (validation; where that is empty, a "
         "tenth of the training groups)"),
        ("test-on", "partitions, by commas, to test on before and after; model.evaluate tells more"),
    ):  # fmt: skip
        group.add_argument(f"--{name}", default=argparse.SUPPRESS, metavar="LIST", help=text)
    return result


def settings_given(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings that the command line gives."""
    given = {name: value for name, value in vars(options).items() if name in Settings.__dataclass_fields__}
    for name in ("train_on", "validate_on", "test_on"):
        if name in given:
            is_none = name == "validate_on" and given[name] == _NONE
            given[name] = () if is_none else parse_partitions(given[name])
    return given


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Trains and prints what came of it."""
    figures = train(options.features, options.output, settings_given(options), options.keep_in_memory, options.resume)
    paragraph = (
        f"Trained {figures['network']} for {figures['epochs']} epochs on {figures['clips']:,} clips in "
        f"{figures['training_seconds']:.1f} s ({figures['clips_per_second']:,.0f} clips a second)."
    )
    if figures["accuracy"] is None:
        paragraph += " The weights are those of the last epoch, since there was no validation."
    else:
        paragraph += (
            f" Best was epoch {figures['best_epoch']}: accuracy {figures['accuracy']:.4f} on "
            f"{figures['validation_clips']:,} validation clips."
        )
    if "testing_accuracy" in figures:
        paragraph += (
            f" Accuracy on {figures['testing_clips']:,} testing clips: {figures['testing_accuracy_before']:.4f} before "
            f"training, {figures['testing_accuracy']:.4f} after it, and {figures['training_accuracy']:.4f} on the "
            "clips trained on."
        )
    paragraph += (
        f" The run is in {options.output}: curves.png shows it. Next: python -m model.evaluate --model "
        f"{options.output} --features {options.features}"
    )
    if figures["test_on"]:
        paragraph += f" --test-on {','.join(figures['test_on'])}"
    command.finish(options, paragraph, figures)
    return 0


if __name__ == "__main__":
    command.run(main, parser())
