"""The history of a training: a line of numbers per epoch, from which follow the best epoch and when to stop."""

import csv
import io
import math
import time
from collections.abc import Callable
from pathlib import Path

import keras

from features.io.atomic import write_file
from features.runtime.log import LOG
from features.runtime.progress import Progress
from model.training.settings import Schedule

Row = dict[str, float]
Watch = Callable[[Row], None]
"""What is shown the row of each epoch that has ended; it may end the training by raising."""


def read_history(path: Path) -> list[Row]:
    """Reads `history.csv`: a dictionary of numbers per epoch."""
    with open(path, encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def write_history(path: Path, rows: list[Row]) -> None:
    """Writes `history.csv`; the numbers are written so that reading them gives the same ones."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow(
            int(value) if name == "epoch" else f"{value:.3f}" if name == "seconds" else repr(value)
            for name, value in row.items()
        )
    write_file(path, text.getvalue())


def best_epoch(rows: list[Row], by: str) -> int | None:
    """Returns the best epoch on validation, the first of equals; the last one without validation.

    Args:
        rows: the history.
        by: `loss` for the smallest validation loss, `accuracy` for the highest validation accuracy and of equals the
            smallest loss.

    Returns:
        Its number from 1; None where no epoch ended, no validation loss was finite, or, without validation, the last
        loss was not.
    """
    if rows and "val_loss" not in rows[0]:
        return int(rows[-1]["epoch"]) if math.isfinite(rows[-1]["loss"]) else None
    numbers = [row for row in rows if math.isfinite(row["val_loss"])]
    if not numbers:
        return None

    def rank(row: Row) -> tuple[float, float]:
        return -row["val_accuracy"] if by == "accuracy" else 0.0, row["val_loss"]

    return int(min(numbers, key=rank)["epoch"])


def should_stop(rows: list[Row], schedule: Schedule) -> bool:
    """Returns whether a training gains nothing from another epoch.

    So it is where so many epochs as the patience, if that is not 0, have passed since the best one; and after a loss
    that is not finite, since the weights are then lost.
    """
    if not rows:
        return False
    passed = len(rows) - (best_epoch(rows, schedule.best_by) or 0)
    return 0 < schedule.patience <= passed or not math.isfinite(rows[-1]["loss"])


class Recorder(keras.callbacks.Callback):
    """Writes the history, a line when an epoch ends, and shows the progress of the training.

    Attributes:
        rows: the history so far.
    """

    def __init__(self, path: Path, rows: list[Row], epochs: int, batch_size: int, clips: int) -> None:
        """Takes the file of the history, its rows so far, and the numbers that progress is measured by."""
        super().__init__()
        self.rows = list(rows)
        self._path, self._epochs, self._batch_size, self._clips = path, epochs, batch_size, clips

    def on_epoch_begin(self, epoch: int, logs: Row | None = None) -> None:
        """Starts the clock of an epoch."""
        self._started = time.monotonic()
        self._progress = Progress(f"epoch {epoch + 1} of {self._epochs}", self._clips, "clips")

    def on_train_batch_end(self, batch: int, logs: Row | None = None) -> None:
        """Shows the progress."""
        loss = f", loss {logs['loss']:z.4f}" if logs else ""
        self._progress.update(min(self._clips, (batch + 1) * self._batch_size), loss)

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        """Adds the line."""
        self._progress.close()
        seconds = time.monotonic() - self._started
        # What Keras names in the order of its callbacks is put in an order of its own: training, then validation.
        figures = {name: float(value) for name, value in sorted((logs or {}).items(), key=_column)}
        self.rows.append({"epoch": epoch + 1, **figures, "seconds": seconds})
        write_history(self._path, self.rows)
        training = ", ".join(f"{name} {value:z.4f}" for name, value in figures.items() if not name.startswith("val_"))
        validation = ", ".join(
            f"{name.removeprefix('val_')} {value:z.4f}" for name, value in figures.items() if name.startswith("val_")
        )
        LOG.info(
            "epoch %d of %d: %s%s; %.1f s",
            epoch + 1, self._epochs, training, validation and f"; validation {validation}", seconds,
        )  # fmt: skip


class Watcher(keras.callbacks.Callback):
    """Shows each row of the history to a function, after the callbacks before it have kept the epoch."""

    def __init__(self, recorder: Recorder, watch: Watch | None) -> None:
        """Takes the callback that has the rows, and the function; None for nobody that watches."""
        super().__init__()
        self._recorder, self._watch = recorder, watch

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        """Shows the row."""
        if self._watch:
            self._watch(self._recorder.rows[-1])


def _column(item: tuple[str, float]) -> tuple[bool, bool, str]:
    name = item[0].removeprefix("val_")
    return item[0] != name, name != "loss", name
