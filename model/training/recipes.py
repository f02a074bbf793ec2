"""The settings that each network is trained with where none are given, and recipes as TOML files."""

import json
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import UsageError
from features.frontend.embedding_spec import EMBEDDING
from features.io.atomic import write_file
from model.networks.registry import NETWORKS
from model.training.applicable import applies
from model.training.settings import SECTIONS, SETTING_NAMES, Given, Settings, check_value

if TYPE_CHECKING:
    from features.frontend.spec import FeatureSpec

_AUGMENTED: Given = {
    "epochs": 60,
    "batch_size": 100,
    "best_by": "accuracy",
    "patience": 0,
    "optimizer": "adamw",
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "warmup_epochs": 3.0,
    "weight_decay": 1e-2,
    "label_smoothing": 0.1,
    "average_decay": 0.995,
    "time_shift_seconds": 0.1,
    "time_stretch": 0.1,
    "frequency_warp": 0.1,
    "gain_db": 4.0,
    "time_masks": 2,
    "frequency_masks": 2,
    "mixup_alpha": 0.2,
    "noise_probability": 0.5,
}
# Trained as their write-ups train them.
_PLAIN = ("linear", "mlp", "raw-cnn", "tutorial-cnn")
RECIPES: dict[str, Given] = {name: _AUGMENTED for name in NETWORKS if name not in _PLAIN}
"""By network, the settings in which it differs from the plain ones of `Settings`."""

FRAMES_NETWORK, BANDS_NETWORK, EMBEDDING_NETWORK = "residual", "mlp", "linear"
"""Where none is given: for features with frames, for those without, and for what a network as the front end gives."""

# What a recipe file holds: the rows to use, and the seed, are a training's own.
_RECIPE_SECTIONS = ("labels", "schedule", "augmentation")


def default_network(spec: "FeatureSpec") -> str:
    """Returns the name of the network for features of this spec where none is given."""
    if spec.front_end == EMBEDDING:  # the work is done already, and bands that lie side by side have nothing in common
        return EMBEDDING_NETWORK
    return FRAMES_NETWORK if len(spec.shape) > 1 else BANDS_NETWORK


def recipe(name: str) -> Settings:
    """Returns the settings of a network where none are given; raises `UsageError` for a network that does not exist."""
    return Settings(network=name).with_given(RECIPES.get(name, {}))


def choose_settings(spec: "FeatureSpec", given: Given) -> Settings:
    """Returns the settings of a new training.

    Args:
        spec: of the features.
        given: settings by their names; they stand before those of the network's recipe.

    Raises:
        UsageError: there is no such setting or network.
    """
    return recipe(given.get("network", default_network(spec))).with_given(given)


def read_recipe(path: str) -> Given:
    """Reads settings from a TOML file, `network` and `seed` at its top and the others under their sections.

    Returns:
        The settings that it holds, by their names.

    Raises:
        UsageError: it is missing, not TOML, or holds what is no setting.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the recipe {path} is not TOML: {error}") from error
    given = {}
    for section, fields in [(None, content), *((name, content.pop(name, {})) for name in SECTIONS)]:
        if not isinstance(fields, dict):
            raise UsageError(f"{path}: {section} is a table of settings, [{section}]")
        for name, value in fields.items():
            if SETTING_NAMES.get(name, "") != section:
                known = ", ".join(one for one, place in SETTING_NAMES.items() if place == section)
                place = f"[{section}]" if section else "its top"
                raise UsageError(f"{path}: no setting {name!r} at {place}; there are {known}")
            given[name] = value
    try:
        # Each by itself: which of them contradict each other is known when those of the network's recipe join them.
        Settings(**{name: value for name, value in given.items() if SETTING_NAMES[name] is None})
        for name, value in given.items():
            if SETTING_NAMES[name]:
                check_value(name, value)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return given


def write_recipe(path: Path, settings: Settings) -> None:
    """Writes the network and its settings but rows and seed as a TOML file that `read_recipe` reads."""
    lines = ["# A recipe of soundmill: train --config takes it.", f"network = {_toml(settings.network)}"]
    for section in _RECIPE_SECTIONS:
        lines += ["", f"[{section}]"]
        values = asdict(getattr(settings, section))
        lines += [f"{name} = {_toml(value)}" for name, value in values.items() if applies(name, settings)]
    write_file(path, "\n".join(lines) + "\n")


def _toml(value: Any) -> str:
    # JSON's numbers, texts and lists are TOML's, but for its escapes of what is beyond 16 bits.
    return json.dumps(value, ensure_ascii=False)
