"""Runs a network window by window, by the runtime of its format."""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError
from features.networks.tensors import Tensor, check_output, read_input

PACKAGES = {"tflite": "ai-edge-litert", "onnx": "onnxruntime", "saved_model": "tensorflow"}
"""What runs each format: the packages of which another version may give other last digits."""


class Network(Protocol):
    """A network with one output, as a runtime has it, for one thread at a time.

    Attributes:
        inputs: what it takes.
        output: what is taken of it.
    """

    inputs: list[Tensor]
    output: Tensor

    def compute(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the output for a batch; raises `UsageError` where it takes none of this shape."""

    def close(self) -> None:
        """Frees what would stay."""


class NetworkRunner:
    """A network and the memory that it computes in, for one thread at a time.

    Where the network takes any number of windows, a batch is computed at once; else as many windows at a time as it
    takes, or one after another where a larger batch does not give each window its values.

    Attributes:
        batch_windows: windows of a batch.
        input_samples: samples of a window.
        size: values of the output, a window.
    """

    def __init__(self, network: Network, batch_windows: int, input_samples: int | None = None) -> None:
        """Finds out how a network is run, by running it on zeros; raises `UsageError` as `open_network` does."""
        self._network = network
        self.batch_windows = batch_windows
        axes = read_input(network.inputs)
        check_output(network.output)
        samples = axes.samples or input_samples
        if samples is None:
            raise UsageError("the network takes windows of any length: say how many samples a window has")
        self.input_samples = samples
        # All axes but that of the windows; an input of samples alone has none of windows.
        self._shape = tuple(1 if size == 1 else samples for size in network.inputs[0].shape[1:])
        self._at_once = axes.windows or 1
        alone = self._compute(self._zeros(self._at_once))
        if axes.windows is None and alone.shape[:1] == (1,) and self._takes(batch_windows, alone.shape[1:]):
            self._at_once = batch_windows
        if self._at_once == 1:
            self.size = alone.size
        elif axes.windows is None or alone.shape[:1] == (self._at_once,):
            self.size = math.prod(alone.shape[1:])
        else:
            raise UsageError(
                f"the network takes {self._at_once} windows at a time, and its output has the shape {alone.shape}: the "
                "first axis must be the windows"
            )
        if not self.size:
            raise UsageError(f"the network's output has no values: its shape is {alone.shape}")

    def run(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the output for a batch: (batch_windows, input_samples) to (batch_windows, size).

        Raises:
            UsageError: the output has not the size that it had for zeros.
            RunError: the process that runs a SavedModel has died.
        """
        values = np.empty((self.batch_windows, self.size), np.float32)
        for first in range(0, self.batch_windows, self._at_once):
            rows = windows[first : first + self._at_once]
            if len(rows) < self._at_once:
                padding = self._at_once - len(rows), self.input_samples
                rows = np.concatenate([rows, np.zeros(padding, np.float32)])
            output = self._compute(rows)
            if output.size != self._at_once * self.size:
                raise UsageError(
                    f"the network's output had {self.size} values a window for zeros, and for these windows has the "
                    f"shape {output.shape}; it must have one size"
                )
            taken = values[first : first + self._at_once]
            taken[:] = output.reshape(self._at_once, self.size)[: len(taken)]
        return values

    def close(self) -> None:
        """Ends the process of a SavedModel."""
        self._network.close()

    def _compute(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        shape = (len(windows), *self._shape) if self._shape else (self.input_samples,)
        return self._network.compute(np.ascontiguousarray(windows, np.float32).reshape(shape))

    def _zeros(self, count: int) -> NDArray[np.float32]:
        return np.zeros((count, self.input_samples), np.float32)

    def _takes(self, count: int, shape: tuple[int, ...]) -> bool:
        """Returns whether so many windows at once give an output of a shape for each."""
        try:
            return self._compute(self._zeros(count)).shape == (count, *shape)
        except UsageError:
            return False


def open_network(
    content: bytes, format: str, output: str | None, batch_windows: int, input_samples: int | None = None
) -> NetworkRunner:
    """Opens a network.

    Args:
        content: of its file, as `read_network_file` returns it.
        format: one of `FORMATS`.
        output: name of the tensor to take; None for the only output.
        batch_windows: windows of a batch.
        input_samples: samples of a window, of a network that takes any number.

    Raises:
        UsageError: it is no network or a damaged one; it has several inputs, or one that is not samples; it has no such
            output, or one of no fixed size; its runtime is not installed, or lacks an operation.
        RunError: the process for a SavedModel cannot be started, or died.
    """
    network: Network
    if format == "tflite":
        from features.networks.litert import LiteRtNetwork

        network = LiteRtNetwork(content, output)
    elif format == "onnx":
        from features.networks.onnx_runtime import OnnxNetwork

        network = OnnxNetwork(content, output)
    else:
        from features.networks.saved_model import SavedModelNetwork

        network = SavedModelNetwork(content, output)
    try:
        return NetworkRunner(network, batch_windows, input_samples)
    except BaseException:
        network.close()
        raise
