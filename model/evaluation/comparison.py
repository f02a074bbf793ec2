"""Runs side by side: how good each is on the same clips, and whether that is more than chance."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import UsageError
from features.sources.partition import TRAINING
from model.evaluation.predictions import Predictions, measure, predict_rows
from model.evaluation.same_clips import Judged, check_classes, same_clips
from model.evaluation.significance import paired_test
from model.evaluation.tested_rows import TestedRows, tested_rows
from model.inference.artifact import count_parameters
from model.inference.executor import load_executor
from model.training.division import divide
from model.training.partitions import warn_of_test
from model.training.run_folder import settings_of


@dataclass(frozen=True)
class _Tested:
    """A run and what its network predicts.

    Attributes:
        run: the run folder.
        opened: what it was tested on.
        predictions: of the rows, in their order.
    """

    run: str
    opened: TestedRows
    predictions: Predictions


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
    check_classes(runs, [one.description.classes for one in opened])
    tested = [_predict(run, one, test_on) for run, one in zip(runs, opened, strict=True)]
    judged = [Judged(one.run, folder, one.predictions, _starts(one)) for one, folder in zip(tested, sets, strict=True)]
    shared = same_clips(judged, opened[0].description.classes)
    selected = [one.predictions.take(rows) for one, rows in zip(tested, shared, strict=True)]
    figures = [_figures(one, predictions) for one, predictions in zip(tested, selected, strict=True)]
    groups = np.unique(selected[0].groups, return_inverse=True)[1]
    correct = [one.correct(run.opened.description.classes) for one, run in zip(selected, tested, strict=True)]
    tests = [{"run": run, "against": runs[0], **asdict(paired_test(mine, correct[0], groups))}
             for run, mine in zip(runs[1:], correct[1:], strict=True)]  # fmt: skip
    return {
        "tested_on": list(test_on),
        "clips": len(shared[0]),
        "groups": int(groups.max()) + 1,
        "runs": figures,
        "tests": tests,
    }


def _predict(run: str, tested: TestedRows, test_on: tuple[str, ...]) -> _Tested:
    rows = tested.rows
    settings = settings_of(Path(run), rows.manifest)
    if settings:
        warn_of_test(rows.manifest, settings, test_on)
    return _Tested(run, tested, predict_rows(load_executor(run), rows))


def _starts(one: _Tested) -> list[int | None]:
    starts: list[int | None] = one.opened.rows.clips(["start"])["start"].to_pylist()
    # Windows of silence come after all others, and are in no clips table.
    return starts + [None] * (len(one.predictions.paths) - len(starts))


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
