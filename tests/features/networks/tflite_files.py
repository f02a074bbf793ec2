"""The small network for LiteRT, changed: with other shapes, inputs, names or operations."""

from collections.abc import Callable

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from tests.features.networks.small import small_network


def changed_network(change: Callable[[schema.ModelT], None]) -> bytes:
    """Returns the small network as `change` leaves it; its tensors are samples, first, hidden, second, embedding."""
    network = schema.ModelT.InitFromObj(schema.Model.GetRootAs(small_network()))
    change(network)
    builder = flatbuffers.Builder()
    builder.Finish(network.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def network_of_shape(*shape: int) -> bytes:
    """Returns the network with an input of another shape; -1 is an axis of any length."""

    def change(network: schema.ModelT) -> None:
        tensors = network.subgraphs[0].tensors
        windows = shape[0] if len(shape) > 1 else 1
        for number, own in ((0, shape), (2, (windows, *tensors[2].shape[1:])), (4, (windows, *tensors[4].shape[1:]))):
            tensors[number].shape = [abs(size) for size in own]
            tensors[number].shapeSignature = list(own)

    return changed_network(change)
