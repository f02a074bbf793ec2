"""Two models on the same clips: what the second gets right that the first does not, and the other way round."""

from dataclasses import asdict
from typing import Any

import numpy as np

from model.evaluation.predictions import accuracy
from model.evaluation.same_clips import Judged, check_classes, same_clips
from model.evaluation.significance import paired_test
from model.pages.tested_clips import TestedClips

_MOST_SHOWN = 100


def compare_models(first: TestedClips, second: TestedClips, runs: tuple[str, str]) -> dict[str, Any]:
    """Compares what two models predict for the clips that both were tested on.

    Args:
        first: the model of the page.
        second: the other one.
        runs: both, as they were given.

    Returns:
        `runs`, `clips`, `accuracies` of both, `test`, of the second against the first; and for `won` and `lost`, clips
        that the second alone gets right or wrong, how many there are, and of the first few, those that it is the
        surest about first, the number among the first model's clips, the second's label and its probability.

    Raises:
        UsageError: the models do not tell the same classes apart, or were tested on no clip in common.
    """
    check_classes(runs, [first.classes, second.classes])
    judged = [Judged(run, one.features, one.predictions, one.clips["start"].to_pylist())
              for run, one in zip(runs, (first, second), strict=True)]  # fmt: skip
    rows = same_clips(judged, first.classes)
    mine, other = (one.predictions.take(own) for one, own in zip((first, second), rows, strict=True))
    right, right_there = mine.correct(first.classes), other.correct(second.classes)
    groups = np.unique(mine.groups, return_inverse=True)[1]
    predicted, sureness = other.predicted, other.probabilities.max(axis=1)
    result: dict[str, Any] = {
        "runs": list(runs),
        "clips": len(rows[0]),
        "accuracies": [accuracy(mine, first.classes), accuracy(other, second.classes)],
        "test": asdict(paired_test(right_there, right, groups)),
    }
    for name, chosen in (("won", right_there & ~right), ("lost", right & ~right_there)):
        places = np.flatnonzero(chosen)
        shown = places[np.argsort(-sureness[places], kind="stable")][:_MOST_SHOWN].tolist()
        result[name] = {
            "clips": len(places),
            "shown": [
                [rows[0][place], second.classes[predicted[place]], round(float(sureness[place]), 6)] for place in shown
            ],
        }
    return result
