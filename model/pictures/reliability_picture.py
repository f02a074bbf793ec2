"""The picture of how often a network is right, by how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from features.pictures.drawing import BLUE, LABEL_POINTS, ORANGE, new_figure, save

_STYLES = ((BLUE, "o", "-"), (ORANGE, "s", "--"))


@dataclass(frozen=True)
class Curve:
    """How often the winning class is right, in bins of its probability.

    Attributes:
        name: for the legend.
        edges: of the bins, from 0 to 1: (bins + 1,).
        clips: in each bin: (bins,).
        confidence: their mean probability, NaN without clips: (bins,).
        accuracy: the share of them that is right, NaN without clips: (bins,).
    """

    name: str
    edges: NDArray[np.float64]
    clips: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def draw_reliability(curves: Sequence[Curve], title: str, path: Path) -> None:
    """Writes the picture of `reliability_figure`."""
    save(reliability_figure(curves, title), path)


def reliability_figure(curves: Sequence[Curve], title: str) -> Figure:
    """Draws accuracy by probability over a diagonal, on which both are the same, and below it the clips of each bin.

    Args:
        curves: one or two, the second to compare with.
        title: of the picture.
    """
    figure = new_figure(6, 6.5, layout="constrained")
    figure.suptitle(title, fontsize=11)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="0.6", lw=1, label="as often as it says")
    for number, (curve, (colour, marker, line)) in enumerate(zip(curves, _STYLES, strict=False)):
        filled = curve.clips > 0
        above.plot(curve.confidence[filled], curve.accuracy[filled], color=colour, marker=marker, ls=line,
                   label=curve.name)  # fmt: skip
        width = np.diff(curve.edges) / len(curves)
        below.bar(curve.edges[:-1] + number * width, curve.clips, width, align="edge", color=colour)
    above.set_ylim(-0.02, 1.02)
    above.set_ylabel("share that is right", fontsize=LABEL_POINTS)
    above.grid(alpha=0.3)
    above.legend(fontsize=LABEL_POINTS, loc="upper left")
    below.set_xlim(0, 1)
    below.set_xlabel("probability of the winning class", fontsize=LABEL_POINTS)
    below.set_ylabel("clips", fontsize=LABEL_POINTS)
    return figure
