"""The layer before the last as a second output of a network for LiteRT, so that one pass gives both."""

import struct
from typing import Any

from features.errors import UsageError
from model.inference.litert import BATCH_CLIPS

# What may follow the last dense layer: it changes how the outputs are written, and weighs nothing.
_AFTER_IT = ("SOFTMAX", "LOGISTIC", "QUANTIZE", "DEQUANTIZE", "RESHAPE")
_OUTPUTS_FIELD = 8  # place of SubGraph.outputs in its table, by the schema of LiteRT


def with_embeddings(content: bytes) -> bytes:
    """Returns a network with the input of its last dense layer as a second output.

    The network is not written anew: the longer list of outputs is put behind it, and the graph refers to that one. All
    else, the alignment of its weights too, stays as the converter wrote it.

    Args:
        content: a flat buffer with one output, as `model.inference.litert.convert` gives it.

    Raises:
        UsageError: the network does not end with a dense layer.
    """
    from ai_edge_litert.schema_py_generated import Model

    graph = Model.GetRootAs(content).Subgraphs(0)
    given = graph.Outputs(0)
    outputs = struct.pack("<I2i", 2, given, _input_of_last_dense(Model.GetRootAs(content), given))
    # Offsets count from the field itself to what lies behind it, and vectors of numbers begin at a multiple of four.
    field = graph._tab.Pos + graph._tab.Offset(_OUTPUTS_FIELD)
    longer = bytearray(content) + bytes(-len(content) % 4)
    struct.pack_into("<I", longer, field, len(longer) - field)
    return bytes(longer) + outputs


def _input_of_last_dense(model: Any, tensor: int) -> int:
    """Returns the number of the tensor that the last dense layer before `tensor` takes."""
    graph = model.Subgraphs(0)
    operators = [graph.Operators(number) for number in range(graph.OperatorsLength())]
    made_by = {operator.Outputs(0): operator for operator in operators}
    name = "nothing"
    while tensor in made_by:
        operator = made_by[tensor]
        name, tensor = _name(model.OperatorCodes(operator.OpcodeIndex())), operator.Inputs(0)
        if name == "FULLY_CONNECTED" and graph.Tensors(tensor).Shape(0) == BATCH_CLIPS:
            return int(tensor)
        if name not in _AFTER_IT:
            break
    raise UsageError(
        f"embeddings are what the last dense layer of a network takes, and this one ends with the operation {name}; "
        "end it with keras.layers.Dense and train again"
    )


def _name(code: Any) -> str:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    # Codes from 127 on stand in the second field alone.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    names: dict[int, str] = {value: name for name, value in vars(BuiltinOperator).items() if isinstance(value, int)}
    return names[number]
