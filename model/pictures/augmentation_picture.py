"""Clips before and after augmentation, a row each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.pictures.drawing import LABEL_POINTS, draw_features, new_figure, plain, shown_values

_LONGEST_NAME = 14
_LEAST_SHARE = 0.05  # of a target, that its title names


@dataclass(frozen=True)
class AugmentedClip:
    """A clip, and what became of it.

    Attributes:
        label: its class.
        features: as they are in the set, (*shape).
        draws: of each draw its features, (*shape), and its targets, (classes,).
    """

    label: str
    features: NDArray[np.float32]
    draws: list[tuple[NDArray[np.float32], NDArray[np.float32]]]


def augmentation_figure(clips: Sequence[AugmentedClip], spec: FeatureSpec, classes: Sequence[str]) -> Figure:
    """Returns a picture with a row a clip: as it is, then draw after draw in the colours of the first.

    Args:
        clips: one or more, with equally many draws.
        spec: the front end.
        classes: labels in the order of the targets.
    """
    columns = 1 + len(clips[0].draws)
    figure = new_figure(2.7 * columns, 2.3 * len(clips), layout="constrained")
    grid = figure.subplots(len(clips), columns, squeeze=False, sharex=True, sharey=len(spec.shape) > 1 or "row")
    for row, clip in zip(grid, clips, strict=True):
        values = shown_values(clip.features, spec)
        titles = [f"{plain(clip.label, _LONGEST_NAME)}, as it is", *(_target(one, classes) for _, one in clip.draws)]
        for axes, features, title in zip(row, [clip.features, *(one for one, _ in clip.draws)], titles, strict=True):
            draw_features(axes, features, spec)
            for image in axes.get_images():  # else a gain would not be seen
                image.set_clim(values.min(), values.max())
            axes.set_title(title, fontsize=LABEL_POINTS)
            axes.label_outer()
    return figure


def _target(shares: NDArray[np.float32], classes: Sequence[str]) -> str:
    order = np.argsort(-shares, kind="stable")
    named = [number for number in order if shares[number] >= _LEAST_SHARE][:2]
    return " + ".join(f"{shares[number]:.2f} {plain(classes[number], _LONGEST_NAME)}" for number in named)
