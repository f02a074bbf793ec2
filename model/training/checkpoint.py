"""The state of a training when an epoch ends, from which it resumes to the same bits as one that never stopped.

What is kept: all variables of the network, among them the states of the dropout generators, those of the optimizer,
among them the running average of the weights, and the history. The order of the clips, and what is drawn and changed of
them, follow from seed and epoch, when to stop from the history: there is no other state.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import keras
import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError
from features.io.atomic import atomic_folder, write_file
from model.networks.layers import use_given_normalization
from model.training.history import Row, best_epoch, should_stop
from model.training.optimization import averaged_weights
from model.training.recorder import Recorder
from model.training.settings import Schedule

FOLDER = "checkpoints"
_VARIABLES, _STATE = "variables.npz", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """The state after an epoch.

    Attributes:
        folder: where it lies.
        history: rows of all epochs so far.
    """

    folder: Path
    history: list[Row]


class Keeper(keras.callbacks.Callback):
    """Keeps the last state and the best weights, and ends a training that does not improve any more.

    A checkpoint is a folder that is whole or not there, and what it replaces goes only afterwards.
    """

    def __init__(self, run: Path, recorder: Recorder, schedule: Schedule) -> None:
        """Takes the run folder, the history's recorder, which comes before this in the callbacks, and the schedule."""
        super().__init__()
        self._folder, self._recorder, self._schedule = run / FOLDER, recorder, schedule

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        """Saves the state."""
        rows = self._recorder.rows
        best = best_epoch(rows, self._schedule.best_by)
        if best == epoch + 1:
            with averaged_weights(self.model):
                _save(_best(self._folder, best), self.model.variables, [])
        last = self._folder / f"last-{epoch + 1:06d}"
        _save(last, [*self.model.variables, *self.model.optimizer.variables], rows)
        kept = {last.name, _best(self._folder, best).name}
        for other in [*self._folder.glob("best-*"), *self._folder.glob("last-*")]:
            if other.name not in kept:
                shutil.rmtree(other)
        if should_stop(rows, self._schedule):
            self.model.stop_training = True


def last_checkpoint(run: Path) -> Checkpoint | None:
    """Returns the last checkpoint of a run, None where no epoch has ended."""
    folders = sorted((run / FOLDER).glob("last-[0-9][0-9][0-9][0-9][0-9][0-9]"))
    if not folders:
        return None
    state = json.loads((folders[-1] / _STATE).read_text(encoding="utf-8"))
    return Checkpoint(folders[-1], state["history"])


def restore(model: keras.Model, checkpoint: Checkpoint) -> None:
    """Brings a compiled network to the state of a checkpoint; raises `UsageError` where it is of another network."""
    model.optimizer.build(model.trainable_variables)
    _load(checkpoint.folder, [*model.variables, *model.optimizer.variables])
    use_given_normalization(model)


def restore_best(model: keras.Model, run: Path, epoch: int) -> None:
    """Brings a network to the weights of the best epoch."""
    _load(_best(run / FOLDER, epoch), model.variables)
    use_given_normalization(model)


def _best(folder: Path, epoch: int | None) -> Path:
    return folder / f"best-{epoch or 0:06d}"


def _save(folder: Path, variables: list[keras.Variable], rows: list[Row]) -> None:
    arrays = {f"{number:04d}": np.asarray(variable) for number, variable in enumerate(variables)}
    folder.parent.mkdir(exist_ok=True)
    with atomic_folder(folder) as partial:
        np.savez(partial / _VARIABLES, allow_pickle=False, **arrays)
        write_file(partial / _STATE, json.dumps({"history": rows}, indent=1) + "\n")


def _load(folder: Path, variables: list[keras.Variable]) -> None:
    path = folder / _VARIABLES
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: list[NDArray[np.generic]] = [file[name] for name in sorted(file.files)]
    except (OSError, ValueError, BadZipFile) as error:
        raise UsageError(f"cannot read the checkpoint {path}: {error}; train into a new folder") from error
    if [array.shape for array in arrays] != [tuple(variable.shape) for variable in variables]:
        raise UsageError(f"the checkpoint {path} is of another network; train into a new folder")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
