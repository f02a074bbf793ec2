"""What features are brought to before a linear network learns from them, so that one penalty is fair to all values.

Each value to mean 0 and variance 1; what a network as the front end gives, before that also each clip to unit length,
where clips that were not learnt from say that it is better. How long such a vector is says how loud and how full of
sound a clip is, and its direction what is to be heard in it.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.frontend.embedding_spec import EMBEDDING
from features.frontend.spec import FeatureSpec
from features.store.statistics import Statistics
from model.inference.linear_network import LEAST_LENGTH, LinearNetwork
from model.training.l2_choice import L2Choice, LabelledClips
from model.training.logistic_regression import Array


def has_length(spec: FeatureSpec) -> bool:
    """Returns whether clips of a spec may be brought to unit length: of spectra in logarithms a length says nothing."""
    return spec.front_end == EMBEDDING


@dataclass(frozen=True)
class Scaling:
    """What is done to the features of a clip.

    Attributes:
        unit_length: whether they are divided by the root of the sum of their squares, first.
        mean: what is then taken from each value, (values,).
        deviation: what each is divided by then, (values,).
    """

    unit_length: bool
    mean: Array
    deviation: Array

    @classmethod
    def by(cls, statistics: Statistics, shape: tuple[int, ...]) -> "Scaling":
        """Returns that of features as they are, by their statistics, for clips of a shape."""
        return cls(False, *_by_value(statistics, shape))

    @classmethod
    def at_unit_length(cls, features: Array, shape: tuple[int, ...]) -> "Scaling":
        """Returns that of clips at unit length, by the features to learn from: (clips, values) of clips of a shape."""
        return cls(True, *_by_value(Statistics.of(_at_unit_length(features).reshape(-1, *shape)), shape))

    def scaled(self, features: Array) -> Array:
        """Returns features as the network learns from them: (clips, values), as they are in the cache, to the same."""
        scaled: Array = (_at_unit_length(features) if self.unit_length else features) - self.mean
        scaled /= self.deviation
        return scaled

    def network(self, weights: Array, bias: Array) -> LinearNetwork:
        """Returns the network of features as they are in the cache, by weights of scaled ones.

        Args:
            weights: of shape (values, classes).
            bias: of shape (classes,).
        """
        of_values = weights / self.deviation[:, np.newaxis]
        return LinearNetwork(
            np.ascontiguousarray(of_values.T, dtype=np.float32),
            (bias - self.mean @ of_values).astype(np.float32),
            self.unit_length,
        )


@dataclass(frozen=True)
class Scaled:
    """Clips that were brought to a scale, and what each penalty makes of them.

    Attributes:
        scaling: what was done to their features.
        choice: of the penalty.
    """

    scaling: Scaling
    choice: L2Choice

    @classmethod
    def of(
        cls, scaling: Scaling, learnt: LabelledClips, class_weights: NDArray[np.float32],
        validated: LabelledClips | None, seed: int,
    ) -> "Scaled":  # fmt: skip
        """Brings clips to a scale: features as they are in the cache. The other arguments are those of `L2Choice`."""

        def scaled(clips: LabelledClips) -> LabelledClips:
            return replace(clips, features=scaling.scaled(clips.features))

        held_out = None if validated is None else scaled(validated)
        return cls(scaling, L2Choice(scaled(learnt), class_weights, held_out, seed))


def _by_value(statistics: Statistics, shape: tuple[int, ...]) -> tuple[Array, Array]:
    mean, variance = statistics.by_band()
    return np.broadcast_to(mean, shape).ravel(), np.broadcast_to(np.sqrt(variance), shape).ravel()


def _at_unit_length(features: Array) -> Array:
    lengths: Array = np.sqrt(np.sum(features * features, axis=1, keepdims=True))
    return features / np.maximum(lengths, LEAST_LENGTH)
