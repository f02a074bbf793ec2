"""Trains and tests a network fold by fold: each clip is tested once, by a network that never met its fold."""

import json
import os
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from features.errors import UsageError
from features.io.atomic import PARTIAL_SUFFIX, write_file
from features.io.csv_text import csv_lines
from features.runtime.log import LOG
from features.store.locks import CLAIM, claim
from features.store.manifest import Manifest, load_manifest
from model.evaluation.evaluation_folder import prediction_rows, write_confusion
from model.evaluation.predictions import Predictions, join_predictions, measure
from model.evaluation.tested_folds import REQUEST, Fold, predict_fold
from model.training.partitions import validation_partitions
from model.training.plan import plan_training
from model.training.section import option, shown
from model.training.settings import Given, Settings
from model.training.splits import count_groups, split_rows
from model.training.trainer import train

FIGURES = "crossvalidation.json"
_FILES = (FIGURES, REQUEST, "predictions.csv", "confusion.csv", "confusion.png")
_FOLD = re.compile(r"fold-[0-9]+")


def partition_folds(features: str, names: Sequence[str] = ()) -> list[Fold]:
    """Returns the folds that partitions of a feature set are.

    Args:
        features: a feature set.
        names: of the partitions; none for all that are folds of a table.

    Raises:
        UsageError: there are fewer than two, one is not there or empty, or the clips of a class are all in one.
    """
    manifest = load_manifest(features)
    chosen = tuple(names) or tuple(name for name in manifest.partitions if _FOLD.fullmatch(name))
    if len(chosen) < 2:
        there = ", ".join(manifest.partitions)
        raise UsageError(f"cross-validation takes two folds at least, but {features} has the partitions {there}; name "
                         "some with --folds, or divide the clips with --splits")  # fmt: skip
    for name in chosen:
        if not manifest.rows([name]):
            raise UsageError(
                f"there is nothing to test on in {name} of {features}, it is empty; leave it out of --folds"
            )
    for label, by_partition in manifest.counts["classes"].items():
        inside = [name for name in chosen if by_partition.get(name)]
        if len(inside) == 1:
            raise UsageError(f"all clips of {label!r} are in {inside[0]} of {features}, so nothing is left to learn "
                             "them from; divide the clips with --splits")  # fmt: skip
    return [Fold(name, {"train_on": tuple(one for one in chosen if one != name)}, name) for name in chosen]


def split_folds(features: str, partitions: Sequence[str] = (), splits: int | None = None, seed: int = 0) -> list[Fold]:
    """Returns folds that clips are divided into, group by group; see `model.training.splits`.

    Args:
        features: a feature set.
        partitions: whose clips are divided; none for all.
        splits: number of folds; None for as many as there are groups, each of which is a fold then.
        seed: of the division.

    Raises:
        UsageError: a partition is not there, there are fewer groups than folds, or a class would be in one alone.
    """
    manifest = load_manifest(features)
    divided = tuple(partitions) or tuple(name for name in manifest.partitions if manifest.rows([name]))
    number = count_groups(features, manifest, divided) if splits is None else splits
    if number < 2:
        raise UsageError(f"cross-validation takes two splits at least, not {number}")
    split_rows(features, manifest, divided, number, seed)  # what cannot be divided is refused here
    shared = {"train_on": divided, "splits": number, "split_seed": seed}
    return [Fold(f"fold-{place}", {**shared, "left_out": place}) for place in range(1, number + 1)]


def cross_validate(
    features: str,
    output: str,
    folds: Sequence[Fold],
    given: Given,
    keep_in_memory: str = "auto",
    noise: str | None = None,
) -> dict[str, Any]:
    """Trains and tests a network for each fold, and leaves a folder with their runs and what they say together.

    A fold whose run has ended is not trained again, and one that was interrupted goes on after its last whole epoch.

    Args:
        features: a feature set.
        output: the folder, new or of an earlier run of this cross-validation.
        folds: as `partition_folds` or `split_folds` returns them.
        given: settings by their names, but those that the folds have.
        keep_in_memory: `on`, `off`, or `auto` for where the set fits.
        noise: folder of recordings of background noise; None for that of the source.

    Returns:
        The content of crossvalidation.json.

    Raises:
        UsageError: the features cannot be trained on, or the output holds something else, or was begun otherwise.
        RunError: a shard is missing or damaged, or a training diverged.
    """
    started = time.monotonic()
    folder, manifest = Path(output), load_manifest(features)
    settings = [plan_training(features, manifest, {**given, **fold.rows}, noise).settings for fold in folds]
    for fold, own in zip(folds, settings, strict=True):
        if fold.tested in validation_partitions(manifest, own):
            raise UsageError(f"no fold is tested by a training that was validated on it, as {fold.tested} would be: "
                             f"leave {fold.tested} out of --folds, divide the clips with --splits, or give "
                             "--validate-on none")  # fmt: skip
    request = _request(folds, given, noise)
    _check_output(folder, folds, request)
    with claim(folder, "cross-validation", output):
        write_file(folder / REQUEST, json.dumps(request, indent=1, ensure_ascii=False) + "\n")
        figures, parts = [], []
        for fold, own in zip(folds, settings, strict=True):
            LOG.info("%s of %s", fold.name, ", ".join(one.name for one in folds))
            run = folder / fold.name
            trained = train(features, str(run), {**given, **fold.rows}, keep_in_memory, run.exists(), noise)
            predictions, classes, tested = _test(features, manifest, own, fold, run)
            parts.append(predictions)
            figures.append({"fold": fold.name, **tested, **_of_training(trained)})
            LOG.info("%s: accuracy %.4f on %d clips", fold.name, tested["accuracy"], tested["clips"])
        together = {**_summary(figures, parts, classes), "request": request}
        together["seconds"] = time.monotonic() - started
        write_confusion(folder, together)
        names = [name["fold"] for name, part in zip(figures, parts, strict=True) for _ in part.paths]
        lines = prediction_rows(join_predictions(parts), classes, ("fold", names))
        write_file(folder / "predictions.csv", csv_lines(lines))
        write_file(folder / FIGURES, json.dumps(together, indent=1, ensure_ascii=False) + "\n")
    return together


def _test(
    features: str, manifest: Manifest, settings: Settings, fold: Fold, run: Path
) -> tuple[Predictions, list[str], dict[str, Any]]:
    """Returns what a fold's network predicts for the fold, its classes, and the figures of that."""
    judged = predict_fold(features, manifest, settings, fold, run)
    tested, predictions = judged.tested, judged.predictions
    classes = tested.description.classes
    metrics = measure(predictions, classes)
    groups = sorted(set(tested.rows.clips(["group"])["group"].to_pylist()))
    shown = {name: metrics[name] for name in ("accuracy", "correct", "clips", "loss", "macro_recall")}
    figures = {**shown, "groups": len(groups), "group": groups[0] if len(groups) == 1 else None}
    return predictions, classes, figures


def _of_training(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        "trained_on_clips": figures["clips"],
        "validation_clips": figures["validation_clips"],
        **{name: figures[name] for name in ("epochs", "best_epoch", "training_seconds", "network", "parameters")},
    }


def _summary(figures: list[dict[str, Any]], parts: list[Predictions], classes: list[str]) -> dict[str, Any]:
    accuracies = [fold["accuracy"] for fold in figures]
    return {
        "network": figures[0]["network"],
        "parameters": figures[0]["parameters"],
        "folds": figures,
        "mean_accuracy": statistics.mean(accuracies),
        "standard_deviation": statistics.stdev(accuracies),
        "training_seconds": sum(fold["training_seconds"] for fold in figures),
        **measure(join_predictions(parts), classes),
    }


def _request(folds: Sequence[Fold], given: Given, noise: str | None) -> dict[str, Any]:
    """Returns what makes a cross-validation what it is, as JSON gives it back."""
    named = {"noise": os.path.abspath(noise)} if noise else {}
    content = {"settings": {**given, **named}, "folds": {fold.name: dict(fold.rows) for fold in folds}}
    request: dict[str, Any] = json.loads(json.dumps(content))
    return request


def _check_output(folder: Path, folds: Sequence[Fold], request: dict[str, Any]) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; the output of a cross-validation is a folder")
    there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    path = folder / REQUEST
    if path.is_file():
        try:
            begun = json.loads(path.read_text(encoding="utf-8"))
            earlier, mine = begun["settings"], request["settings"]
            differ = sorted(name for name in {*earlier, *mine} if earlier.get(name) != mine.get(name))
            same_folds = begun["folds"] == request["folds"]
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise UsageError(f"{path} is damaged: {error!r}; give another --output") from error
        if differ:
            raise UsageError(f"{folder} was begun with {_given(differ[0], earlier)}, not {_given(differ[0], mine)}; "
                             "give the same settings, or another --output")  # fmt: skip
        if not same_folds:
            raise UsageError(f"{folder} was begun with other folds; divide the clips as then, or give another --output")
    known = {*_FILES, CLAIM, *(fold.name for fold in folds if path.is_file())}
    foreign = [name for name in there if name not in known and not name.endswith(PARTIAL_SUFFIX)]
    if foreign:
        raise UsageError(
            f"{folder} is not of a cross-validation (it holds {foreign[0]}); give a new or an empty folder"
        )


def _given(name: str, settings: dict[str, Any]) -> str:
    if name not in settings:
        return f"{option(name)} as it is by default"
    value = settings[name]
    return f"{option(name)} {shown(tuple(value) if isinstance(value, list) else value)}"
