"""Which settings a search tries, and between which values: a TOML file, or what suits a network.

Each line is the name of a setting and `[low, high]`, `{low = ..., high = ..., log = true}` for a range whose small
values matter as much as its large ones, or `{choices = [...]}`. A list of texts is one of choices too.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from features.errors import UsageError
from model.training.applicable import is_linear
from model.training.recipes import recipe
from model.training.settings import SECTIONS, SETTING_NAMES


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; `log` for even steps of their logarithm."""

    low: float
    high: float
    log: bool = False

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that have to be possible."""
        return self.low, self.high

    def to_toml(self) -> str:
        """Returns the value as a TOML file has it."""
        ends = json.dumps(self.low), json.dumps(self.high)
        return f"{{low = {ends[0]}, high = {ends[1]}, log = true}}" if self.log else f"[{ends[0]}, {ends[1]}]"


@dataclass(frozen=True)
class Choices:
    """Some values in no order."""

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that have to be possible."""
        return self.values

    def to_toml(self) -> str:
        """Returns the value as a TOML file has it."""
        return f"{{choices = {json.dumps(list(self.values))}}}"


Ranges = Mapping[str, Range | Choices]

_PLAIN: Ranges = {"learning_rate": Range(1e-4, 1e-2, log=True), "batch_size": Choices((16, 32, 64, 128))}
_AUGMENTED: Ranges = {
    "learning_rate": Range(1e-3, 1e-2, log=True),
    "weight_decay": Range(1e-3, 1e-1, log=True),
    "label_smoothing": Range(0.0, 0.2),
    "time_stretch": Range(0.0, 0.2),
    "frequency_warp": Range(0.0, 0.2),
    "mixup_alpha": Range(0.0, 0.4),
    "time_masks": Range(0, 3),
    "frequency_masks": Range(0, 3),
}
# They change what is validated on, or by what chance, and so what an accuracy says: no trial is better for them.
_NOT_SEARCHED = ("seed", *(one.name for section in ("rows", "labels") for one in fields(SECTIONS[section])))


def default_ranges(network: str) -> Ranges:
    """Returns what is searched where no file says it: more of a network whose recipe augments clips, none of linear."""
    if is_linear(network):
        return {}
    return _AUGMENTED if recipe(network).augmentation != SECTIONS["augmentation"]() else _PLAIN


def read_ranges(path: str) -> Ranges:
    """Reads the ranges of a TOML file.

    Raises:
        UsageError: it is missing or not TOML, names what is no setting that can be searched, or a value is no range.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the ranges {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the ranges {path} are not TOML: {error}") from error
    if not content:
        raise UsageError(
            f"{path} names one setting at least, e.g. learning_rate = {{low = 1e-4, high = 1e-2, log = true}}"
        )
    for name in content:
        if name not in SETTING_NAMES or name in _NOT_SEARCHED:
            known = ", ".join(one for one in SETTING_NAMES if one not in _NOT_SEARCHED)
            raise UsageError(f"{path}: {name!r} is not a setting that is searched; there are {known}")
    return {name: _read(value, f"{path}: {name}") for name, value in content.items()}


def ranges_toml(ranges: Ranges) -> str:
    """Returns the text of a file that `read_ranges` reads."""
    lines = (f"{name} = {one.to_toml()}" for name, one in ranges.items())
    return "\n".join(["# Ranges of settings: soundmill tune --search takes them.", *lines]) + "\n"


def _read(value: Any, where: str) -> Range | Choices:
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        value = {"choices": value}
    elif isinstance(value, list) and len(value) == 2:
        value = {"low": value[0], "high": value[1]}
    if isinstance(value, dict) and value.keys() == {"choices"}:
        choices = value["choices"]
        if isinstance(choices, list) and choices and all(isinstance(one, str) or _is_number(one) for one in choices):
            return Choices(tuple(choices))
    elif isinstance(value, dict) and {"low", "high"} <= value.keys() <= {"low", "high", "log"}:
        low, high, log = value["low"], value["high"], value.get("log", False)
        if _is_number(low) and _is_number(high) and isinstance(log, bool):
            return _range(low, high, log, where)
    raise UsageError(
        f"{where} is [low, high], {{low = ..., high = ..., log = true}} or {{choices = [...]}}, not {json.dumps(value)}"
    )


def _range(low: float, high: float, log: bool, where: str) -> Range:
    if not low < high or (log and low <= 0):
        rule = "begins above 0 and ends higher" if log else "ends higher than it begins"
        raise UsageError(f"{where} {rule}, not {low:g} to {high:g}")
    return Range(low, high, log)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")
