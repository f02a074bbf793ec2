import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.labels import window_choice
from model.labels.window_choice import BEST, BOTH, EVEN, WindowChoice
from model.labels.window_rows import WindowRows

CLASSES = ("crow", "wren", "_silence_")


def rows_of(windows, classes=CLASSES):
    """The windows (path, start, probabilities), which follow one another by their recordings."""
    paths, counts = [], []
    for path, _, _ in windows:
        if not paths or paths[-1] != path:
            paths.append(path)
            counts.append(0)
        counts[-1] += 1
    starts = np.array([start for _, start, _ in windows], np.float64)
    probabilities = np.array([values for _, _, values in windows], np.float32).reshape(-1, len(classes))
    return WindowRows(paths, np.array(counts, np.int64), starts, starts + 1, probabilities)


def choose(pieces, per_class, classes=CLASSES):
    choice = WindowChoice(classes, per_class)
    for piece in pieces:
        choice.add(rows_of(piece, classes))
    return list(choice.chosen())


def random_windows(seed, count, classes=CLASSES, digits=6):
    random = np.random.default_rng(seed)
    values = random.beta(0.3, 0.6, (count, len(classes))).round(digits).astype(np.float32)
    return [(f"r{number // 5:03d}.wav", number % 5 / 4, row.tolist()) for number, row in enumerate(values)]


def plain_choice(windows, per_class, kind, hashes):
    """The same with sorted lists: places of the best, and of those drawn."""
    best = sorted(range(len(windows)), key=lambda number: (-windows[number][2][kind], hashes[number]))[:per_class]
    parts = [[] for _ in range(per_class)]
    for number in sorted(range(len(windows)), key=hashes.__getitem__):
        parts[min(per_class - 1, int(windows[number][2][kind] * per_class))].append(number)
    even = [part[turn] for turn in range(len(windows)) for part in parts[::-1] if turn < len(part)][:per_class]
    return set(best), set(even)


def hashes_of(windows, kind):
    rows = rows_of(windows)
    of_class = np.uint64(window_choice.xxhash.xxh3_64_intdigest(CLASSES[kind].encode()))
    return window_choice.mixed_bits(
        window_choice.window_hashes(rows.paths, rows.recordings, rows.start_seconds) ^ of_class
    ).tolist()


@pytest.mark.parametrize("digits", [6, 1])  # with one digit many are equal
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 400])
@pytest.mark.parametrize("per_class", [1, 4, 30])
def test_the_choice_is_that_of_sorted_lists(count, per_class, digits, monkeypatch):
    monkeypatch.setattr(window_choice, "_MOST_WAITING", 50)  # so that most are left out on the way
    windows = random_windows(count, count, digits=digits)
    found = choose([windows[first : first + 7] for first in range(0, count, 7)], per_class)
    for kind, label in enumerate(CLASSES):
        best, even = plain_choice(windows, per_class, kind, hashes_of(windows, kind))
        expected = {
            (path, start): BOTH if number in best & even else BEST if number in best else EVEN
            for number, (path, start, _) in enumerate(windows)
            if number in best | even
        }
        mine = [window for window in found if window.label == label]
        assert {(window.path, window.start_seconds): window.drawn for window in mine} == expected
        assert [window.probability for window in mine] == sorted((w.probability for w in mine), reverse=True)
    assert [CLASSES.index(window.label) for window in found] == sorted(CLASSES.index(w.label) for w in found)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 60))
def test_order_and_pieces_change_nothing(seed, per_class, cut):
    windows = random_windows(seed, 120, digits=2)
    recordings = [windows[first : first + 5] for first in range(0, len(windows), 5)]
    expected = choose([windows], per_class)
    np.random.default_rng(seed).shuffle(recordings)
    assert choose(recordings, per_class) == expected
    # What was chosen of some, with the others: the choice among all.
    first = choose([windows[:cut]], per_class)
    kept = {(window.path, window.start_seconds) for window in first}
    known = [window for window in windows[:cut] if window[:2] in kept]
    assert choose([known, windows[cut:]], per_class) == expected


def test_what_is_drawn_lies_evenly_in_the_probabilities_and_differs_by_label():
    """As many of each tenth, though nearly all windows are improbable; and not the same windows for each label."""
    random = np.random.default_rng(7)
    values = random.beta(0.1, 2, (4_000, 3)).astype(np.float32)
    windows = [("long.wav", float(start), row.tolist()) for start, row in enumerate(values)]
    found = choose([windows], 10)
    drawn = {label: [w for w in found if w.label == label and w.drawn != BEST] for label in CLASSES}
    for label in CLASSES:
        assert len(drawn[label]) == 10
        assert len({min(9, int(window.probability * 10)) for window in drawn[label]}) >= 8
    starts = [{window.start_seconds for window in windows} for windows in drawn.values()]
    assert not starts[0] & starts[1] & starts[2]


def test_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr(window_choice, "_MOST_WAITING", 2_000)
    choice = WindowChoice(CLASSES, 5)
    values = np.random.default_rng(0).random((30, 300, 3)).astype(np.float32)
    starts, count = np.arange(300.0), np.array([300])
    held = []
    for number, piece in enumerate(values):
        choice.add(WindowRows([f"{number}.wav"], count, starts, starts + 1, piece))
        held.append(choice._waiting)
    assert max(held) <= 2_000
    # Once it has chosen, few of those that come are candidates.
    assert sum(held[-5:]) - 5 * held[-6] < 5 * 60
