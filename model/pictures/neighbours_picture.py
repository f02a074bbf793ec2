"""The picture of a search in a set: the clip that was searched for, and those that are most like it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.pictures.drawing import ORANGE, TICK_POINTS, draw_features, draw_spectrogram, new_figure, plain
from features.pictures.signal_summary import trace_waveform

_COLUMNS = 7
_LONGEST_NAME = 24
_LONGEST_PATH = 34
_LONGEST_TITLE = 110
_NOTE = "\n* its file is gone or has changed: the features are drawn"


@dataclass(frozen=True)
class Panel:
    """A clip as the picture shows it.

    Attributes:
        path: of its file.
        label: its class, None where it has none.
        facts: a line of text below its path.
        waveform: as the front end takes it, None where its file is gone or has changed: then its features are drawn.
        features: shape spec.shape; None where the waveform is drawn.
    """

    path: str
    label: str | None
    facts: str
    waveform: NDArray[np.float32] | None
    features: NDArray[np.floating] | None


def neighbours_figure(query: Panel, hits: Sequence[Panel], spec: FeatureSpec, title: str) -> Figure:
    """Draws a grid of spectrograms, seven a row: first, in a frame, what was searched for, then the others in order.

    Args:
        query: what was searched for.
        hits: the clips most like it, the most alike first.
        spec: the front end.
        title: of the picture.
    """
    panels = [query, *hits]
    rows = -(-len(panels) // _COLUMNS)
    figure = new_figure(2.6 * _COLUMNS, 2.25 * rows + 0.5, layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for place, (axes, panel) in enumerate(zip(grid, panels, strict=False)):
        if panel.waveform is not None:
            draw_spectrogram(axes, trace_waveform(panel.waveform, spec.sample_rate_hz))
        elif panel.features is not None:
            draw_features(axes, panel.features, spec)
        _write_head(axes, panel, place)
        if place % _COLUMNS:
            axes.set_ylabel("")
        if place + _COLUMNS < len(panels):
            axes.set_xlabel("")
    note = "" if all(panel.waveform is not None for panel in panels) else _NOTE
    figure.suptitle(f"{plain(title, _LONGEST_TITLE)}{note}", fontsize=11)
    return figure


def _write_head(axes: Any, panel: Panel, place: int) -> None:
    name = "" if panel.label is None else plain(panel.label, _LONGEST_NAME)
    head = f"{place}. {name}" if place else f"like: {name}" if name else "like"
    mark = "" if panel.waveform is not None else " *"
    axes.set_title(f"{head}{mark}\n{plain(panel.path, _LONGEST_PATH)}\n{panel.facts}", fontsize=TICK_POINTS, loc="left")
    if place == 0:
        axes.title.set_color(ORANGE)
        for spine in axes.spines.values():
            spine.set(edgecolor=ORANGE, linewidth=3)
