"""ONNX models written field by field, as onnx.proto numbers them: the tests have no other writer."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.features.networks.small import HIDDEN_OUTPUT, OUTPUT, SAMPLES, SIZE, small_weights

FLOAT, INT64 = 1, 7
Shape = Sequence[int | str]


def message(*fields: tuple[int, int | bytes | str]) -> bytes:
    """A message in protobuf's wire format, of numbers and of bytes, texts and messages."""
    encoded = b""
    for number, value in fields:
        if isinstance(value, int):
            encoded += _varint(number << 3) + _varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            encoded += _varint(number << 3 | 2) + _varint(len(content)) + content
    return encoded


def value(name: str, shape: Shape, dtype: int = FLOAT) -> bytes:
    """An input or output; an axis with a name has any length."""
    axes = [(1, message((1, size) if isinstance(size, int) else (2, size))) for size in shape]
    return message((1, name), (2, message((1, message((1, dtype), (2, message(*axes)))))))


def node(operation: str, inputs: Sequence[str], output: str, *attributes: bytes) -> bytes:
    given = [(1, name) for name in inputs]
    return message(*given, (2, output), (4, operation), *((5, attribute) for attribute in attributes))


def constant(name: str, values: NDArray) -> bytes:
    dtype = FLOAT if values.dtype == np.float32 else INT64
    return message(*((1, size) for size in values.shape), (2, dtype), (8, name), (9, values.tobytes()))


def model(
    inputs: Sequence[bytes], nodes: Sequence[bytes], outputs: Sequence[bytes], constants: Sequence[bytes] = ()
) -> bytes:
    graph = message(
        *((1, one) for one in nodes), (2, "graph"), *((5, one) for one in constants),
        *((11, one) for one in inputs), *((12, one) for one in outputs),
    )  # fmt: skip
    return message((1, 8), (7, graph), (8, message((2, 17))))


def small_onnx(shape: Shape = ("windows", SAMPLES), seed: int = 0) -> bytes:
    """The network of `small.py`, for an input of a shape whose axes, but the first of several, hold the samples."""
    first, second = (np.ascontiguousarray(weights.T) for weights in small_weights(seed))
    batch = shape[0] if len(shape) > 1 else 1
    return model(
        [value("samples", shape)],
        [
            node("Reshape", ["samples", "rows"], "flat"),
            node("MatMul", ["flat", "first"], "product"),
            node("Relu", ["product"], HIDDEN_OUTPUT),
            node("MatMul", [HIDDEN_OUTPUT, "second"], OUTPUT),
        ],
        [value(OUTPUT, (batch, SIZE))],
        [constant("rows", np.array([-1, SAMPLES])), constant("first", first), constant("second", second)],
    )


def _varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
