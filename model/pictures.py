"""The pictures of a run, drawn with colours that the colour-blind tell apart and that survive printing."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from features.atomic import write_file
from features.spec import FeatureSpec

_BLUE, _ORANGE = "#0072b2", "#d55e00"  # from the palette of Okabe and Ito (2008)
_MAP = "cividis"
# Spectrograms of magnitudes are drawn as logarithms; so much keeps silence finite.
_EPSILON = 1e-6
_GRID_COLUMNS = 4
_DOTS_PER_INCH = 110


def draw_curves(history: list[dict[str, float]], path: Path) -> None:
    """Draws loss and accuracy by epoch, of training and of validation."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [row[name] for row in history], color=_BLUE, marker="o", label="training")
        axes.plot(
            epochs, [row[f"val_{name}"] for row in history], color=_ORANGE, marker="s", ls="--", label="validation"
        )
        axes.set_xlabel("epoch")
        axes.set_ylabel(name if name == "accuracy" else "loss (cross-entropy)")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle("Training accuracy is measured with dropout, validation accuracy without", fontsize=9)
    _save(figure, path)


def draw_confusion(matrix: NDArray[np.int64], classes: list[str], title: str, path: Path) -> None:
    """Draws a confusion matrix: colour is the share of the true class, numbers are clips."""
    size = max(4.5, 0.55 * len(classes) + 2)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap=_MAP, vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(title)
    if len(classes) <= 40:
        for row, column in np.argwhere(matrix > 0):
            colour = "black" if shares[row, column] > 0.5 else "white"
            axes.text(column, row, matrix[row, column], ha="center", va="center", color=colour, fontsize=8)
    _save(figure, path)


def draw_examples(
    examples: list[tuple[NDArray[np.floating], str, str, float]], spec: FeatureSpec, title: str, path: Path
) -> None:
    """Draws a grid of clips.

    Args:
        examples: for each its features (frames, coefficients), true label, predicted label and probability.
        spec: the front end, for the axes.
        title: of the picture.
        path: where it goes.
    """
    rows = max(1, -(-len(examples) // _GRID_COLUMNS))
    figure = Figure(figsize=(3.2 * _GRID_COLUMNS, 2.7 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, _GRID_COLUMNS, squeeze=False).ravel()
    for axes in grid[len(examples) :]:
        axes.set_axis_off()
    for place, (axes, (features, true, predicted, probability)) in enumerate(zip(grid, examples, strict=False)):
        draw_features(axes, features, spec)
        mark, colour = ("right", _BLUE) if true == predicted else ("wrong", _ORANGE)
        axes.set_title(f"{mark}: {true} → {predicted} ({probability:.2f})", fontsize=9, color=colour)
        if place % _GRID_COLUMNS:
            axes.set_ylabel("")
        if place + _GRID_COLUMNS < len(examples):
            axes.set_xlabel("")
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def draw_features(axes: Any, features: NDArray[np.floating], spec: FeatureSpec) -> None:
    """Draws the features of one clip, (frames, coefficients), over time, low frequencies at the bottom."""
    image = features.astype(np.float32).T
    if spec.front_end == "stft":
        image = np.log(image + _EPSILON)
        top, label = spec.sample_rate_hz / 2, "frequency (Hz)"
    else:
        top, label = float(spec.shape[-1]), "mel band" if spec.front_end == "log_mel" else "MFCC"
    axes.imshow(image, origin="lower", aspect="auto", cmap=_MAP, extent=(0, spec.clip_seconds, 0, top))
    axes.set_xlabel("time (s)")
    axes.set_ylabel(label)
    axes.tick_params(labelsize=7)


def _save(figure: Figure, path: Path) -> None:
    content = io.BytesIO()
    # A fixed Software entry keeps the picture's bytes the same for the same numbers.
    figure.savefig(content, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": "soundmill"})
    write_file(path, content.getvalue())
