"""The figures of a model page, ready for JSON: exact counts, from which the page computes what a threshold changes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.evaluation.calibration import measure_calibration
from model.evaluation.groups import GroupScores
from model.evaluation.metrics import confusion_matrix
from model.evaluation.predictions import group_scores, measure
from model.pages.tested_clips import TestedClips

_STEPS, _STEPS_OF_MANY = 1_000, 200
# With more classes than this, thresholds are farther apart.
_MANY_CLASSES = 100
_WORST_GROUPS = 20


def measured(clips: TestedClips) -> dict[str, Any]:
    """Returns accuracy with its intervals, the figures of each class, groups, reliability and the confusion matrix."""
    classes, predictions = clips.classes, clips.predictions
    metrics = measure(predictions, classes)
    groups = group_scores(predictions, classes)
    by_class = metrics.pop("classes")
    metrics.pop("confusion")
    temperatures = [part.tested.description.calibration.temperature for part in clips.parts]
    calibration = measure_calibration(predictions, classes, temperatures[0])
    calibration["temperature"] = temperatures if len(temperatures) > 1 else temperatures[0]
    return {
        **metrics,
        "tested_on": list(clips.tested_on),
        "clips_trained_on": clips.count_seen(),
        "classes": [{"label": label, **scores} for label, scores in by_class.items()],
        "worst_groups": _worst(groups, predictions.paths),
        "calibration": calibration,
        "confusion": sparse_confusion(clips),
    }


def sparse_confusion(clips: TestedClips) -> list[list[int]]:
    """Returns the cells of the confusion matrix that hold clips: number of the true class, of the predicted, clips."""
    size = len(clips.all_classes)
    matrix = confusion_matrix(clips.true_ids(), clips.predictions.predicted, size)
    return [[int(row), int(column), int(matrix[row, column])] for row, column in np.argwhere(matrix)]


def threshold_counts(
    probabilities: NDArray[np.float32], true: NDArray[np.int64], num_classes: int, steps: int
) -> list[list[list[int]]]:
    """Counts what each class is right and wrong about from each threshold on.

    A clip gets the class of its largest probability, the first of equals, where that reaches the threshold, as
    `score --threshold` gives labels.

    Args:
        probabilities: of shape (clips, classes of the network).
        true: number of each clip's true class, (clips,); classes that the network lacks have numbers behind its own.
        num_classes: with those that it lacks.
        steps: thresholds are 0, 1 / steps, ..., 1.

    Returns:
        Of each class the thresholds at which its counts change, with the counts from there to the next: number of the
        step, clips that get the class and have it, and clips that get it and do not have it.
    """
    thresholds = np.arange(steps + 1) / steps
    given = probabilities.argmax(axis=1)
    highest = probabilities.max(axis=1).astype(np.float64)
    # The last threshold that a clip reaches; 0 is reached by all.
    reached = np.searchsorted(thresholds, highest, side="right") - 1
    result = []
    for number in range(num_classes):
        mine = given == number
        right = mine & (true == number)
        counts = [np.bincount(reached[some], minlength=steps + 1)[::-1].cumsum()[::-1] for some in (right, mine)]
        hits, alarms = counts[0], counts[1] - counts[0]
        changes = np.flatnonzero((np.diff(hits, prepend=-1) != 0) | (np.diff(alarms, prepend=-1) != 0))
        result.append(np.stack([changes, hits[changes], alarms[changes]], axis=1).tolist())
    return result


def thresholds(clips: TestedClips) -> dict[str, Any]:
    """Returns the counts of all classes by threshold, and at the thresholds that the training fitted, where it did."""
    classes = clips.all_classes
    steps = _STEPS if len(classes) <= _MANY_CLASSES else _STEPS_OF_MANY
    counts = threshold_counts(clips.predictions.probabilities, clips.true_ids(), len(classes), steps)
    calibration = clips.parts[0].tested.description.calibration
    fitted = None
    if len(clips.parts) == 1 and calibration.thresholds is not None:  # networks of folds have thresholds of their own
        fitted = [_at_fitted(clips, number, calibration.thresholds.get(label)) for number, label in enumerate(classes)]
    return {"steps": steps, "counts": counts, "fitted": fitted, "target_precision": calibration.target_precision}


def _at_fitted(clips: TestedClips, number: int, threshold: float | None) -> list[float | int] | None:
    """Returns a threshold of a class, and the right and wrong clips that get its label there; None without one."""
    if threshold is None:
        return None
    predictions = clips.predictions
    given = (predictions.predicted == number) & (predictions.probabilities.max(axis=1).astype(np.float64) >= threshold)
    right = int((given & (clips.true_ids() == number)).sum())
    return [threshold, right, int(given.sum()) - right]


def _worst(groups: GroupScores, paths: Sequence[str]) -> dict[str, Any] | None:
    """Returns the groups with the most mistakes; None where each clip is a group of its own."""
    if len(groups.names) == len(paths):
        return None
    wrong = groups.clips - groups.correct
    order = sorted(range(len(wrong)), key=lambda place: (-wrong[place], groups.accuracy[place], place))[:_WORST_GROUPS]
    rows = [[groups.names[place], int(groups.clips[place]), int(groups.correct[place])]
            for place in order if wrong[place]]  # fmt: skip
    return {"rows": rows, "quartiles": groups.spread()["quartiles"]}
