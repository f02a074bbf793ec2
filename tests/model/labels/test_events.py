"""Events against a plain reading of the rules, against sed_scores_eval, and however recordings lie together."""

import math

import numpy as np
import pytest

from features.errors import UsageError
from model.labels.events import EventRules, find_events

CLASSES = ("wren", "_unknown_", "owl", "_silence_")


def windows(number, hop=1.0, length=1.0, tail=None):
    """Returns starts and ends of windows; the last one ends at `tail` where that is given."""
    start = np.arange(number) * hop
    end = start + length
    return start, end if tail is None else np.minimum(end, tail)


def events_of(probabilities, start=None, end=None, **rules):
    """Returns the events of one recording and one class as tuples."""
    values = np.asarray(probabilities, np.float32)
    if start is None:
        start, end = windows(len(values))
    rules = {"thresholds": (0.5,)} | rules
    found = find_events(np.array([len(values)]), start, end, values[:, None], EventRules(("wren",), **rules))
    columns = [found.start_seconds, found.end_seconds, found.peak_probability, found.mean_probability, found.windows]
    return [tuple(np.round(column, 6).tolist()) for column in np.transpose(columns)]


def smoothed(values, size):
    """The median of each window and its neighbours; beyond an end the recording comes backwards."""

    def at(index):
        while not 0 <= index < len(values):
            index = -1 - index if index < 0 else 2 * len(values) - 1 - index
        return values[index]

    return [sorted(at(index + step) for step in range(-(size // 2), size // 2 + 1))[size // 2]
            for index in range(len(values))]  # fmt: skip


def plain_events(start, end, probabilities, rules):
    """Reads the rules one after the other, a recording and a class at a time."""
    found = []
    for number, label in enumerate(rules.classes):
        values = smoothed([float(value) for value in probabilities[:, number]], rules.smooth)
        threshold = rules.thresholds[number]
        keep = threshold if rules.keep_threshold is None else min(threshold, rules.keep_threshold)
        runs = []
        for index, value in enumerate(values):
            if value < keep:
                continue
            if runs and runs[-1][-1] == index - 1 and start[index] - end[index - 1] < 1e-6:
                runs[-1].append(index)
            else:
                runs.append([index])
        runs = [run for run in runs if max(values[index] for index in run) >= threshold]
        merged = []
        for run in runs:
            if merged and start[run[0]] - end[merged[-1][-1]] < rules.merge_gap_seconds + 1e-6:
                merged[-1] = [*range(merged[-1][0], run[-1] + 1)]
            else:
                merged.append(run)
        for run in merged:
            of = [values[index] for index in run]
            if end[run[-1]] - start[run[0]] > rules.min_duration_seconds - 1e-6 and not label.startswith("_"):
                found.append((start[run[0]], end[run[-1]], number, max(of), math.fsum(of) / len(of), len(of)))
    return sorted(found, key=lambda event: (event[0], event[2]))


@pytest.mark.parametrize("seed", range(60))
def test_events_are_those_of_the_rules_read_one_after_the_other(seed):
    generator = np.random.default_rng(seed)
    hop = [1.0, 0.5, 0.3, 1.5][seed % 4]
    rules = EventRules(
        classes=CLASSES,
        thresholds=tuple(generator.choice([0.3, 0.6, 0.9, 1.0, math.inf], 4).tolist()),
        keep_threshold=[None, 0.2, 0.0][seed % 3],
        smooth=int(generator.choice([1, 1, 3, 5, 21])),
        merge_gap_seconds=float(generator.choice([0.0, 0.5, 1.0, 3.0])),
        min_duration_seconds=float(generator.choice([0.0, 1.0, 1.8])),
    ) if seed else EventRules(CLASSES, (0.5,) * 4)  # fmt: skip
    counts = generator.integers(1, 40, generator.integers(1, 9))
    places = [windows(count, hop, tail=(count - 1) * hop + 0.7) for count in counts]
    # Some recordings change slowly, so that events are long; values are on a grid, so that thresholds are met exactly.
    scores = [np.clip(generator.normal(0.5, 0.4, (count, 4)).cumsum(axis=0) % 1 if seed % 2
              else generator.random((count, 4)), 0, 1).round(1).astype(np.float32) for count in counts]  # fmt: skip
    found = find_events(
        counts,
        np.concatenate([start for start, _ in places]),
        np.concatenate([end for _, end in places]),
        np.concatenate(scores),
        rules,
    )
    expected = [(number, *event) for number, ((start, end), values) in enumerate(zip(places, scores, strict=True))
                for event in plain_events(start, end, values, rules)]  # fmt: skip
    rows = [found.recordings, found.start_seconds, found.end_seconds, found.classes, found.peak_probability,
            found.mean_probability, found.windows]  # fmt: skip
    assert len(found) == len(expected)
    np.testing.assert_allclose(np.transpose(rows).reshape(-1, 7), np.reshape(expected, (-1, 7)), rtol=0, atol=1e-12)
    for number, (place, values) in enumerate(zip(places, scores, strict=True)):  # to the bit, whatever lies beside it
        alone = find_events(counts[number : number + 1], *place, values, rules)
        of = found.recordings == number
        assert alone.mean_probability.tolist() == found.mean_probability[of].tolist()
        assert alone.peak_probability.tolist() == found.peak_probability[of].tolist()


def test_random_scores_had_events_of_all_kinds():
    """The comparison above means something only where there are events, some of them merged."""
    generator = np.random.default_rng(1)
    scores = generator.random((200, 1)).astype(np.float32)
    lengths = [event[-1] for event in events_of(scores[:, 0], merge_gap_seconds=1.0)]
    assert len(lengths) > 10 and max(lengths) > 5 and 1 in lengths


@pytest.mark.parametrize("seed", range(3))
def test_events_of_a_threshold_are_those_that_sed_scores_eval_reads(sed_scores_eval, seed):
    generator = np.random.default_rng(seed)
    scores = np.float32(np.convolve(generator.random(200), np.ones(3) / 3, "same")).round(2)
    thresholds = np.float32([0.3, 0.5, 0.6, 0.7]).astype(np.float64)  # some scores are equal to them
    start, end = windows(len(scores), hop=0.5, length=0.5)
    expected = sed_scores_eval(
        f"onsets and offsets, seed {seed}",
        lambda theirs: theirs.base_modules.detection.onset_offset_curves(
            scores.astype(np.float64), np.append(start, end[-1]), thresholds
        )[1:],
    )
    for threshold, onsets, offsets in zip(thresholds.tolist(), *expected, strict=True):
        found = events_of(scores, start, end, thresholds=(threshold,))
        there = offsets > onsets
        assert [event[:2] for event in found] == list(zip(onsets[there], offsets[there], strict=True))
        assert found


def test_an_event_begins_at_the_threshold_and_goes_on_in_both_directions_while_it_is_kept():
    scores = [0.1, 0.3, 0.4, 0.5, 0.3, 0.29, 0.4, 0.4]
    assert events_of(scores) == [(3, 4, 0.5, 0.5, 1)]
    assert events_of(scores, keep_threshold=0.3 - 1e-9) == [(1, 5, 0.5, 0.375, 4)]
    assert events_of(scores, thresholds=(0.51,), keep_threshold=0.3) == []


def test_thresholds_are_compared_as_those_of_the_labels_are():
    """0.9 in float32 is less than 0.9, and no window of it has a line of labels at that threshold."""
    assert events_of([0.9], thresholds=(0.9,)) == []
    assert len(events_of([np.nextafter(np.float32(0.9), np.float32(1))], thresholds=(0.9,))) == 1


def test_an_event_ends_where_windows_do_not_touch_unless_the_gap_is_merged():
    start, end = windows(4, hop=1.5)
    scores = [0.9, 0.8, 0.2, 0.7]
    assert [event[:2] for event in events_of(scores, start, end)] == [(0, 1), (1.5, 2.5), (4.5, 5.5)]
    assert [event[:2] for event in events_of(scores, start, end, merge_gap_seconds=0.5)] == [(0, 2.5), (4.5, 5.5)]
    assert events_of(scores, start, end, merge_gap_seconds=2.0) == [(0, 5.5, 0.9, 0.65, 4)]


def test_events_that_overlap_or_touch_are_one_and_count_the_windows_between_them():
    start, end = windows(5, hop=0.5)
    assert events_of([0.9, 0.1, 0.8, 0.1, 0.1], start, end) == [(0, 2, 0.9, 0.6, 3)]
    assert len(events_of([0.9, 0.1, 0.1, 0.8, 0.1], start, end)) == 2


def test_a_duration_that_is_equal_in_microseconds_is_long_enough():
    start, end = np.array([0.1]), np.array([0.3])
    assert (end - start)[0] < 0.2
    assert len(events_of([1.0], start, end, min_duration_seconds=0.2)) == 1
    assert events_of([1.0], start, end, min_duration_seconds=0.200001) == []


def test_smoothing_fills_a_window_and_drops_one():
    scores = [0.1, 0.9, 0.1, 0.1, 0.9, 0.1, 0.9, 0.9]
    assert [event[:2] for event in events_of(scores, smooth=3)] == [(5, 8)]
    assert events_of(scores, smooth=3)[0][2:] == (0.9, 0.9, 3)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 9, 10])
def test_a_filter_that_is_longer_than_the_recording_sees_it_reflected(count):
    scores = np.random.default_rng(count).random(count)
    expected = smoothed([float(value) for value in np.float32(scores)], 19)
    found = events_of(scores, thresholds=(0.0,), smooth=19)
    assert found == ([(0, count, *np.round([max(expected), np.mean(expected)], 6), count)] if count else [])


def test_what_no_recording_has():
    rules = EventRules(CLASSES, (0.5,) * 4, smooth=3)
    none = np.empty(0)
    assert len(find_events(np.empty(0, np.int64), none, none, np.empty((0, 4), np.float32), rules)) == 0
    table = find_events(np.array([2]), *windows(2), np.zeros((2, 4), np.float32), rules).to_table(["a.wav"], CLASSES)
    assert table.num_rows == 0 and table.column_names[0] == "path"


def test_events_are_in_the_order_of_their_start_then_of_the_classes():
    scores = np.float32([[0.1, 0, 0.9, 0], [0.9, 0, 0.1, 0], [0.9, 0, 0.1, 0], [0.1, 0, 0.1, 0], [0.9, 0, 0.9, 0]])
    counts = np.array([4, 1])
    start, end = np.array([0, 1, 2, 3, 0.0]), np.array([1, 2, 3, 4, 1.0])
    found = find_events(counts, start, end, scores, EventRules(CLASSES, (0.5,) * 4))
    table = found.to_table(["a.wav", "b.wav"], CLASSES)
    rows = [(row["path"], row["start_seconds"], row["label"]) for row in table.to_pylist()]
    assert rows == [("a.wav", 0, "owl"), ("a.wav", 1, "wren"), ("b.wav", 0, "wren"), ("b.wav", 0, "owl")]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"smooth": 0}, "--smooth is an odd number"),
        ({"smooth": 4}, "not 4"),
        ({"merge_gap_seconds": -1.0}, "--merge-gap"),
        ({"min_duration_seconds": math.nan}, "--min-duration"),
        ({"min_duration_seconds": math.inf}, "--min-duration"),
        ({"keep_threshold": 1.5}, "probability from 0 to 1"),
        ({"keep_threshold": 0.7}, "at most 0.6, the highest threshold, not 0.7"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(rules, said):
    with pytest.raises(UsageError, match=said):
        EventRules(CLASSES, (0.6, 0.3, math.inf, 0.5), **rules)


def test_a_class_whose_own_threshold_is_lower_than_the_one_that_keeps_has_no_other():
    rules = EventRules(CLASSES, (0.6, 0.6, 0.3, 0.6), keep_threshold=0.4)
    assert rules.limits(0) == (0.6, 0.4)
    assert rules.limits(2) == (0.3, 0.3)
    assert rules.limits(1)[0] > 1
