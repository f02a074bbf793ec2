"""The networks that tests of all of them train, convert or export: the widths of BC-ResNet have the same layers."""

from model.networks.registry import NETWORKS

KINDS = [name for name in NETWORKS if not name.startswith("bc-resnet-") or name == "bc-resnet-1"]
