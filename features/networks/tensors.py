"""What the tensors of a network must be, whatever runs it: one input of samples, one output of float32."""

from collections.abc import Sequence
from typing import NamedTuple

from features.errors import UsageError

_MOST_NAMES = 10
FLOAT32 = "float32"


class Tensor(NamedTuple):
    """An input or output of a network.

    Attributes:
        name: of it.
        dtype: NumPy's name of its type.
        shape: None for an axis of any length.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        """Returns name, type and shape, as messages have them."""
        axes = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"{self.name!r}, {self.dtype} of ({axes})"


class WindowAxes(NamedTuple):
    """How the input of a network takes windows.

    Attributes:
        windows: at a time; None for any number.
        samples: of a window; None for any number.
    """

    windows: int | None
    samples: int | None


def read_input(inputs: Sequence[Tensor]) -> WindowAxes:
    """Returns how a network with these inputs takes windows.

    Raises:
        UsageError: it has several, or its input is not samples.
    """
    rule = "one that hears has one input, float32 of (windows, samples), (windows, samples, 1) or (samples)"
    if len(inputs) != 1:
        raise UsageError(f"the network has {len(inputs)} inputs ({_listed([one.name for one in inputs])}); {rule}")
    [taken] = inputs
    if taken.dtype == FLOAT32 and len(taken.shape) == 1:
        return WindowAxes(1, taken.shape[0])
    long = [size for size in taken.shape[1:] if size != 1]
    if taken.dtype != FLOAT32 or len(taken.shape) not in (2, 3) or len(long) != 1:
        raise UsageError(f"the network's input is {taken}; {rule}")
    return WindowAxes(taken.shape[0], long[0])


def choose_output(name: str | None, outputs: Sequence[str], inner: Sequence[str]) -> str:
    """Returns the name of the tensor to take.

    Args:
        name: what the user asks for; None for the only output.
        outputs: of the network.
        inner: other tensors that it computes and that can be taken.

    Raises:
        UsageError: there is none of this name, or None is not clear.
    """
    more = f"; inner tensors can be named too, {len(inner)} of them" if inner else ""
    if name is None:
        if len(outputs) == 1:
            return outputs[0]
        raise UsageError(f"the network has {len(outputs)} outputs: name one of {_listed(outputs)}{more}")
    if name not in outputs and name not in inner:
        raise UsageError(f"the network has no output {name!r}; there are {_listed(outputs)}{more}")
    return name


def check_output(output: Tensor) -> None:
    """Raises `UsageError` for an output of another type than float32."""
    if output.dtype != FLOAT32:
        raise UsageError(f"the network's output is {output}; take one of float32")


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name) for name in names[:_MOST_NAMES]]
    return ", ".join(shown + ["…"] * (len(names) > _MOST_NAMES)) or "none"
