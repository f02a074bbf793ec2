"""Other outputs for a copy of a network for LiteRT, so that an inner tensor can be read.

An interpreter gives inner tensors only where it preserves all of them, which takes memory and time.
"""

import struct
from collections.abc import Sequence
from typing import Any

from features.errors import UsageError
from features.networks.tensors import choose_output

_OUTPUTS_FIELD = 8  # place of SubGraph.outputs in its table, by the schema of LiteRT


def select_output(content: bytes, name: str | None) -> bytes:
    """Returns a network whose only output is the tensor of a name: by a signature, else by the tensor itself.

    Args:
        content: a flat buffer.
        name: of an output or of an inner tensor; None for the only output.

    Raises:
        UsageError: there is no such tensor, or several.
    """
    from ai_edge_litert.schema_py_generated import Model

    model = Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    given = [graph.Outputs(number) for number in range(graph.OutputsLength())]
    operators = [graph.Operators(number) for number in range(graph.OperatorsLength())]
    made = [operator.Outputs(number) for operator in operators for number in range(operator.OutputsLength())]
    names = {tensor: _text(graph.Tensors(tensor).Name()) for tensor in [*given, *made]}
    signature = _signature_outputs(model)
    outputs = [*signature] or [names[tensor] for tensor in given]
    inner = [names[tensor] for tensor in names if signature or tensor not in given]
    chosen = choose_output(name, outputs, inner)
    tensors = {signature[chosen]} if chosen in signature else {tensor for tensor in names if names[tensor] == chosen}
    if len(tensors) > 1:
        raise UsageError(f"the network has {len(tensors)} tensors of the name {chosen!r}; take one with its own")
    return content if [*tensors] == given else with_outputs(content, [*tensors])


def with_outputs(content: bytes, tensors: Sequence[int]) -> bytes:
    """Returns a network with these tensors, by their numbers, as its outputs.

    The network is not written anew: the list of outputs is put behind it, and the graph refers to that one. All else,
    the alignment of its weights too, stays as the converter wrote it.
    """
    from ai_edge_litert.schema_py_generated import Model

    graph = Model.GetRootAs(content).Subgraphs(0)
    outputs = struct.pack(f"<I{len(tensors)}i", len(tensors), *tensors)
    # Offsets count from the field itself to what lies behind it, and vectors of numbers begin at a multiple of four.
    field = graph._tab.Pos + graph._tab.Offset(_OUTPUTS_FIELD)
    longer = bytearray(content) + bytes(-len(content) % 4)
    struct.pack_into("<I", longer, field, len(longer) - field)
    return bytes(longer) + outputs


def _signature_outputs(model: Any) -> dict[str, int]:
    """Returns the numbers of tensors by the names that a network's only signature gives its outputs."""
    if model.SignatureDefsLength() != 1:
        return {}
    signature = model.SignatureDefs(0)
    outputs = [signature.Outputs(number) for number in range(signature.OutputsLength())]
    return {_text(output.Name()): output.TensorIndex() for output in outputs}


def _text(name: bytes | None) -> str:
    return (name or b"").decode(errors="replace")
