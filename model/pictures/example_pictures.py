"""Clips of an evaluation with what the network predicts for them, as one picture and as one each."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.io.atomic import write_file
from features.pictures.drawing import draw_features, new_figure, plain, save
from features.runtime.visible import num_columns
from model.pictures.run_pictures import LONGEST_NAME, verdict

_COLUMNS = 4
# Inches: the width of a clip in the grid, the height of its image, and what is beside, beyond and below that.
_TILE, _IMAGE_HEIGHT, _BESIDE, _BEYOND, _BELOW, _HEAD = 3.2, 2.1, 0.62, 0.14, 0.45, 0.4
_TITLE_POINTS = 11
_LONGEST_PATH = 36  # in a column of the grid


@dataclass(frozen=True)
class Example:
    """A clip and what the network predicts for it.

    Attributes:
        path: of its file.
        features: shape spec.shape.
        true: the true label.
        predicted: the label that the network gives it.
        probability: of the predicted label.
    """

    path: str
    features: NDArray[np.floating]
    true: str
    predicted: str
    probability: float


def draw_examples(examples: Sequence[Example], spec: FeatureSpec, title: str, path: Path) -> None:
    """Writes the picture of `examples_figure`."""
    save(examples_figure(examples, spec, title), path)


def examples_figure(examples: Sequence[Example], spec: FeatureSpec, title: str) -> Figure:
    """Draws a grid of clips.

    Args:
        examples: the clips, in the order in which they are shown.
        spec: the front end, for the axes.
        title: of the picture.
    """
    grid = ExampleGrid.of(examples)
    width, height = grid.size
    figure = new_figure(width, height)
    figure.text(0.5, 1 - 0.2 / height, title, fontsize=_TITLE_POINTS, ha="center", va="center")
    for place, example in enumerate(examples):
        left, top = grid.corner(place)
        bottom = top + grid.tile_height - _BELOW
        axes = figure.add_axes((
            (left + _BESIDE) / width, 1 - bottom / height,
            (_TILE - _BESIDE - _BEYOND) / width, (bottom - top - grid.above) / height,
        ))  # fmt: skip
        draw_features(axes, example.features, spec)
        axes.set_title(_example_title(example), fontsize=9, color=verdict(example.true, example.predicted)[1])
    return figure


@dataclass(frozen=True)
class ExampleGrid:
    """Where the clips of `examples_figure` stand, in inches from its upper left corner.

    Places are fixed and not found by matplotlib: to measure all texts for that takes as long as to draw them.

    Attributes:
        num_clips: of the picture.
        above: height of the longest title.
    """

    num_clips: int
    above: float

    @classmethod
    def of(cls, examples: Sequence[Example]) -> "ExampleGrid":
        """Returns the grid of some examples."""
        lines = [_example_title(example).count("\n") + 1 for example in examples]
        return cls(len(examples), 0.1 + 0.17 * max(lines, default=1))

    @property
    def tile_height(self) -> float:
        """Of a clip with its title and its labels."""
        return _IMAGE_HEIGHT + self.above + _BELOW

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the picture."""
        rows = max(1, -(-self.num_clips // _COLUMNS))
        return _TILE * _COLUMNS, _HEAD + rows * self.tile_height

    def corner(self, place: int) -> tuple[float, float]:
        """Returns the upper left corner of a clip with its title and its labels."""
        row, column = divmod(place, _COLUMNS)
        return column * _TILE, _HEAD + row * self.tile_height

    def cut(self, picture: Path, paths: Sequence[Path]) -> None:
        """Writes the parts of the picture, drawn into a file, that show a clip each, as PNG."""
        from PIL import Image

        with Image.open(picture) as image:
            whole, dots = image.convert("RGB"), image.width / self.size[0]
        for place, path in enumerate(paths):
            left, top = self.corner(place)
            edges = left, top, left + _TILE, top + self.tile_height
            # The last dots of a picture may be missing, since its size is rounded down.
            box = tuple(min(round(edge * dots), most) for edge, most in zip(edges, 2 * whole.size, strict=True))
            content = io.BytesIO()
            whole.crop(box).save(content, format="png")  # type: ignore[arg-type]
            write_file(path, content.getvalue(), durable=False)


def _example_title(example: Example) -> str:
    mark, _ = verdict(example.true, example.predicted)
    names = plain(example.true, LONGEST_NAME), plain(example.predicted, LONGEST_NAME)
    # Two long names side by side would run into the neighbour's.
    between = "\n" if sum(map(num_columns, names)) > LONGEST_NAME else " "
    said = f"{mark}: {names[0]}{between}→ {names[1]} ({example.probability:.2f})"
    return f"{said}\n{plain(example.path, _LONGEST_PATH)}"
