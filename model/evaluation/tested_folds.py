"""The folds of a cross-validation, and what the network of each, which never met its fold, predicts for it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from features.errors import UsageError
from features.runtime.invocation import command_line
from features.store.manifest import Manifest, load_manifest
from model.evaluation.predictions import Predictions, predict_rows
from model.evaluation.tested_rows import TestedRows, tested_rows
from model.inference.artifact import has_artifact
from model.inference.executor import load_executor
from model.training.division import divide
from model.training.run_folder import settings_of
from model.training.settings import Given, Settings

REQUEST = "request.json"
"""What makes a cross-validation what it is: `settings`, and the rows of each of `folds`."""


@dataclass(frozen=True)
class Fold:
    """What is tested, and how a training leaves it out.

    Attributes:
        name: of the fold and of its run folder.
        rows: the settings by which a training leaves it out.
        tested: the partition that it is; None for the split that `rows` leaves out.
    """

    name: str
    rows: Given
    tested: str | None = None


@dataclass(frozen=True)
class TestedFold:
    """A fold, and what its network predicts for it.

    Attributes:
        name: of the fold.
        run: run folder of its network.
        tested: what it was tested on.
        predictions: of those rows, in their order.
    """

    name: str
    run: str
    tested: TestedRows
    predictions: Predictions


def is_cross_validation(folder: str) -> bool:
    """Returns whether a folder is that of a cross-validation."""
    return (Path(folder) / REQUEST).is_file()


def begun_folds(folder: str) -> list[Fold]:
    """Returns the folds that a cross-validation was begun with; raises `UsageError` where its record is damaged."""
    path = Path(folder) / REQUEST
    try:
        folds = json.loads(path.read_text(encoding="utf-8"))["folds"]
        return [Fold(name, rows, None if "splits" in rows else name) for name, rows in folds.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is damaged: {error!r}; cross-validate anew into a new folder") from error


def ended_folds(folder: str) -> list[Fold]:
    """Returns the folds of a cross-validation; raises `UsageError` where the training of one has not ended."""
    folds = begun_folds(folder)
    missing = [fold.name for fold in folds if not has_artifact(Path(folder) / fold.name)]
    if missing:
        raise UsageError(f"the cross-validation {folder} did not end: {len(missing)} of its {len(folds)} folds have no "
                         f"network yet ({', '.join(missing)}); run {command_line('model.crossvalidate')} again with "
                         "the options that it was begun with, which trains what is missing")  # fmt: skip
    return folds


def predict_folds(folder: str, features: str) -> Iterator[TestedFold]:
    """Yields each fold of a cross-validation with what its network predicts for it.

    Args:
        folder: of a cross-validation, all of whose trainings have ended.
        features: the feature set that they were made on, with the same rows.

    Raises:
        UsageError: a training is missing or did not end, or the set has other rows than it was made on.
        RunError: a shard is missing or damaged.
    """
    manifest = load_manifest(features)
    for fold in ended_folds(folder):
        run = Path(folder) / fold.name
        settings = settings_of(run, manifest)
        if settings is None:
            raise UsageError(f"{run} was trained on other rows than {features} has now, and may have met the clips "
                             "that it would judge; cross-validate anew into a new folder")  # fmt: skip
        yield predict_fold(features, manifest, settings, fold, run)


def predict_fold(features: str, manifest: Manifest, settings: Settings, fold: Fold, run: Path) -> TestedFold:
    """Returns what a fold's network predicts for the fold.

    Args:
        features: the feature set.
        manifest: its state.
        settings: of the fold's training.
        fold: which.
        run: run folder of the training, which has ended.

    Raises:
        UsageError: the run cannot be used.
        RunError: a shard is missing or damaged.
    """
    left_out = None if fold.tested else divide(features, manifest, settings).left_out
    tested_on = (fold.tested,) if fold.tested else settings.rows.train_on
    tested = tested_rows(str(run), features, tested_on, left_out)
    return TestedFold(fold.name, str(run), tested, predict_rows(load_executor(str(run)), tested.rows))
