"""How often the labels that a network gives are right, by those that a person has checked."""

from collections import Counter
from typing import Any

from features.errors import UsageError
from features.sources.labels import near_labels
from features.sources.review import Judgement, read_review
from model.evaluation.metrics import wilson_interval
from model.inference.artifact import read_description


def measure_review(run: str, path: str) -> dict[str, Any]:
    """Counts which of the labels that were judged are right.

    Args:
        run: a run folder.
        path: of the review, see `features.sources.review.read_review`.

    Returns:
        `review`, the file; `judged`, `right` and `recordings`, how many there are; `classes`, by label in the order of
        the network's outputs how many were `judged`, how many of them are `right`, that share as `precision` and its
        `interval_95` (Wilson); and `not_judged`, the labels of which no row is.

    Raises:
        UsageError: the run or the review cannot be used, a label that was judged is no class of the run, a row
            contradicts another one, or there is no row.
    """
    classes = read_description(run).classes
    judgements = _judged_once(read_review(path).judgements)
    if not judgements:
        raise UsageError(f"{path} has no row: nothing was judged")
    for one in judgements:
        if one.label not in classes:
            near = near_labels(one.label, classes)
            raise UsageError(f"{one.where}: {one.label!r} was judged, which is no class of {run}; {near}; give the run "
                             "whose labels were judged as --model, or leave the line out")  # fmt: skip
    judged = Counter(one.label for one in judgements)
    right = Counter(one.label for one in judgements if one.is_right)
    return {
        "review": path,
        "judged": len(judgements),
        "right": right.total(),
        "recordings": len({one.path for one in judgements}),
        "classes": {
            label: {
                "judged": judged[label],
                "right": right[label],
                "precision": right[label] / judged[label],
                "interval_95": list(wilson_interval(right[label], judged[label])),
            }
            for label in classes
            if judged[label]
        },
        "not_judged": [label for label in classes if not judged[label]],
    }


def _judged_once(judgements: list[Judgement]) -> list[Judgement]:
    """Returns the judgements, each label of a part of a recording once; raises `UsageError` where two disagree."""
    firsts: dict[tuple[str, str], Judgement] = {}
    for one in judgements:
        first = firsts.setdefault((one.part, one.label), one)
        if first.is_right != one.is_right:
            first.refuse(one)
    return list(firsts.values())
