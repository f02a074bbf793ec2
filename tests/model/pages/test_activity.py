"""Activity by hour and date: coarser where there are too many numbers, and the same sums all the same."""

import numpy as np
import pytest

from model.pages import activity
from model.pages.activity import ANY_LABEL, Activity
from model.pages.line_events import line_events
from tests.model.pages.test_line_events import random_lines


def filled(pieces: int = 1) -> tuple[Activity, int]:
    """Events of recordings on many days, added in some pieces, and how many of them are of the label 0."""
    made, of_label = Activity(), 0
    for piece in range(pieces):
        lines = random_lines(200 // pieces, 5, 1.5, seed=piece)
        found = line_events(lines)
        hours = (lines.recordings * 31 + piece * 1_000)[found.order]
        hours[found.recordings == 0] = -1
        made.add(found, hours, np.ones(len(found), bool))
        of_label += int(((found.labels == 0) & (found.recordings > 0)).sum())
    return made, of_label


@pytest.mark.parametrize("pieces", [1, 4])
def test_every_event_is_counted_at_its_hour(pieces):
    made, of_label = filled(pieces)
    cells = made.cells()
    assert not cells.by_month or len(cells.dates) < 12
    assert cells.counts[cells.labels == 0].sum() == of_label  # windows are apart: each is an event
    places = set(zip(cells.date_numbers.tolist(), cells.hours.tolist(), strict=True))
    assert places == {tuple(pair) for pair in cells.recorded.tolist()}


def test_too_many_numbers_are_counted_together(monkeypatch):
    made, _ = filled()
    fine = made.cells()
    steps = []
    for most in (len(fine.counts) - 1, len(fine.counts) // 3, 0):
        monkeypatch.setattr(activity, "_MOST_CELLS", most)
        cells = made.cells()
        steps.append((len(cells.thresholds), cells.by_month, bool((cells.labels == ANY_LABEL).all())))
        assert len(cells.counts) <= most or steps[-1] == (4, True, True)
        for place in (0, 50):
            exact = fine.counts[np.array(fine.thresholds)[fine.places] >= place].sum()
            assert cells.counts[np.array(cells.thresholds)[cells.places] >= place].sum() == exact
    assert steps[0][0] < 101
    assert not steps[0][2]
    assert steps[-1] == (4, True, True)


def test_without_times_there_is_none():
    made = Activity()
    found = line_events(random_lines(2, 3, 1.0))
    made.add(found, np.full(len(found), -1), np.ones(len(found), bool))
    assert made.cells() is None
