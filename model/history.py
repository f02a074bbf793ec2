"""The history of a training: a line of numbers an epoch."""

import csv
import time
from pathlib import Path

import keras

from features.console import LOG, Progress

COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds")


def read_history(path: Path) -> list[dict[str, float]]:
    """Reads `history.csv`: a dictionary of numbers an epoch."""
    with open(path, encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


class Recorder(keras.callbacks.Callback):
    """Writes the history, a line when an epoch ends, and tells how the training goes."""

    def __init__(self, path: Path, epochs: int, batch_size: int, clips: int) -> None:
        """Takes the file of the history and the numbers that progress is measured by."""
        super().__init__()
        self._path, self._epochs, self._batch_size, self._clips = path, epochs, batch_size, clips

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the clock of an epoch."""
        self._started = time.monotonic()
        self._progress = Progress(f"epoch {epoch + 1} of {self._epochs}", self._clips, "clips")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Shows the progress."""
        loss = f", loss {logs['loss']:.4f}" if logs else ""
        self._progress.update(min(self._clips, (batch + 1) * self._batch_size), loss)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Adds the line."""
        self._progress.close()
        figures = logs or {}
        seconds = time.monotonic() - self._started
        row = [epoch + 1, *(repr(float(figures[name])) for name in COLUMNS[1:-1]), f"{seconds:.3f}"]
        with open(self._path, "a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if epoch == 0:
                writer.writerow(COLUMNS)
            writer.writerow(row)
        LOG.info(
            "epoch %d of %d: loss %.4f, accuracy %.4f; validation loss %.4f, accuracy %.4f; %.1f s",
            epoch + 1, self._epochs, figures["loss"], figures["accuracy"],
            figures["val_loss"], figures["val_accuracy"], seconds,
        )  # fmt: skip
