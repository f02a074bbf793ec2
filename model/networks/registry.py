"""Networks by name: what each needs and gives, without Keras, which `model.networks.builder` loads to build them."""

import re
from dataclasses import dataclass
from typing import Literal

from features.errors import UsageError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """A network by its name, and what has to be known of it before Keras is loaded.

    Attributes:
        name: by which it is chosen; `package.module:function` for a network of the user's own.
        summary: a few words for `--help`.
        loss: `categorical` learns one class out of all, from class ids; `binary` learns each class as a yes or no of
            its own, from one-hot labels, and the recall is watched beside the accuracy.
        returns_logits: whether a softmax turns the outputs into probabilities; what a network of the user's own gives
            is known when it is built (`model.networks.builder.as_built`).
        needs_frames: whether features have to be (frames, bands).
        least_size: frames and bands that they have at least.
        is_linear: whether it is one linear layer, whose weights are solved for, without Keras.
    """

    name: str
    summary: str
    loss: Literal["categorical", "binary"] = "categorical"
    returns_logits: bool = False
    needs_frames: bool = True
    least_size: int = 1
    is_linear: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is a function of the user's own."""
        return ":" in self.name


_ALL = (
    *(
        Network(f"bc-resnet-{width}", f"BC-ResNet, {parameters} parameters", returns_logits=True)
        for width, parameters in (
            ("1", "9,000"),
            ("1.5", "17,000"),
            ("2", "27,000"),
            ("3", "54,000"),
            ("6", "188,000"),
            ("8", "321,000"),
        )
    ),
    Network("ds-tc-resnet", "separable convolutions over time, 73,000 parameters", returns_logits=True),
    Network(
        "linear",
        "logistic regression, for embeddings above all: trained in seconds",
        returns_logits=True,
        needs_frames=False,
        is_linear=True,
    ),
    Network("mlp", "two dense layers, takes features without frames too", needs_frames=False),
    Network("raw-cnn", "two convolutions and a wide dense layer", loss="binary", least_size=5),
    Network("residual", "convolutions with shortcuts, accurate and fast", returns_logits=True, least_size=4),
    Network("tutorial-cnn", "TensorFlow's audio recognition tutorial", returns_logits=True),
)
NETWORKS = {network.name: network for network in _ALL}
"""All networks by name, in the order of their names."""
_OWN_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def network(name: str) -> Network:
    """Returns the network of a name.

    Args:
        name: of a network here, or `package.module:function` for one of the user's own, which takes features of any
            shape and whose module is not looked for yet.

    Raises:
        UsageError: there is no such network, or the name of an own one is not of that form.
    """
    if ":" in name:
        if not _OWN_NAME.fullmatch(name):
            raise UsageError(f"a network of your own is named package.module:function, not {name!r}")
        return Network(name, "a network of your own", needs_frames=False)
    if name not in NETWORKS:
        raise UsageError(
            f"no network {name!r}; there are {', '.join(NETWORKS)}, and your own as package.module:function"
        )
    return NETWORKS[name]


def check_shape(chosen: Network, shape: Shape) -> None:
    """Raises `UsageError` where a network cannot take features of a shape."""
    if chosen.needs_frames and len(shape) != 2:
        others = ", ".join(other.name for other in NETWORKS.values() if not other.needs_frames)
        raise UsageError(
            f"{chosen.name} takes features of shape (frames, bands), not {shape}, which has no frames; "
            f"train {others}, or featurize with a preset that has frames"
        )
    if min(shape) < chosen.least_size:
        raise UsageError(
            f"{chosen.name} takes at least {chosen.least_size} frames and bands, not features of shape {shape}; train "
            "another network, or featurize with a preset that has more of them"
        )
