"""A small network as a .tflite file, for tests of all that runs one: two dense layers, written as a flat buffer."""

import hashlib
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec

RATE_HZ, SAMPLES, HIDDEN, SIZE = 8_000, 800, 16, 6
HIDDEN_OUTPUT, OUTPUT = "hidden", "embedding"


def small_weights(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weights of the two layers, (HIDDEN, SAMPLES) and (SIZE, HIDDEN); there is a ReLU behind the first."""
    generator = np.random.default_rng(seed)
    first = generator.normal(0, 1 / np.sqrt(SAMPLES), (HIDDEN, SAMPLES)).astype(np.float32)
    return first, generator.normal(0, 1, (SIZE, HIDDEN)).astype(np.float32)


def small_network(seed: int = 0) -> bytes:
    """A network from (1, SAMPLES) to (1, SIZE), with an inner tensor of (1, HIDDEN)."""
    first, second = small_weights(seed)
    model = schema.ModelT()
    model.version = 3
    model.description = "two dense layers"
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    model.operatorCodes = [code]
    model.buffers = [schema.BufferT() for _ in range(3)]
    for buffer, weights in zip(model.buffers[1:], (first, second), strict=True):
        buffer.data = np.frombuffer(weights.tobytes(), np.uint8)
    graph = schema.SubGraphT()
    graph.tensors = [
        _tensor("samples", (1, SAMPLES)),
        _tensor("first", first.shape, buffer=1),
        _tensor(HIDDEN_OUTPUT, (1, HIDDEN)),
        _tensor("second", second.shape, buffer=2),
        _tensor(OUTPUT, (1, SIZE)),
    ]
    graph.inputs, graph.outputs = [0], [4]
    relu, none = schema.ActivationFunctionType.RELU, schema.ActivationFunctionType.NONE
    graph.operators = [_dense((0, 1), 2, relu), _dense((2, 3), 4, none)]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(2 * first.nbytes)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def write_small_network(path: Path, seed: int = 0) -> Path:
    """Writes the network and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(small_network(seed))
    return path


def small_toml(clip_seconds: float) -> str:
    """A spec file beside `network.tflite`, for clips of a length: hops of half a window, and the mean."""
    return f"""front_end = "embedding"
network_file = "network.tflite"
network_output = "{HIDDEN_OUTPUT}"
sample_rate_hz = {RATE_HZ}
clip_seconds = {clip_seconds}
window_samples = {SAMPLES}
hop_samples = {SAMPLES // 2}
embedding_size = {HIDDEN}
pool = "mean"
"""


def small_spec(seed: int = 0, **fields: object) -> FeatureSpec:
    """A front end that runs it on windows of 0.1 s of clips of 0.25 s, half a window apart."""
    given: dict[str, object] = {
        "front_end": "embedding",
        "sample_rate_hz": RATE_HZ,
        "clip_seconds": 0.25,
        "window_samples": SAMPLES,
        "hop_samples": SAMPLES // 2,
        "pool": "mean",
        "network_sha256": hashlib.sha256(small_network(seed)).hexdigest(),
        "network_format": "tflite",
        "embedding_size": SIZE,
    }
    return FeatureSpec.from_dict({name: value for name, value in {**given, **fields}.items() if value is not None})


def small_features(
    waveform: NDArray[np.float32], hop_samples: int = SAMPLES // 2, seed: int = 0
) -> NDArray[np.float64]:
    """What the network gives for the windows of a clip, by NumPy in float64: (windows, SIZE)."""
    count = 1 + max(0, -(-(len(waveform) - SAMPLES) // hop_samples))
    padded = np.pad(waveform, (0, max(0, (count - 1) * hop_samples + SAMPLES - len(waveform))))
    windows = np.stack([padded[number * hop_samples :][:SAMPLES] for number in range(count)]).astype(np.float64)
    first, second = small_weights(seed)
    return np.maximum(windows @ first.T, 0) @ second.T


def _tensor(name: str, shape: tuple[int, ...], buffer: int = 0) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), schema.TensorType.FLOAT32, buffer
    return tensor


def _dense(inputs: tuple[int, int], output: int, activation: int) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [*inputs, -1], [output]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    operator.builtinOptions.fusedActivationFunction = activation
    return operator
