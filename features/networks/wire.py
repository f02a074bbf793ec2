"""What must be known of an ONNX file without its package: its fields in protobuf's wire format.

Numbers of fields are those of onnx.proto; the format of the wire is https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator

_MODEL_IR_VERSION, _MODEL_GRAPH, _MODEL_OPSETS = 1, 7, 8
_GRAPH_NODE, _GRAPH_OUTPUT = 1, 12
_NODE_OUTPUT, _VALUE_NAME = 2, 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def is_onnx(content: bytes) -> bool:
    """Returns whether all of a content is a message with the fields that every ONNX model has."""
    try:
        numbers = {number for number, _ in _fields(memoryview(content))}
    except ValueError:
        return False
    return numbers >= {_MODEL_IR_VERSION, _MODEL_GRAPH, _MODEL_OPSETS}


def made_tensors(content: bytes) -> list[str]:
    """Returns the names of what the nodes of an ONNX model's graph make, in their order; raises `ValueError`."""
    return [
        str(output, "utf-8")
        for number, graph in _fields(memoryview(content))
        if number == _MODEL_GRAPH
        for number, node in _fields(graph)
        if number == _GRAPH_NODE
        for number, output in _fields(node)
        if number == _NODE_OUTPUT and len(output)
    ]


def with_output(content: bytes, name: str) -> bytes:
    """Returns an ONNX model with one more output, by the name of a tensor that a node makes.

    A field of a message that comes a second time is merged with the first, and its lists are joined: a graph with
    nothing but the output is put behind the model. ONNX Runtime finds the tensor's type and shape itself.
    """
    value = _field(_VALUE_NAME, name.encode())
    return content + _field(_MODEL_GRAPH, _field(_GRAPH_OUTPUT, value))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yields number and bytes of each field of a message, no bytes for one that is a number; raises `ValueError`."""
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            _, position = _read_varint(message, position)
            length = 0
        elif kind == _BYTES:
            length, position = _read_varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
            length = 0
        else:
            raise ValueError("not a message in protobuf's wire format")
        if not number or position + length > len(message):
            raise ValueError("not a message in protobuf's wire format")
        yield number, message[position : position + length]
        position += length


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte <= 0x7F:
            return value, position
    raise ValueError("not a message in protobuf's wire format")
