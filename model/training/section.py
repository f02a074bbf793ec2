"""What a section of settings is made of: fields with a line of help and rules, which check their values."""

import types
import typing
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any

from features.errors import UsageError


def setting(default: Any, help: str, least: float | None = None, most: float | None = None, **rules: Any) -> Any:
    """Returns the field of a setting: its default, its line in `--help`, and what values it takes.

    Args:
        default: of a training with nothing but what TensorFlow's tutorials do.
        help: what it is.
        least: smallest number that it takes.
        most: largest number that it takes.
        rules: `above` for a number that it has to be larger than, `below` for one that it has to be smaller than,
            `choices` for the texts that it takes.
    """
    return field(default=default, metadata={"help": help, "least": least, "most": most, **rules})


@dataclass(frozen=True)
class Section:
    """Some settings that belong together; raises `UsageError` when built with values that no training has."""

    def __post_init__(self) -> None:
        """Brings numbers and lists to the declared types and checks them."""
        for one, kind in fields_with_kinds(type(self)):
            if one.metadata:
                object.__setattr__(self, one.name, checked(one, kind, getattr(self, one.name)))


def option(name: str) -> str:
    """Returns a setting as it is given on the command line."""
    return f"--{name.replace('_', '-')}"


def shown(value: Any) -> str:
    """Returns the value of a setting as it is given on the command line."""
    if isinstance(value, tuple):
        return ",".join(one if isinstance(one, str) else f"{one:g}" for one in value) or "none"
    return "its default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def fields_with_kinds(section: type[Section]) -> Iterator[tuple[Field[Any], Any]]:
    """Yields the fields of a section with their declared types."""
    hints = typing.get_type_hints(section)
    yield from ((one, hints[one.name]) for one in fields(section))


def checked(one: Field[Any], kind: Any, value: Any) -> Any:
    """Returns a value as its field declares it; raises `UsageError` for one of another type or against its rules."""
    name, rules = option(one.name), one.metadata
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        kind = kind.__args__[0]
    if typing.get_origin(kind) is tuple:
        member = kind.__args__[0]
        if not isinstance(value, (list, tuple)) or not all(_is_a(member, part) for part in value):
            raise UsageError(f"{name} is a list of {'texts' if member is str else 'numbers'}, not {value!r}")
        value = tuple(member(part) for part in value)
        if member is float and (len(value) != 2 or not value[0] <= value[1]):
            raise UsageError(f"{name} is two numbers, the lower one first, not {shown(value)}")
        return value
    if not _is_a(kind, value):
        what = {int: "a whole number", float: "a number", str: "a text"}[kind]
        raise UsageError(f"{name} is {what}, not {value!r}")
    value = kind(value)
    for rule, word, holds in (
        ("least", "at least", lambda bound: value >= bound),
        ("most", "at most", lambda bound: value <= bound),
        ("above", "above", lambda bound: value > bound),
        ("below", "below", lambda bound: value < bound),
        ("choices", "one of", lambda choices: value in choices),
    ):
        bound = rules.get(rule)
        if bound is not None and not holds(bound):
            text = ", ".join(bound) if rule == "choices" else f"{bound:g}"
            raise UsageError(f"{name} is {word} {text}, not {shown(value)}")
    if kind is float and abs(value) == float("inf"):
        raise UsageError(f"{name} is a finite number, not {value}")
    return value


def _is_a(kind: type, value: Any) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))
