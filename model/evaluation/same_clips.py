"""The clips that several runs are tested on, found by path and start, so that runs are compared on the same ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from features.errors import UsageError
from features.runtime.log import LOG
from features.sources.paths import csv_path
from model.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Judged:
    """What a run predicts for some clips.

    Attributes:
        run: the run, as messages name it.
        features: the feature set of the clips.
        predictions: of the clips.
        starts: first frame of each clip in its file; None for a window of `_silence_`.
    """

    run: str
    features: str
    predictions: Predictions
    starts: Sequence[int | None]


def check_classes(runs: Sequence[str], classes: Sequence[Sequence[str]]) -> None:
    """Raises `UsageError` where runs, each with its classes, do not tell the same ones apart."""
    for run, own in zip(runs, classes, strict=True):
        others = sorted(set(own) ^ set(classes[0]))
        if others:
            raise UsageError(f"runs that are compared have the same classes, but one of {runs[0]} and {run} lacks "
                             f"{others[0]!r}")  # fmt: skip


def same_clips(judged: Sequence[Judged], classes: Sequence[str]) -> list[list[int]]:
    """Returns of each run the rows of the clips that all runs are tested on, in the order of the first one.

    What is left out is said in a warning.

    Args:
        judged: two at least.
        classes: of the runs.

    Raises:
        UsageError: there is no such clip, or one with different labels, or with a label that is no class.
    """
    places = [{clip: row for row, clip in enumerate(zip(one.predictions.paths, one.starts, strict=True))}
              for one in judged]  # fmt: skip
    shared = [clip for clip in places[0] if all(clip in one for one in places)]
    if not shared:
        sets = dict.fromkeys(one.features for one in judged)
        raise UsageError(f"runs are compared on the same clips, but {' and '.join(sets)} have none in common by path "
                         "and start; featurize the same source, by the same paths")  # fmt: skip
    for one in judged:
        left_out = len(one.starts) - len(shared)
        if left_out:
            LOG.warning("warning: %d clips of %s are left out, since another run is not tested on them", left_out,
                        one.run)  # fmt: skip
    rows = [[one[clip] for clip in shared] for one in places]
    _check_labels(judged, rows, classes)
    return rows


def _check_labels(judged: Sequence[Judged], rows: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
    first, true = judged[0], judged[0].predictions.true
    unknown = sorted({true[row] for row in rows[0]} - set(classes))
    if unknown:
        raise UsageError(f"runs are compared on clips of their classes, but {first.features} has the class "
                         f"{unknown[0]!r}, which they lack; they tell {', '.join(classes)} apart")  # fmt: skip
    for one, own in zip(judged[1:], rows[1:], strict=True):
        for mine, theirs in zip(own, rows[0], strict=True):
            label, other = one.predictions.true[mine], true[theirs]
            if label != other:
                path = csv_path(first.predictions.paths[theirs])
                raise UsageError(f"runs are compared on the same labels, but {path}"
                                 f" is {other!r} in {first.features} and {label!r} in {one.features}; featurize both "
                                 "from one source")  # fmt: skip
