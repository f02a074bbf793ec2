"""Networks by name: what each needs and gives, without Keras, which `model.networks.builder` loads to build them."""

from dataclasses import dataclass
from typing import Literal

from features.errors import UsageError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """A network by its name, and what has to be known of it before Keras is loaded.

    Attributes:
        name: by which it is chosen.
        summary: a few words for `--help`.
        loss: `categorical` learns one class out of all, from class ids; `binary` learns each class as a yes or no of
            its own, from one-hot labels, and the recall is watched beside the accuracy.
        returns_logits: whether a softmax turns the outputs into probabilities.
        needs_frames: whether features have to be (frames, bands).
        least_size: frames and bands that they have at least.
    """

    name: str
    summary: str
    loss: Literal["categorical", "binary"] = "categorical"
    returns_logits: bool = False
    needs_frames: bool = True
    least_size: int = 1


_ALL = (
    Network("mlp", "two dense layers, takes features without frames too", needs_frames=False),
    Network("raw-cnn", "two convolutions and a wide dense layer", loss="binary", least_size=5),
    Network("residual", "convolutions with shortcuts, accurate and fast", returns_logits=True, least_size=4),
    Network("tutorial-cnn", "TensorFlow's audio recognition tutorial", returns_logits=True),
)
NETWORKS = {network.name: network for network in _ALL}
"""All networks by name, in the order of their names."""


def network(name: str) -> Network:
    """Returns the network of a name; raises `UsageError` where there is no such network."""
    if name not in NETWORKS:
        raise UsageError(f"no network {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name]


def check_shape(chosen: Network, shape: Shape) -> None:
    """Raises `UsageError` where a network cannot take features of a shape."""
    if chosen.needs_frames and len(shape) != 2:
        others = ", ".join(other.name for other in NETWORKS.values() if not other.needs_frames)
        raise UsageError(
            f"{chosen.name} takes features of shape (frames, bands), not {shape}, which is a mean over all frames; "
            f"train {others}, or featurize with a preset that has frames"
        )
    if min(shape) < chosen.least_size:
        raise UsageError(
            f"{chosen.name} takes at least {chosen.least_size} frames and bands, not features of shape {shape}; train "
            "another network, or featurize with a preset that has more of them"
        )
