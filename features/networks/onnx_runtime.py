"""Runs a network by ONNX Runtime, which is an extra, on one thread."""

import importlib.util
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError, one_line
from features.networks.tensors import Tensor, choose_output
from features.networks.wire import made_tensors, with_output

# Types whose names are not those of NumPy.
_TYPES = {"float": "float32", "double": "float64"}
_ERRORS_ONLY = 4


class OnnxNetwork:
    """A network of which one output is taken; see `features.networks.network.Network`."""

    def __init__(self, content: bytes, output: str | None) -> None:
        """Loads a network; raises `UsageError` as `open_network` does."""
        if not importlib.util.find_spec("onnxruntime"):
            raise UsageError("an .onnx network takes a package that is not installed: pip install 'soundmill[onnx]'")
        session = _load(content)
        outputs = [given.name for given in session.get_outputs()]
        inner = [name for name in made_tensors(content) if name not in outputs]
        chosen = choose_output(output, outputs, inner)
        if chosen not in outputs:
            session = _load(with_output(content, chosen))
        self._session = session
        self.inputs = [_tensor(taken) for taken in session.get_inputs()]
        [given] = [given for given in session.get_outputs() if given.name == chosen]
        self.output = _tensor(given)

    def compute(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Network`."""
        try:
            [values] = self._session.run([self.output.name], {self.inputs[0].name: batch})
        except Exception as error:  # its classes share no other
            raise UsageError(f"the network takes no input of shape {batch.shape}: {one_line(error)}") from error
        return np.asarray(values)

    def close(self) -> None:
        """See `Network`."""


def _load(content: bytes) -> Any:
    # Releases for Linux, onnxruntime 1.32 among them, write an id into the home folder and send events to their maker,
    # unless this says otherwise when they are loaded. A user's own choice stands.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UsageError(f"the network cannot be run by ONNX Runtime: {one_line(error)}") from error


def _tensor(argument: Any) -> Tensor:
    axes = tuple(size if isinstance(size, int) and size >= 0 else None for size in argument.shape)
    dtype = argument.type.removeprefix("tensor(").removesuffix(")")
    return Tensor(argument.name, _TYPES.get(dtype, dtype), axes)
