"""Runs side by side: how good each is on the same clips, and whether that is more than chance."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import UsageError
from features.runtime.log import LOG
from features.sources.partition import TRAINING
from features.sources.paths import csv_path
from model.evaluation.predictions import Predictions, measure, predict_rows
from model.evaluation.significance import paired_test
from model.evaluation.tested_rows import TestedRows, tested_rows
from model.inference.artifact import count_parameters
from model.inference.executor import load_executor
from model.training.division import divide
from model.training.partitions import warn_of_test
from model.training.run_folder import settings_of

_Clip = tuple[str, int | None]


@dataclass(frozen=True)
class _Tested:
    """A run and what its network predicts.

    Attributes:
        run: the run folder.
        opened: what it was tested on.
        predictions: of the rows, in their order.
        places: of each clip, by path and start, its row.
    """

    run: str
    opened: TestedRows
    predictions: Predictions
    places: dict[_Clip, int]


def compare(runs: Sequence[str], features: Sequence[str], test_on: tuple[str, ...]) -> dict[str, Any]:
    """Tests runs on the same clips, and each against the first.

    Args:
        runs: two run folders at least.
        features: a feature set for all runs, or one for each, as runs with different front ends take.
        test_on: partitions to test on.

    Returns:
        `runs`, the figures of each on the clips that all sets have; `tests`, of each but the first, how it stands
        against the first; and `clips`, `groups` and `tested_on`.

    Raises:
        UsageError: a run or a set cannot be used, they do not fit each other, or the sets share no clip.
        RunError: a shard is missing or damaged.
    """
    if len(runs) < 2:
        raise UsageError("a comparison takes two runs at least")
    if len(features) not in (1, len(runs)):
        raise UsageError(f"--features is given once, or once for each run in their order: {len(runs)} runs, but "
                         f"{len(features)} sets")  # fmt: skip
    sets = list(features) * len(runs) if len(features) == 1 else list(features)
    opened = [tested_rows(run, folder, test_on) for run, folder in zip(runs, sets, strict=True)]
    first = opened[0].description
    for run, one in zip(runs, opened, strict=True):
        others = sorted(set(one.description.classes) ^ set(first.classes))
        if others:
            raise UsageError(f"runs that are compared have the same classes, but one of {runs[0]} and {run} lacks "
                             f"{others[0]!r}")  # fmt: skip
    tested = [_predict(run, one, test_on) for run, one in zip(runs, opened, strict=True)]
    shared = _shared_clips(tested, sets)
    selected = [one.predictions.take([one.places[clip] for clip in shared]) for one in tested]
    _check_labels(selected, sets, first.classes)
    figures = [_figures(one, predictions) for one, predictions in zip(tested, selected, strict=True)]
    groups = np.unique(selected[0].groups, return_inverse=True)[1]
    correct = [one.correct(run.opened.description.classes) for one, run in zip(selected, tested, strict=True)]
    tests = [{"run": run, "against": runs[0], **asdict(paired_test(mine, correct[0], groups))}
             for run, mine in zip(runs[1:], correct[1:], strict=True)]  # fmt: skip
    return {
        "tested_on": list(test_on),
        "clips": len(shared),
        "groups": int(groups.max()) + 1,
        "runs": figures,
        "tests": tests,
    }


def _predict(run: str, tested: TestedRows, test_on: tuple[str, ...]) -> _Tested:
    rows = tested.rows
    settings = settings_of(Path(run), rows.manifest)
    if settings:
        warn_of_test(rows.manifest, settings, test_on)
    predictions = predict_rows(load_executor(run), rows)
    starts = rows.clips(["start"])["start"].to_pylist()
    starts += [None] * (len(predictions.paths) - len(starts))  # of windows of silence, which no clips table has
    places = {clip: row for row, clip in enumerate(zip(predictions.paths, starts, strict=True))}
    return _Tested(run, tested, predictions, places)


def _shared_clips(tested: Sequence[_Tested], sets: Sequence[str]) -> list[_Clip]:
    """Returns the clips that all sets have, in the order of the first one, and says how many are left out."""
    shared = [clip for clip in tested[0].places if all(clip in one.places for one in tested)]
    if not shared:
        raise UsageError(f"runs are compared on the same clips, but {' and '.join(dict.fromkeys(sets))} have none in "
                         "common by path and start; featurize the same source, by the same paths")  # fmt: skip
    for one in tested:
        left_out = len(one.places) - len(shared)
        if left_out:
            LOG.warning("warning: %d clips of %s are left out, since another run is not tested on them", left_out,
                        one.run)  # fmt: skip
    return shared


def _check_labels(selected: Sequence[Predictions], sets: Sequence[str], classes: list[str]) -> None:
    unknown = sorted(set(selected[0].true) - set(classes))
    if unknown:
        raise UsageError(f"runs are compared on clips of their classes, but {sets[0]} has the class {unknown[0]!r}, "
                         f"which they lack; they tell {', '.join(classes)} apart")  # fmt: skip
    for folder, one in zip(sets[1:], selected[1:], strict=True):
        for path, mine, theirs in zip(one.paths, one.true, selected[0].true, strict=True):
            if mine != theirs:
                raise UsageError(f"runs are compared on the same labels, but {csv_path(path)} is {theirs!r} in "
                                 f"{sets[0]} and {mine!r} in {folder}; featurize both from one source")  # fmt: skip


def _figures(one: _Tested, predictions: Predictions) -> dict[str, Any]:
    metrics = measure(predictions, one.opened.description.classes)
    return {
        "run": one.run,
        "network": one.opened.description.network_name,
        "parameters": count_parameters(one.run),
        "trained_on_clips": _trained_on(one),
        **{name: metrics[name] for name in ("accuracy", "interval_95", "correct", "loss", "macro_recall")},
        "network_sha256": one.opened.description.network_sha256,
    }


def _trained_on(one: _Tested) -> int | None:
    """Returns the number of clips that a run was trained on, None where its record or its feature set is not there."""
    labelled = one.opened.labelled
    settings = settings_of(Path(one.run), labelled.manifest)
    if settings is None:
        return None
    kept = divide(labelled.folder, labelled.manifest, settings).training
    return len(labelled.to_test_on(settings.rows.train_on, TRAINING, kept)[0])
