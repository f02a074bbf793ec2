"""What LiteRT's interpreter gives for windows, by a plain loop, and features of clips in batches of several sizes."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import compute_features
from features.io.filesystem import Location


def by_interpreter(windows: np.ndarray, content: bytes, output: str | None = None, batch: int = 4) -> np.ndarray:
    """What LiteRT gives for windows, in order, with batches of one size that zeros fill up."""
    kept = {} if output is None else {
        "experimental_preserve_all_tensors": True,
        "experimental_op_resolver_type": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    }  # fmt: skip
    interpreter = Interpreter(model_content=content, num_threads=1, **kept)
    [taken] = interpreter.get_input_details()
    interpreter.resize_tensor_input(taken["index"], (batch, windows.shape[1]))
    interpreter.allocate_tensors()
    if output is None:
        [given] = interpreter.get_output_details()
    else:
        [given] = [one for one in interpreter.get_tensor_details() if one["name"] == output]
    values = []
    for first in range(0, len(windows), batch):
        filled = np.zeros((batch, windows.shape[1]), np.float32)
        filled[: len(windows[first : first + batch])] = windows[first : first + batch]
        interpreter.set_tensor(taken["index"], filled)
        interpreter.invoke()
        values.append(interpreter.get_tensor(given["index"]).reshape(batch, -1).copy())
    return np.concatenate(values)[: len(windows)]


def in_batches(waveforms: np.ndarray, size: int, spec: FeatureSpec, networks: Location) -> np.ndarray:
    parts = [waveforms[first : first + size] for first in range(0, len(waveforms), size)]
    return np.concatenate([compute_features(part, spec, networks) for part in parts])
