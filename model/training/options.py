"""The options of commands that train: what they take, and one for each setting."""

import argparse
from collections.abc import Callable, Collection
from typing import Any

from features.errors import UsageError
from features.sources.partition import parse_partitions
from model.networks.registry import NETWORKS
from model.training.recipes import BANDS_NETWORK, EMBEDDING_NETWORK, FRAMES_NETWORK, read_recipe, recipe
from model.training.section import fields_with_kinds, option, shown
from model.training.settings import SECTIONS, SETTING_NAMES, Given

_NONE = "none"


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Adds the options for what a training takes beside its settings."""
    parser.add_argument("--features", required=True, metavar="FEATURES", help="folder made by pipelines.featurize")
    parser.add_argument(
        "--noise", metavar="DIR",
        help="recordings of background noise, in any folders below this one (_background_noise_ of the source)",
    )  # fmt: skip
    parser.add_argument(
        "--keep-in-memory", choices=("auto", "on", "off"), default="auto",
        help="whether the features stay in memory between epochs; auto: where they fit (%(default)s)",
    )  # fmt: skip


def add_settings(parser: argparse.ArgumentParser, without: Collection[str] = ()) -> None:
    """Adds an option for each setting of a training, and for a file of them; what is not given is absent.

    Args:
        parser: of a command that trains.
        without: names of settings that the command chooses.
    """
    default = recipe(FRAMES_NETWORK)
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
        help=f"{networks} ({default.network}; {BANDS_NETWORK} for features without frames, {EMBEDDING_NETWORK} for "
        "those that a network gave)",
    )  # fmt: skip
    group.add_argument(
        "--seed", type=int, default=argparse.SUPPRESS, metavar="SEED",
        help=f"of weights, dropout, order and augmentation ({default.seed})",
    )  # fmt: skip
    values = default.flat()
    for name, section in SECTIONS.items():
        group = parser.add_argument_group(f"settings: {name}")
        for one, kind in fields_with_kinds(section):
            if one.name in without:
                continue
            text, choices = one.metadata["help"], one.metadata.get("choices")
            if values[one.name] not in (None, ()):  # else the text says what it is by default
                text += f" ({shown(values[one.name])})"
            is_list = kind not in (int, float, str)
            group.add_argument(
                option(one.name), type=_reader(kind), default=argparse.SUPPRESS, choices=choices, help=text,
                metavar=None if choices else "N" if kind is int else "LIST" if is_list else _last_word(one.name),
            )  # fmt: skip


# Settings that take clips to validate on, and what for; a patience of 0 takes none.
_OF_VALIDATION = {
    "target_precision": "thresholds are fitted",
    "best_by": "the best epoch is chosen",
    "patience": "that a training gets no better is seen",
}


def settings_given(options: argparse.Namespace) -> Given:
    """Returns the settings that the command line gives, by their names, and of `--config` those that it does not.

    Raises:
        UsageError: a list names nothing, the recipe file cannot be used, or a setting would do nothing that was typed;
            files have all settings.
    """
    named = settings_named(options)
    given = {**recipe_given(options), **named}
    for name, purpose in _OF_VALIDATION.items():
        if named.get(name) and given.get("validate_on") == ():
            wanted = f"{option(name)} {shown(named[name])}"
            raise UsageError(f"{wanted} would not be used: {purpose} on the clips validated on, and "
                             f"{option('validate_on')} is {_NONE}; leave one of them out")  # fmt: skip
    return given


def recipe_given(options: argparse.Namespace) -> Given:
    """Returns the settings of `--config`, by their names; raises `UsageError` where the file cannot be used."""
    return read_recipe(options.config) if options.config else {}


def settings_named(options: argparse.Namespace) -> Given:
    """Returns the settings that stand on the command line; raises `UsageError` where a list names nothing."""
    given = {name: value for name, value in vars(options).items() if name in SETTING_NAMES}
    for name in ("train_on", "validate_on", "test_on"):
        if name in given:
            is_none = name == "validate_on" and given[name] == (_NONE,)
            given[name] = () if is_none else parse_partitions(",".join(given[name]))
    return given


def _last_word(name: str) -> str:
    return name.rpartition("_")[2].upper()


def _reader(kind: Any) -> Callable[[str], Any]:
    """Returns what turns the text of an option into a value of a declared type."""
    if kind in (int, float, str):
        return kind  # type: ignore[no-any-return]
    member = str if "str" in str(kind) else float

    def read(text: str) -> tuple[Any, ...]:
        return tuple(member(part.strip()) for part in text.split(",") if part.strip())

    read.__name__ = f"list of {'texts' if member is str else 'numbers'}"  # for argparse's message
    return read
