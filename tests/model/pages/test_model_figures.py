"""What a model page computes from predictions, against plain loops."""

import time

import numpy as np
import pytest

from model.evaluation.predictions import Predictions
from model.pages.clip_cards import choose_clips, to_check_first
from model.pages.model_figures import threshold_counts

CLASSES = ["a", "b", "c"]


def predictions_of(probabilities, true: list[str]) -> Predictions:
    paths = [f"{number:06d}.wav" for number in range(len(true))]
    table = np.asarray(probabilities, np.float32)
    return Predictions(paths, true, paths, table, table)


def random_predictions(clips: int, classes: list[str], seed: int, known: int | None = None) -> Predictions:
    generator = np.random.default_rng(seed)
    table = generator.dirichlet(np.full(known or len(classes), 0.3), clips).astype(np.float32)
    return predictions_of(table, [classes[number] for number in generator.integers(0, len(classes), clips)])


@pytest.mark.parametrize("steps", [10, 200, 1000])
def test_counts_at_each_threshold_are_those_of_a_loop(steps):
    """Of clips at, just below and just above thresholds too, equals, sure ones, and a class that the network lacks."""
    made = random_predictions(60, [*CLASSES, "unknown"], seed=1, known=3)
    half, below = np.float32(0.5), np.nextafter(np.float32(0.5), np.float32(0))
    edges = [[half, half, 0], [below, 1 - below, 0], [0.7, 0.3, 0], [np.float32(0.1), 0.1, 0.8], [1, 0, 0], [0, 0, 1],
             [1 / 3, 1 / 3, 1 / 3], [np.nextafter(np.float32(0.7), np.float32(1)), 0.3, 0]]  # fmt: skip
    table = np.concatenate([made.probabilities, np.array(edges, np.float32)])
    names = [*made.true, *(["a", "b"] * len(edges))[: len(edges)]]
    true = np.array([[*CLASSES, "unknown"].index(name) for name in names])
    found = threshold_counts(table, true, 4, steps)
    labelled = [(row.tolist().index(max(row)), float(max(row)), label) for row, label in zip(table, true, strict=True)]
    for step in range(steps + 1):
        for number in range(4):
            given = [label for one, sureness, label in labelled if one == number and sureness >= step / steps]
            right, alarms = given.count(number), len(given) - given.count(number)
            changes = [one for one in found[number] if one[0] <= step]
            assert changes[-1][1:] == [right, alarms], (step, number)
    assert all(one[0][0] == 0 for one in found)
    assert found[3] == [[0, 0, 0]]


def test_counts_of_many_clips_and_classes_stay_few():
    clips, classes = 100_000, 300
    generator = np.random.default_rng(0)
    table = generator.random((clips, classes), np.float32)
    true = generator.integers(0, classes, clips)
    started = time.process_time()
    found = threshold_counts(table, true, classes, 200)
    assert time.process_time() - started < 10
    assert sum(one[0][1] + one[0][2] for one in found) == clips
    assert sum(map(len, found)) <= classes * 201


def test_mistakes_come_first_and_of_all_those_whose_label_is_the_least_probable():
    made = random_predictions(300, CLASSES, seed=2)
    chosen = choose_clips(made, CLASSES, 20)
    right = made.correct(CLASSES)
    wrong_first = [number for number in chosen if not right[number]]
    assert chosen == wrong_first + [number for number in chosen if right[number]]
    assert len(set(chosen)) == len(chosen)
    of_label = [made.probabilities[number, CLASSES.index(label)] for number, label in enumerate(made.true)]
    assert wrong_first[:20] == sorted(np.flatnonzero(~right), key=lambda number: of_label[number])[:20]
    least = sorted(np.flatnonzero(right), key=lambda number: of_label[number])
    assert [number for number in chosen if right[number]][:4] == least[:4]


def test_a_label_that_the_network_lacks_is_looked_at_first():
    made = predictions_of(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), ["no", "no", "maybe"])
    assert to_check_first(made, ["yes", "no", "maybe"]) == [2, 0, 1]


def test_each_cell_has_a_clip_while_there_is_room():
    made = random_predictions(2_000, CLASSES, seed=3)
    true, predicted = made.class_ids(CLASSES), made.predicted

    def cells(numbers) -> set[tuple[int, int]]:
        return {(int(true[number]), int(predicted[number])) for number in numbers}

    assert len(cells(range(2_000))) == 9
    for most in (50, 500):
        assert cells(choose_clips(made, CLASSES, most)) == cells(range(2_000))
    assert len(choose_clips(made, CLASSES, 0)) == 1
    all_right = predictions_of(np.eye(3), CLASSES)
    assert choose_clips(all_right, CLASSES, 10) == [0, 1, 2]
