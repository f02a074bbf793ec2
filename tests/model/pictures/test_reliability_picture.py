import numpy as np
import pytest

from model.pictures.reliability_picture import Curve, draw_reliability, reliability_figure
from tests.features.pictures.test_drawing import misplaced

EDGES = np.linspace(0, 1, 6)
FIRST = Curve(
    "with the temperature of 1.234", EDGES, np.array([0, 3, 0, 10, 100]),
    np.array([np.nan, 0.3, np.nan, 0.7, 0.95]), np.array([np.nan, 0.1, np.nan, 0.8, 0.9]),
)  # fmt: skip
SECOND = Curve(
    "without", EDGES, np.array([0, 0, 0, 0, 113]), np.array([np.nan] * 4 + [0.99]), np.array([np.nan] * 4 + [0.9])
)


@pytest.mark.parametrize("curves", [[FIRST], [FIRST, SECOND]], ids=["one", "two"])
def test_a_curve_has_a_point_and_a_bar_where_there_are_clips(curves):
    figure = reliability_figure(curves, "expected calibration error 0.0312 on 1,113 clips")
    above, below = figure.axes
    diagonal, *lines = above.lines
    assert diagonal.get_xdata().tolist() == diagonal.get_ydata().tolist() == [0, 1]
    assert [line.get_label() for line in lines] == [curve.name for curve in curves]
    for line, curve in zip(lines, curves, strict=True):
        filled = curve.clips > 0
        np.testing.assert_array_equal(line.get_xdata(), curve.confidence[filled])
        np.testing.assert_array_equal(line.get_ydata(), curve.accuracy[filled])
    heights = [bar.get_height() for bar in below.patches]
    assert heights == [clips for curve in curves for clips in curve.clips]
    assert below.patches[-1].get_x() + below.patches[-1].get_width() == pytest.approx(1)
    assert (above.get_ylabel(), below.get_ylabel()) == ("share that is right", "clips")
    assert below.get_xlabel() == "probability of the winning class"
    assert not misplaced(figure)


def test_nothing_has_a_picture_too(tmp_path):
    nothing = Curve("without a temperature", EDGES, np.zeros(5, int), np.full(5, np.nan), np.full(5, np.nan))
    for number in "12":
        draw_reliability([nothing], "title", tmp_path / f"{number}.png")
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
