"""The networks of Keras that tests of all of them train or convert: the widths of BC-ResNet have the same layers."""

from model.networks.registry import NETWORKS

KINDS = [
    name
    for name, one in NETWORKS.items()
    if not one.is_linear and (not name.startswith("bc-resnet-") or name == "bc-resnet-1")
]
