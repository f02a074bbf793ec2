"""Runs a network by LiteRT, on one thread."""

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError, one_line
from features.networks.tensors import Tensor
from features.networks.tflite_output import select_output
from features.runtime.native_messages import quiet_stderr

# How all begin that LiteRT writes about its work; a failure is an exception. Other threads' own lines begin otherwise.
_ITS_MESSAGES = re.compile(r"^(?:INFO|VERBOSE|WARNING|ERROR): |^[IWEF]\d{4} ")


class LiteRt:
    """A network and the memory that it computes in, for one thread at a time.

    Attributes:
        inputs: of the network.
        outputs: of the network, in its order.
        sizes: values of each output, a row of the batch that its file states.
    """

    def __init__(self, content: bytes) -> None:
        """Loads a network.

        Raises:
            UsageError: it is damaged, or has operations that LiteRT lacks.
        """
        self._content = content
        self._load()
        self.inputs = [_tensor(details) for details in self._interpreter.get_input_details()]
        outputs = self._interpreter.get_output_details()
        self.outputs = [_tensor(details) for details in outputs]
        self.sizes = tuple(math.prod(map(int, details["shape"][1:])) for details in outputs)

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Returns the outputs for a batch; one of another shape than the last is made room for.

        Raises:
            UsageError: the network takes no batch of this shape.
        """
        try:
            if batch.shape != self._shape:
                self._resize(batch.shape)
            self._interpreter.set_tensor(self._taken, batch)
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            self._load()  # one that failed is not used again
            raise UsageError(f"the network takes no input of shape {batch.shape}: {one_line(error)}") from error
        return [self._interpreter.get_tensor(index) for index in self._given]

    def _load(self) -> None:
        from ai_edge_litert.interpreter import Interpreter

        try:
            with quiet_stderr(_ITS_MESSAGES):
                self._interpreter = Interpreter(model_content=self._content, num_threads=1)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UsageError(f"the network cannot be run by LiteRT: {one_line(error)}") from error
        inputs = self._interpreter.get_input_details()
        self._taken: int = inputs[0]["index"] if inputs else -1
        self._shape = tuple(map(int, inputs[0]["shape"])) if inputs else ()
        self._given = [details["index"] for details in self._interpreter.get_output_details()]

    def _resize(self, shape: tuple[int, ...]) -> None:
        with quiet_stderr(_ITS_MESSAGES):
            self._interpreter.resize_tensor_input(self._taken, shape, strict=True)
            self._interpreter.allocate_tensors()
        self._shape = shape


class LiteRtNetwork:
    """A network of which one output is taken; see `features.networks.network.Network`."""

    def __init__(self, content: bytes, output: str | None) -> None:
        """Loads a network; raises `UsageError` as `open_network` does."""
        try:
            selected = select_output(content, output)
        except UsageError:
            raise
        except Exception as error:  # what a damaged file does to a reader that trusts it
            raise UsageError("the network is damaged: it is no file that LiteRT reads") from error
        self._network = LiteRt(selected)
        self.inputs = self._network.inputs
        [self.output] = self._network.outputs

    def compute(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Network`."""
        return self._network.run(batch)[0]

    def close(self) -> None:
        """See `Network`."""


def _tensor(details: dict[str, Any]) -> Tensor:
    shape = details["shape_signature"] if len(details["shape_signature"]) else details["shape"]
    axes = tuple(None if size < 0 else int(size) for size in shape)
    return Tensor(details["name"], np.dtype(details["dtype"]).name, axes)
