import json

from model.evaluation.predictions import measure
from tests.model.evaluation.guesses import guess


def test_metrics_of_clips_that_are_all_of_unknown_classes():
    metrics = measure(guess(("c", "a", 0.9), ("d", "b", 0.9)), ["a", "b"])
    assert metrics["accuracy"] == metrics["macro_recall"] == 0
    assert metrics["unknown_classes"] == {"c": 1, "d": 1}
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
