"""Trains a network on the shards of a feature set: python -m model.train."""

import argparse
from collections.abc import Callable
from typing import Any

from features.errors import UsageError
from features.runtime import command
from features.runtime.invocation import command_line
from features.sources.partition import parse_partitions
from model.networks.registry import NETWORKS
from model.training.recipes import default_network, recipe
from model.training.settings import SECTIONS, SETTING_NAMES, Given, fields_with_kinds, option, shown
from model.training.trainer import train

EXAMPLE = "python -m model.train --features FEATURES --output RUN --seed 0"
PREVIEW_EXAMPLE = "python -m model.train --features FEATURES --preview augmentation.png --mixup-alpha 0.2"
_NONE = "none"


def parser() -> argparse.ArgumentParser:
    """Returns the options of the command. Settings that are not given are absent: a resumed run has its own."""
    result = command.parser("Trains a network on a feature set and leaves a run folder.", EXAMPLE, PREVIEW_EXAMPLE)
    result.add_argument("--features", required=True, metavar="FEATURES", help="folder made by pipelines.featurize")
    place = result.add_mutually_exclusive_group(required=True)
    place.add_argument("--output", metavar="RUN", help="new folder for the run")
    place.add_argument(
        "--preview", metavar="PICTURE.png",
        help="draw clips before and after the augmentation that a training would have, and train nothing",
    )  # fmt: skip
    result.add_argument(
        "--noise", metavar="DIR",
        help="recordings of background noise, in any folders below this one (_background_noise_ of the source)",
    )  # fmt: skip
    result.add_argument(
        "--resume", action="store_true",
        help="continue a run that was interrupted, with its settings; --epochs may be larger than it was where the "
        "learning rate is constant",
    )  # fmt: skip
    result.add_argument(
        "--keep-in-memory", choices=("auto", "on", "off"), default="auto",
        help="whether the features stay in memory between epochs; auto: where they fit (%(default)s)",
    )  # fmt: skip
    add_settings(result)
    return result


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds an option for each setting of a training, and for a file of them; what is not given is absent."""
    default = recipe(default_network((1, 1)))
    own = "package.module:function: your own, a function of shape, classes and statistics that returns a Keras model"
    networks = "; ".join([*(f"{one.name}: {one.summary}" for one in NETWORKS.values()), own])
    group = parser.add_argument_group(
        "settings", f"Defaults are those of {default.network}; other networks have recipes of their own."
    )
    group.add_argument(
        "--config", metavar="RECIPE.toml",
        help="settings that are not given here, as a run writes them to its recipe.toml",
    )  # fmt: skip
    group.add_argument(
        "--network", default=argparse.SUPPRESS, metavar="NETWORK",
        help=f"{networks} ({default.network}; {default_network((1,))} for features without frames)",
    )  # fmt: skip
    group.add_argument(
        "--seed", type=int, default=argparse.SUPPRESS, metavar="SEED",
        help=f"of weights, dropout, order and augmentation ({default.seed})",
    )  # fmt: skip
    values = default.flat()
    for name, section in SECTIONS.items():
        group = parser.add_argument_group(f"settings: {name}")
        for one, kind in fields_with_kinds(section):
            text, choices = one.metadata["help"], one.metadata.get("choices")
            if values[one.name] is not None:  # else the text says what it is by default
                text += f" ({shown(values[one.name])})"
            is_list = kind not in (int, float, str)
            group.add_argument(
                option(one.name), type=_reader(kind), default=argparse.SUPPRESS, choices=choices, help=text,
                metavar=None if choices else "LIST" if is_list else one.name.rpartition("_")[2].upper(),
            )  # fmt: skip


def settings_given(options: argparse.Namespace) -> Given:
    """Returns the settings that the command line gives, by their names."""
    given = {name: value for name, value in vars(options).items() if name in SETTING_NAMES}
    for name in ("train_on", "validate_on", "test_on"):
        if name in given:
            is_none = name == "validate_on" and given[name] == (_NONE,)
            given[name] = () if is_none else parse_partitions(",".join(given[name]))
    return given


def _reader(kind: Any) -> Callable[[str], Any]:
    """Returns what turns the text of an option into a value of a declared type."""
    if kind in (int, float, str):
        return kind  # type: ignore[no-any-return]
    member = str if "str" in str(kind) else float

    def read(text: str) -> tuple[Any, ...]:
        return tuple(member(part.strip()) for part in text.split(",") if part.strip())

    read.__name__ = f"list of {'texts' if member is str else 'numbers'}"  # for argparse's message
    return read


def _preview(options: argparse.Namespace) -> int:
    from features.pictures.drawing import check_picture

    if options.resume:
        raise UsageError("--resume goes with --output; --preview shows a training from its settings")
    check_picture("--preview", options.preview)
    from model.training.preview import preview  # which loads what draws

    figures = preview(options.features, options.preview, settings_given(options), options.config, options.noise)
    paragraph = (
        f"Drew {figures['clips']} clips for the training of {figures['network']}, each as it is and in "
        f"{figures['draws']} draws. Look at {options.preview}; nothing was trained."
    )
    command.finish(options, paragraph, figures)
    return 0


def main(options: argparse.Namespace, _: list[str]) -> int:
    """Trains, or draws what a training would see, and prints a paragraph about it."""
    if options.preview:
        return _preview(options)
    figures = train(
        options.features,
        options.output,
        settings_given(options),
        options.config,
        options.keep_in_memory,
        options.resume,
        options.noise,
    )
    paragraph = (
        f"Trained {figures['network']} for {figures['epochs']} epochs on {figures['clips']:,} clips in "
        f"{figures['training_seconds']:.1f} s ({figures['clips_per_second']:,.0f} clips a second)."
    )
    if figures["accuracy"] is None:
        paragraph += " The weights are those of the last epoch, since there was no validation."
    else:
        paragraph += (
            f" Best was epoch {figures['best_epoch']}: accuracy {figures['accuracy']:.4f} on "
            f"{figures['validation_clips']:,} validation clips; temperature {figures['temperature']:.3f}."
        )
    if figures["classes_without_threshold"]:
        names = ", ".join(figures["classes_without_threshold"])
        paragraph += f" No threshold reaches a precision of {figures['target_precision']:g} for: {names}."
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
