"""A search for settings: trials of Optuna that are trainings, in a study that goes on where it stopped."""

import contextlib
import json
import os
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import RunError, UsageError
from features.frontend.spec import FeatureSpec
from features.io.atomic import write_file
from features.io.csv_text import csv_lines
from features.runtime.log import LOG
from features.store.locks import CLAIM, claim
from features.store.manifest import load_manifest
from model.training.history import EachEpoch
from model.training.plan import Plan, plan_training, uses_noise
from model.training.recipes import choose_settings
from model.training.run_folder import RECIPE, DivergedError
from model.training.section import option
from model.training.settings import Given, Settings, is_whole
from model.training.trainer import train
from model.tuning.ranges import Choices, Range, Ranges, default_ranges, ranges_toml, read_ranges

if TYPE_CHECKING:
    import optuna

STUDY, PICTURE, TRIALS, SEARCH = "study.db", "importances.png", "trials.csv", "search.toml"
_REQUEST, _RUN = "request", "run"
# Trials that end before any other is stopped, and the share of a trial's epochs before it can be.
_FIRST_TRIALS, _FIRST_EPOCHS = 5, 0.3
# Of fewer trials that ended, importances are chance.
_LEAST_FOR_IMPORTANCES = 10


def tune(
    features: str,
    output: str,
    trials: int,
    given: Given,
    search: str | None = None,
    keep_in_memory: str = "auto",
    noise: str | None = None,
    recipe: Given | None = None,
) -> dict[str, Any]:
    """Searches for settings, and leaves the best as a recipe.

    What is sought is the largest accuracy on the validation clips, at the best epoch of each trial: losses
    of trials with another label smoothing cannot be compared. A trial whose accuracy is below the median of the others
    at the same epoch is stopped.

    Args:
        features: a feature set.
        output: the folder of the study, new or one that goes on.
        trials: of the study, those of an earlier run among them.
        given: settings by their names that all trials have.
        search: a file of ranges, see `model.tuning.ranges`; None for those of the network.
        keep_in_memory: `on`, `off`, or `auto` for where the set fits.
        noise: folder of recordings of background noise; None for that of the source.
        recipe: settings of a recipe file, before which those that are given and those that are searched stand.

    Returns:
        The figures of the study.

    Raises:
        UsageError: Optuna is not installed, the features cannot be trained on, a range has values that no training
            has, or the study was begun otherwise.
        RunError: a shard is missing or damaged, or every trial diverged.
    """
    if not find_spec("optuna"):
        raise UsageError("tuning takes a package that is not installed: pip install 'soundmill[tune]'")
    if trials < 1:
        raise UsageError(f"--trials is at least 1, not {trials}")
    started = time.monotonic()
    folder, manifest = Path(output), load_manifest(features)
    settings = choose_settings(manifest.spec, {**(recipe or {}), **given})
    ranges = read_ranges(search) if search else _ranges_here(settings, manifest.spec, given)
    for name in ranges:
        if name in given:
            raise UsageError(f"{option(name)} is either given or searched, not both; leave it out of one")
    given = {name: value for name, value in {**(recipe or {}), **given}.items() if name not in ranges}

    def noise_for(values: Given) -> str | None:
        # A trial that draws no noise does not take the folder, which a training that would not use it refuses.
        chosen = choose_settings(manifest.spec, {**given, **values})
        return noise if uses_noise(chosen) or "noise_probability" not in ranges else None

    _check(lambda value: plan_training(features, manifest, {**given, **value}, noise_for(value)), ranges)
    named = {"noise": os.path.abspath(noise)} if noise else {}
    shared = {**given, **named}
    clips = manifest.clips_file or [part.file for part in manifest.clips_tables]
    request = {"settings": shared, "search": ranges_toml(ranges), "clips": clips}
    with claim(folder, "tuning", output), _storing(folder / STUDY):
        study = _open(folder, json.loads(json.dumps(request)))
        write_file(folder / SEARCH, ranges_toml(ranges))
        _begin_unfinished_again(study)
        while len(_ended(study)) < trials:
            # A sampler of its own for each trial: what is tried follows from the seed and the trials before it alone.
            study.sampler = _sampler(settings.seed + len(study.trials))
            trial = study.ask()
            values = {name: _suggest(trial, name, one) for name, one in ranges.items()}
            run = folder / trial.user_attrs.get(_RUN, f"trial-{trial.number:04d}")
            trial.set_user_attr(_RUN, run.name)
            shown = ", ".join(f"{option(name)} {value}" for name, value in values.items())
            LOG.info("%s of %d: %s", run.name, trials, shown)
            epochs = choose_settings(manifest.spec, {**given, **values}).schedule.epochs
            watch = EachEpoch(_Pruner(trial, epochs))
            try:
                chosen, resume = {**given, **values}, run.exists()
                figures = train(features, str(run), chosen, keep_in_memory, resume, noise_for(values), watch)
            except DivergedError as error:
                LOG.warning("warning: %s: %s", run.name, error)
                _end(study, trial, None)
            except StoppedEarly:
                LOG.info("%s is stopped: at this epoch others are better", run.name)
                _end(study, trial, None)
            else:
                _end(study, trial, figures["accuracy"])
        return {**_finish(folder, study, ranges), "seconds": time.monotonic() - started}


class StoppedEarly(Exception):  # noqa: N818 - not an error
    """A trial that is not worth more epochs."""


class _Pruner:
    """Stops a trial whose accuracy is below the median of the others at the same epoch."""

    def __init__(self, trial: "optuna.Trial", epochs: int) -> None:
        import optuna

        self._trial = trial
        self._pruner = optuna.pruners.MedianPruner(_FIRST_TRIALS, round(_FIRST_EPOCHS * epochs))

    def __call__(self, row: Mapping[str, float]) -> None:
        """Takes the row of an epoch that has ended; raises `StoppedEarly`."""
        epoch = int(row["epoch"])
        self._trial.report(row["val_accuracy"], epoch)
        study = self._trial.study
        study.pruner = self._pruner
        if self._trial.should_prune():
            raise StoppedEarly


def _ranges_here(settings: Settings, spec: FeatureSpec, given: Given) -> Ranges:
    """Returns what is searched by default of what is not given and can be with these features."""
    from model.training.augment import impossible  # which loads the front end

    by_default = default_ranges(settings.network)
    if not by_default:
        raise UsageError(
            f"{settings.network} chooses its L2 penalty by itself in each training, and nothing else is searched by "
            "default; name settings with --search, or another network with --network"
        )
    ranges = {name: one for name, one in by_default.items() if name not in given}
    cannot_be = impossible(settings.with_given({name: one.ends[1] for name, one in ranges.items()}), spec, True)
    ranges = {name: one for name, one in ranges.items() if name not in cannot_be}
    if not ranges:
        raise UsageError("nothing is left to search, as all that is searched by default is given; name other settings "
                         "with --search")  # fmt: skip
    return ranges


def _check(plan: Callable[[Given], Plan], ranges: Ranges) -> None:
    """Raises `UsageError` for settings with which no trial could train."""
    for name, one in ranges.items():
        for value in one.ends:
            if plan({name: value}).settings.rows.validate_on == ():
                raise UsageError("a search takes clips to validate on, not --validate-on none")


def _open(folder: Path, request: dict[str, Any]) -> "optuna.Study":
    """Opens the study of a folder, or begins one; raises `UsageError` where it was begun otherwise."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    is_new = not (folder / STUDY).exists()
    foreign = sorted(path.name for path in folder.iterdir() if path.name != CLAIM)
    if is_new and foreign:
        raise UsageError(f"{folder} is not the folder of a search (it holds {foreign[0]}); give a new or an empty one")
    study = optuna.create_study(
        storage=f"sqlite:///{(folder / STUDY).absolute()}", study_name="soundmill", direction="maximize",
        load_if_exists=True,
    )  # fmt: skip
    begun = study.user_attrs.get(_REQUEST)
    if begun is None:
        study.set_user_attr(_REQUEST, request)
    elif begun != request:
        different = next(name for name in request if begun.get(name) != request[name])
        raise UsageError(f"{folder} was begun with other {different}, {begun.get(different)}, not "
                         f"{request[different]}; give another --output")  # fmt: skip
    return study


@contextlib.contextmanager
def _storing(study: Path) -> Iterator[None]:
    """Raises `RunError` in place of what Optuna and its database raise where the file cannot be written."""
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if not isinstance(cause, sqlite3.Error):
            raise
        raise RunError(
            f"cannot write {study}: {cause}; make room there and run it again, trials that ended are kept"
        ) from error


def _begin_unfinished_again(study: "optuna.Study") -> None:
    """Has trials that were interrupted tried again, with their values and in their run folders."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)


def _sampler(seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    return optuna.samplers.TPESampler(seed=seed)


def _suggest(trial: "optuna.Trial", name: str, one: Range | Choices) -> Any:
    if isinstance(one, Choices):
        return trial.suggest_categorical(name, one.values)
    if isinstance(one.low, int) and isinstance(one.high, int) and is_whole(name):
        return trial.suggest_int(name, one.low, one.high, log=one.log)
    return trial.suggest_float(name, one.low, one.high, log=one.log)


def _end(study: "optuna.Study", trial: "optuna.Trial", accuracy: float | None) -> None:
    from optuna.trial import TrialState

    if accuracy is None:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, accuracy)


def _ended(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    from optuna.trial import TrialState

    return list(study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)))


def _finish(folder: Path, study: "optuna.Study", ranges: Ranges) -> dict[str, Any]:
    """Writes what the study has found, and returns its figures."""
    ended = _ended(study)
    complete = [trial for trial in ended if trial.value is not None and trial.state.name == "COMPLETE"]
    lines = [
        (trial.user_attrs[_RUN], trial.state.name.lower(), "" if trial.value is None else f"{trial.value:.6f}",
         *(str(trial.params[name]) for name in ranges))
        for trial in ended
    ]  # fmt: skip
    write_file(folder / TRIALS, csv_lines([("run", "state", "accuracy", *ranges), *lines]))
    if not complete:
        raise RunError(f"none of the {len(ended)} trials in {folder} came to an end, all diverged; search lower "
                       "learning rates, in another --output")  # fmt: skip
    best = max(complete, key=lambda trial: (trial.value, -trial.number))
    write_file(folder / RECIPE, (folder / best.user_attrs[_RUN] / RECIPE).read_text(encoding="utf-8"))
    importances = _importances(study, complete)
    if importances:
        from model.pictures.search_picture import TrialPoint, draw_search

        points = [TrialPoint(trial.params, trial.value or 0.0) for trial in complete]
        log = [name for name, one in ranges.items() if isinstance(one, Range) and one.log]
        draw_search(importances, points, log, folder / PICTURE)
    return {
        "trials": len(ended),
        "stopped_early": len(ended) - len(complete),
        "accuracy": best.value,
        "best_run": str(folder / best.user_attrs[_RUN]),
        "best": best.params,
        "importances": importances,
    }


def _importances(study: "optuna.Study", complete: "list[optuna.trial.FrozenTrial]") -> dict[str, float]:
    """Returns the importance of each setting (PED-ANOVA); none where the trials do not show any."""
    import optuna

    if len(complete) < _LEAST_FOR_IMPORTANCES or len({trial.value for trial in complete}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
