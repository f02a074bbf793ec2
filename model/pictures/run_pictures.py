"""The pictures of a run: its history, its confusion matrix, and clips with what the network predicts for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.pictures.drawing import (
    BLUE,
    CHARACTER,
    LABEL_POINTS,
    MAP,
    ORANGE,
    TICK_POINTS,
    draw_features,
    draw_spectrogram,
    draw_waveform,
    new_figure,
    plain,
    save,
)
from features.pictures.signal_summary import trace_waveform
from features.runtime.visible import num_columns

_CURVES = {"loss": "loss (cross-entropy)", "accuracy": "accuracy", "recall": "recall"}
LONGEST_NAME = 22
"""Columns of the name of a class in a title."""

_LONGEST_PATH = 70
# Classes of a window, the most probable first.
_MOST_BARS = 10
_LEAST_BARS = 4  # fewer would be thicker than they are long
_NEUTRAL, _OTHER = "black", "0.72"
# A confusion matrix with more classes has no room for numbers.
_MOST_NUMBERED = 40
# Inches: the side of a confusion matrix, as far as its cells are neither too small to be distinguished nor too large.
_MATRIX, _SMALLEST_CELL, _LARGEST_CELL = 7.0, 0.2, 0.8
_TITLE_POINTS = 11


@dataclass(frozen=True)
class LabelledWindow:
    """One window and what the network predicts for it.

    Attributes:
        path: of the file.
        start_seconds: where the window begins.
        end_seconds: where it really ends.
        waveform: as it goes into the front end: (samples,).
        features: shape spec.shape.
        probabilities: of each class, by name.
        true: the true class where it is known, else None.
    """

    path: str
    start_seconds: float
    end_seconds: float
    waveform: NDArray[np.float32]
    features: NDArray[np.floating]
    probabilities: dict[str, float]
    true: str | None

    @property
    def best(self) -> list[str]:
        """The classes from the most to the least probable, the first of equals first."""
        return sorted(self.probabilities, key=lambda label: -self.probabilities[label])


def draw_curves(history: list[dict[str, float]], path: Path) -> None:
    """Writes the picture of `curves_figure`."""
    save(curves_figure(history), path)


def curves_figure(history: list[dict[str, float]]) -> Figure:
    """Draws loss, accuracy and, where measured, recall by epoch: of training, and of validation if there was one.

    Args:
        history: a row per epoch with `epoch`, `loss`, `accuracy`; `recall` and the `val_` columns where they are there.
            Of a linear network a row has an `l2` penalty, which takes the place of the epoch.
    """
    columns = set().union(*history)
    names = [name for name in _CURVES if name in columns]
    validated = any(f"val_{name}" in columns for name in names)
    figure = new_figure(5 * len(names), 4, layout="constrained")
    is_linear = "l2" in columns
    places = [row["l2" if is_linear else "epoch"] for row in history]
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        series = {"training": (name, BLUE, "o", "-"), "validation": (f"val_{name}", ORANGE, "s", "--")}
        for label, (column, colour, marker, line) in series.items():
            if column in columns:
                values = [row.get(column, np.nan) for row in history]
                axes.plot(places, values, color=colour, marker=marker, ls=line, label=label)
        axes.set_ylabel(_CURVES[name])
        if is_linear:
            axes.set_xlabel("L2 penalty")
            axes.set_xscale("log")
            axes.minorticks_off()
            axes.xaxis.set_major_formatter("{x:g}")  # powers as formulas take as long as all else
            axes.xaxis.set_inverted(True)  # as they are tried: from the strongest on
        else:
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    if is_linear:
        title = "For each L2 penalty, weights are solved for; "
        title += "validation is on clips that were not learnt from" if validated else "there was no validation"
    else:
        title = "Training is measured while the network learns, with dropout and augmentation; "
        title += "validation after each epoch" if validated else "there was no validation"
    figure.suptitle(title, fontsize=9)
    return figure


def draw_confusion(matrix: NDArray[np.int64], classes: list[str], title: str, path: Path) -> None:
    """Writes the picture of `confusion_figure`."""
    save(confusion_figure(matrix, classes, title), path)


def confusion_figure(matrix: NDArray[np.int64], classes: list[str], title: str) -> Figure:
    """Draws a confusion matrix, (classes, classes): colour is the share of the true class, numbers are clips."""
    number = len(classes)
    cell = min(_LARGEST_CELL, max(_SMALLEST_CELL, _MATRIX / number))
    names = [plain(label, LONGEST_NAME) for label in classes]
    names_width = max(map(num_columns, names)) * LABEL_POINTS * CHARACTER
    # Names below the matrix stand at 45 degrees, and so reach as far to the left as down.
    left, bottom, side = names_width + 0.6, 0.75 * names_width + 0.6, cell * number
    width = max(left + side + 1.2, len(title) * _TITLE_POINTS * CHARACTER + 0.4)
    height = 0.7 + side + bottom
    figure = new_figure(width, height)
    figure.text(0.2 / width, 1 - 0.35 / height, title, fontsize=_TITLE_POINTS)
    axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap=MAP, vmin=0, vmax=1)
    bar = figure.add_axes(((left + side + 0.2) / width, bottom / height, 0.18 / width, side / height))
    figure.colorbar(image, cax=bar)
    bar.set_ylabel("share of the true class", fontsize=LABEL_POINTS)
    bar.tick_params(labelsize=TICK_POINTS)
    axes.set_xticks(range(number), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=LABEL_POINTS)
    axes.set_yticks(range(number), names, fontsize=LABEL_POINTS)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if number <= _MOST_NUMBERED:
        points = 8 if cell > 0.3 else 5
        for row, column in np.argwhere(matrix > 0):
            colour = "black" if shares[row, column] > 0.5 else "white"
            text = f"{matrix[row, column]}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=points)
    return figure


def windows_figure(windows: Sequence[LabelledWindow], spec: FeatureSpec, title: str) -> Figure:
    """Draws a row per window: its waveform, its spectrogram, and a bar for each of its ten most probable classes.

    Args:
        windows: one at least.
        spec: the front end; where its features are pooled, they stand beside the spectrogram of the waveform.
        title: of the picture.
    """
    pooled = len(spec.shape) == 1
    widths = [3.2, 3.2, 3.2, 2.6] if pooled else [3.6, 3.6, 3.0]
    figure = new_figure(sum(widths) + 1, 2.6 * len(windows) + 0.6, layout="constrained")
    figure.suptitle(title, fontsize=11)
    rows = figure.subfigures(len(windows), 1, squeeze=False)[:, 0]
    for row, window in zip(rows, windows, strict=True):
        axes = row.subplots(1, len(widths), width_ratios=widths)
        trace = trace_waveform(window.waveform, spec.sample_rate_hz)
        draw_waveform(axes[0], trace)
        if pooled:
            draw_spectrogram(axes[1], trace)
        draw_features(axes[-2], window.features, spec)
        _draw_probabilities(axes[-1], window)
        _, colour = verdict(window.true, window.best[0])
        row.suptitle(_window_title(window), fontsize=9, color=colour)
    return figure


def _window_title(window: LabelledWindow) -> str:
    predicted = window.best[0]
    text = f"{plain(predicted, LONGEST_NAME)} ({window.probabilities[predicted]:.2f})"
    if window.true is not None:
        mark, _ = verdict(window.true, predicted)
        text = f"{mark}: {plain(window.true, LONGEST_NAME)} → {text}"
    place = f"{window.start_seconds:.2f} to {window.end_seconds:.2f} s"
    return f"{text}    {place} of {plain(window.path, _LONGEST_PATH)}"


def _draw_probabilities(axes: Any, window: LabelledWindow) -> None:
    shown = window.best[:_MOST_BARS]
    _, colour = verdict(window.true, window.best[0])
    colours = [colour if colour != _NEUTRAL else BLUE, *[_OTHER] * (len(shown) - 1)]
    places = np.arange(len(shown))[::-1]
    values = [window.probabilities[label] for label in shown]
    bars = axes.barh(places, values, color=colours, height=0.75)
    axes.bar_label(bars, [f"{value:.3f}" for value in values], fontsize=TICK_POINTS, padding=2)
    names = [plain(label, LONGEST_NAME) + (" (true)" if label == window.true else "") for label in shown]
    axes.set_yticks(places, names)
    middle, span = (len(shown) - 1) / 2, max(len(shown), _LEAST_BARS)
    axes.set_ylim(middle - span / 2, middle + span / 2)
    axes.set_xlim(0, 1.2)  # room for the number at a bar's end
    axes.set_xticks([0, 0.5, 1])
    axes.set_xlabel("probability", fontsize=8)
    more = len(window.probabilities) - len(shown)
    if more > 0:
        axes.set_title(f"the first {len(shown)} of {len(window.probabilities)} classes", fontsize=8)
    axes.tick_params(labelsize=TICK_POINTS)


def verdict(true: str | None, predicted: str) -> tuple[str, str]:
    """Returns the word and the colour of a prediction; without a true class it has neither."""
    if true is None:
        return "", _NEUTRAL
    return ("right", BLUE) if true == predicted else ("wrong", ORANGE)
