"""Trains a network on the shards of a feature set: python -m model.train."""

import argparse
from collections.abc import Callable
from typing import Any, cast

from features.runtime import command
from features.runtime.invocation import command_line
from features.sources.partition import parse_partitions
from model.networks.registry import NETWORKS
from model.training.settings import Settings, SettingsGiven
from model.training.trainer import train

EXAMPLE = "python -m model.train --features FEATURES --output RUN --network tutorial-cnn --epochs 10 --seed 0"
_NONE = "none"


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command. Settings that are not given are absent: a resumed run has its own."""
    result = command.parser("Trains a network on a feature set and leaves a run folder.", EXAMPLE)
    default = Settings()
    result.add_argument("--features", required=True, metavar="FEATURES", help="folder made by pipelines.featurize")
    result.add_argument("--output", required=True, metavar="RUN", help="new folder for the run")
    result.add_argument(
        "--resume", action="store_true",
        help="continue a run that was interrupted, with its settings; --epochs may be larger than it was",
    )  # fmt: skip
    result.add_argument(
        "--keep-in-memory", choices=("auto", "on", "off"), default="auto",
        help="whether the features stay in memory between epochs; auto: where they fit (%(default)s)",
    )  # fmt: skip
    group = result.add_argument_group("settings")

    def add(name: str, kind: Callable[[str], Any], text: str) -> None:
        shown = getattr(default, name)
        metavar = name.rpartition("_")[2].upper()
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=argparse.SUPPRESS,
            metavar=metavar,
            help=f"{text} ({shown})",
        )

    add("network", str, "; ".join(f"{one.name}: {one.summary}" for one in NETWORKS.values()))
    add("epochs", int, "at most so many")
    add("batch_size", int, "clips per step")
    add("learning_rate", float, "of Adam")
    add("patience", int, "stop after so many epochs without a smaller validation loss; 0 never stops early")
    add("seed", int, "of weights, dropout and order")
    for name, text in (
        ("train-on", "partitions, by commas (training)"),
        ("validate-on", "partitions, by commas, or none to keep the last weights (validation; where that is empty, a "
         "tenth of the training groups)"),
        ("test-on", "partitions, by commas, to test on before and after; model.evaluate reports more"),
    ):  # fmt: skip
        group.add_argument(f"--{name}", default=argparse.SUPPRESS, metavar="LIST", help=text)
    return result


def settings_given(options: argparse.Namespace) -> SettingsGiven:
    """Returns the settings that the command line gives."""
    given = {name: value for name, value in vars(options).items() if name in Settings.__dataclass_fields__}
    for name in ("train_on", "validate_on", "test_on"):
        if name in given:
            is_none = name == "validate_on" and given[name] == _NONE
            given[name] = () if is_none else parse_partitions(given[name])
    return cast(SettingsGiven, given)


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Trains and prints a paragraph about the run."""
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
        f" The run is in {options.output}: curves.png shows it. Next: {command_line('model.evaluate')} --model "
        f"{options.output} --features {options.features}"
    )
    if figures["test_on"]:
        paragraph += f" --test-on {','.join(figures['test_on'])}"
    command.finish(options, paragraph, figures)
    return 0


if __name__ == "__main__":
    command.run(main, parser())
