"""What an artifact says of its network in int8."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Int8Network:
    """A network in int8, beside the one that it was made of.

    Attributes:
        sha256: of its file.
        measured: how right both are, as `model.quantize` found it: `tested_on`, `clips`, and in `executors` of each
            executor `float32` and `int8` with their accuracy and its intervals, and `same_label`, the share of clips
            that get the same label from both.
    """

    sha256: str
    measured: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON has it."""
        return {"sha256": self.sha256, "measured": dict(self.measured)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Int8Network":
        """Reads what `to_dict` returns; raises `KeyError` where some is missing."""
        return cls(content["sha256"], content["measured"])
