"""Runs a network by ONNX Runtime, which is an extra, on one thread."""

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError
from features.networks.tensors import Tensor, check_float, choose_output
from features.networks.wire import made_tensors, with_output

_TYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16"}
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
        self._output = choose_output(output, outputs, inner)
        if self._output not in outputs:
            session = _load(with_output(content, self._output))
        self._session = session
        self.inputs = [_tensor(taken) for taken in session.get_inputs()]
        [given] = [given for given in session.get_outputs() if given.name == self._output]
        check_float(_tensor(given))

    def compute(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Network`."""
        try:
            [values] = self._session.run([self._output], {self.inputs[0].name: batch})
        except Exception as error:  # its classes share no other
            raise UsageError(f"the network takes no input of shape {batch.shape}: {_line(error)}") from error
        return np.asarray(values)

    def close(self) -> None:
        """See `Network`."""


def _load(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UsageError(f"the network cannot be run by ONNX Runtime: {_line(error)}") from error


def _tensor(argument: Any) -> Tensor:
    axes = tuple(size if isinstance(size, int) and size >= 0 else None for size in argument.shape)
    return Tensor(argument.name, _TYPES.get(argument.type, argument.type), axes)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
