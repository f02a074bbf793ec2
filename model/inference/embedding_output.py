"""The layer before the last as a second output of a network for LiteRT, so that one pass gives both."""

from typing import Any

from features.errors import UsageError
from features.networks.tflite_output import with_outputs
from model.inference.linear_network import UNIT_LENGTH
from model.inference.litert import BATCH_CLIPS

# What may follow the last dense layer: it changes how the outputs are written, and weighs nothing.
_AFTER_IT = ("SOFTMAX", "LOGISTIC", "QUANTIZE", "DEQUANTIZE", "RESHAPE")


def with_embeddings(content: bytes) -> bytes:
    """Returns a network with the input of its last dense layer as a second output.

    Args:
        content: a flat buffer with one output, as `model.inference.litert.convert` gives it.

    Raises:
        UsageError: the network does not end with a dense layer.
    """
    from ai_edge_litert.schema_py_generated import Model

    model = Model.GetRootAs(content)
    given = model.Subgraphs(0).Outputs(0)
    return with_outputs(content, [given, _input_of_last_dense(model, given)])


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
            # Of the linear network they are the features as they are in the cache.
            is_scaled = graph.Tensors(tensor).Name() == UNIT_LENGTH.encode()
            return int(made_by[tensor].Inputs(0) if is_scaled else tensor)
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
