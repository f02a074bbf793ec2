"""The picture of a search: which settings mattered, and what accuracy came of which values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from features.pictures.drawing import BLUE, ORANGE, TICK_POINTS, new_figure, plain, save

# Of the settings, so many have a panel of their own: the most important ones.
_MOST_PANELS = 6
_PANELS_A_ROW = 3


@dataclass(frozen=True)
class TrialPoint:
    """A trial that ended.

    Attributes:
        values: of the settings that were searched.
        accuracy: on the validation clips.
    """

    values: Mapping[str, Any]
    accuracy: float


def draw_search(importances: Mapping[str, float], points: Sequence[TrialPoint], log: Sequence[str], path: Path) -> None:
    """Writes the picture of `search_figure`."""
    save(search_figure(importances, points, log), path)


def search_figure(importances: Mapping[str, float], points: Sequence[TrialPoint], log: Sequence[str]) -> Figure:
    """Draws a bar for each setting, and for the most important ones the accuracy of each trial over its value.

    Args:
        importances: of each setting, shares of 1.
        points: the trials that ended.
        log: names of the settings that were searched by their logarithm.
    """
    names = sorted(importances, key=lambda name: -importances[name])
    shown = names[:_MOST_PANELS]
    rows = -(-len(shown) // _PANELS_A_ROW)
    figure = new_figure(3.4 * (_PANELS_A_ROW + 1), max(3.2 * rows, 0.35 * len(names) + 1.5), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[1.2, _PANELS_A_ROW])[0]
    bars = left.subplots()
    bars.barh(range(len(names))[::-1], [importances[name] for name in names], color=BLUE)
    bars.set_yticks(range(len(names))[::-1], [plain(name) for name in names])
    bars.set_xlim(0, 1)
    bars.set_xlabel("share of what made the difference")
    bars.tick_params(labelsize=TICK_POINTS)
    best = max(points, key=lambda point: point.accuracy)
    grid = right.subplots(rows, _PANELS_A_ROW, squeeze=False, sharey=True).ravel()
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    for axes, name in zip(grid, shown, strict=False):
        is_text = any(isinstance(point.values[name], str) for point in points)
        values = [plain(point.values[name]) if is_text else point.values[name] for point in points]
        axes.scatter(values, [point.accuracy for point in points], color=BLUE, s=14, alpha=0.7)
        axes.scatter([values[points.index(best)]], [best.accuracy], color=ORANGE, s=40, marker="*")
        if name in log:
            axes.set_xscale("log")
            low, high = min(map(float, values)), max(map(float, values))
            axes.set_xticks([low, (low * high) ** 0.5, high])
            axes.xaxis.set_major_formatter("{x:.2g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(plain(name))
        axes.tick_params(labelsize=TICK_POINTS)
        axes.grid(alpha=0.3)
    for axes in grid[::_PANELS_A_ROW]:
        axes.set_ylabel("validation accuracy")
    figure.suptitle(f"{len(points)} trials; the star is the best one, {best.accuracy:.4f}", fontsize=11)
    return figure
