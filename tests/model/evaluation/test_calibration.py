import json

import numpy as np
import pytest

from model.evaluation.calibration import measure_calibration, measure_thresholds
from model.inference.calibration import UNCALIBRATED, Calibration
from tests.model.evaluation.guesses import guess

CLASSES = ["a", "b"]
GUESSES = guess(("a", "a", 0.9), ("a", "b", 0.6), ("b", "b", 0.7), ("c", "a", 0.95), ("b", "a", 0.8))


def test_thresholds_take_the_winners_of_all_classes_together():
    found = measure_thresholds(GUESSES, CLASSES, Calibration(1.0, {"a": 0.85, "b": 0.65}, 0.9))
    assert found == {
        "target_precision": 0.9, "precision": 2 / 3, "labelled": 3, "labelled_share": 0.6, "without_threshold": [],
    }  # fmt: skip


@pytest.mark.parametrize("own", [None, 0.99])
def test_where_nothing_is_labelled_there_is_no_precision(own):
    found = measure_thresholds(GUESSES, CLASSES, Calibration(1.0, dict.fromkeys(CLASSES, own), 0.9))
    assert (found["precision"], found["labelled"], found["labelled_share"]) == (None, 0, 0)
    assert found["without_threshold"] == ([] if own else CLASSES)


def test_without_thresholds_there_is_nothing_to_say():
    assert measure_thresholds(GUESSES, CLASSES, UNCALIBRATED) is None


def test_a_clip_of_a_class_that_the_network_lacks_is_a_sure_mistake():
    found = measure_calibration(GUESSES, CLASSES, 1.0)
    rows = [row for row in found["reliability"] if row["clips"]]
    assert [row["clips"] for row in rows] == [1, 1, 1, 1, 1]
    assert [row["accuracy"] for row in rows] == [0, 1, 0, 1, 0]
    distances = np.abs(np.array([0.6, 0.7, 0.8, 0.9, 0.95]) - [0, 1, 0, 1, 0])
    assert found["expected_calibration_error"] == pytest.approx(distances.mean(), abs=1e-6)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
