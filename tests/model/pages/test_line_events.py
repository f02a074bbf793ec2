"""Events at thresholds against `find_events` at each of them, and what they cover against a plain union."""

import numpy as np
import pytest

from model.labels.events import EventRules, find_events
from model.pages.line_events import THRESHOLDS, at_thresholds, line_events, threshold_places
from model.pages.scored_table import Lines


def random_lines(recordings: int, windows: int, hop: float, seed: int = 0) -> Lines:
    """Each window has a line of one of three labels, and some a second one; a last window is shorter."""
    generator = np.random.default_rng(seed)
    columns = []
    for recording in range(recordings):
        for window in range(windows):
            start = round(window * hop, 6)
            end = min(start + 1.0, (windows - 1) * hop + 0.7)
            for label in generator.choice(3, generator.integers(1, 3), replace=False):
                columns.append((recording, start, end, label, np.round(generator.beta(2, 2), 6)))
    columns = np.array(columns).reshape(-1, 5)
    return Lines(
        paths=[f"{recording}.wav" for recording in range(recordings)],
        counts=np.bincount(columns[:, 0].astype(np.int64), minlength=recordings)[:recordings],
        start_seconds=columns[:, 1],
        end_seconds=columns[:, 2],
        labels=columns[:, 3].astype(np.int64),
        probabilities=columns[:, 4],
        hours=np.full(len(columns), -1),
    )


def events_of(lines: Lines, label: int, threshold: float):
    """The events of a label as score finds them, of its lines alone."""
    wanted = lines.labels == label
    counts = np.bincount(lines.recordings[wanted], minlength=len(lines.paths))
    rules = EventRules(("it",), (threshold,))
    # Those windows of which the table has no line of the label break a run as those below the threshold do.
    return find_events(
        counts, lines.start_seconds[wanted], lines.end_seconds[wanted],
        lines.probabilities[wanted].astype(np.float32)[:, None], rules,
    )  # fmt: skip


def covered(lines: Lines, label: int, threshold: float) -> float:
    seconds = 0.0
    for recording in range(len(lines.paths)):
        wanted = (lines.labels == label) & (lines.recordings == recording) & (lines.probabilities >= threshold)
        until = 0.0
        for start, end in sorted(zip(lines.start_seconds[wanted], lines.end_seconds[wanted], strict=True)):
            seconds += max(0.0, end - max(start, until))
            until = max(until, end)
    return seconds


def from_each(counts):
    return counts[:, ::-1].cumsum(axis=1)[:, ::-1]


@pytest.mark.parametrize("hop", [1.0, 0.5, 0.3, 1.5])
@pytest.mark.parametrize("windows", [1, 2, 40])
def test_events_and_what_they_cover_are_those_at_each_threshold(hop, windows):
    lines = random_lines(3, windows, hop)
    found = line_events(lines)
    joined = np.minimum(found.probabilities, found.touching)
    events = at_thresholds(found.labels, 3, found.probabilities) - at_thresholds(found.labels, 3, joined)
    line, highest, seconds = found.overlaps
    length = found.end_seconds - found.start_seconds
    covers = at_thresholds(found.labels, 3, found.probabilities, length)
    covers -= at_thresholds(found.labels[line], 3, highest, seconds)
    for place in (0, 30, 50, 65, 90, 100):
        for label in range(3):
            threshold = THRESHOLDS[place]
            assert from_each(events)[label, place] == len(events_of(lines, label, threshold))
            assert from_each(covers)[label, place] == pytest.approx(covered(lines, label, threshold), abs=1e-9)


def test_the_events_of_all_lines_have_their_most_probable_window():
    lines = random_lines(4, 30, 1.0, seed=1)
    found = line_events(lines)
    for label in range(3):
        expected = events_of(lines, label, 0.0)
        own = found.labels[found.begins] == label
        assert found.start_seconds[found.begins][own] == pytest.approx(expected.start_seconds)
        assert found.ends[own] == pytest.approx(expected.end_seconds)
        assert found.probabilities[found.strongest][own] == pytest.approx(expected.peak_probability, abs=1e-6)


def test_no_line_has_no_event():
    found = line_events(random_lines(0, 0, 1.0))
    assert len(found) == len(found.begins) == len(found.strongest) == len(found.ends) == 0


def test_a_value_reaches_the_threshold_that_it_equals():
    values = np.array([-1.0, 0.0, 0.009999, 0.01, 0.29, 0.57, 0.58, 0.999999, 1.0])
    assert threshold_places(values).tolist() == [-1, 0, 0, 1, 29, 57, 58, 99, 100]
