"""How the fields of a spec are held to their types and rules, and the sentence that says which one is broken."""

import math
import typing
from typing import Any

from features.errors import UsageError


def require(holds: bool, rule: str, name: str, value: Any) -> None:
    """Raises `UsageError`, with the rule and the field and value that it met, where it does not hold."""
    if not holds:
        raise UsageError(f"the spec contradicts itself: {rule}, but {name}={value}")


def require_presence(is_used: bool, front_end: str, name: str, value: Any) -> None:
    """Raises `UsageError` where a front end lacks a field that it uses, or has one that it does not use."""
    require((value is not None) == is_used, f"front end {front_end} {'needs' if is_used else 'has no'} {name}",
            name, value)  # fmt: skip


def typed(name: str, kind: Any, value: Any) -> Any:
    """Brings 1 to 1.0 where a float is declared, so that equal specs have equal fingerprints."""
    kinds = typing.get_args(kind) or (kind,)
    if type(value) in kinds and not (isinstance(value, float) and not math.isfinite(value)):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and float in kinds:
        return float(value)
    if isinstance(value, float) and value.is_integer() and int in kinds:
        return int(value)
    expected = " or ".join("absent" if one is type(None) else one.__name__ for one in kinds)
    raise UsageError(f"the spec contradicts itself: {name} is {expected}, but {name}={value!r}")
