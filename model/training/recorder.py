"""What Keras calls while a network learns to keep the history and show the progress."""

import time
from pathlib import Path

import keras

from features.runtime.log import LOG
from features.runtime.progress import Progress
from model.training.history import Row, Watch, write_history


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
    """Shows each row of the history to who watches, after the callbacks before it have kept the epoch."""

    def __init__(self, recorder: Recorder, watch: Watch | None) -> None:
        """Takes the callback that has the rows, and who watches; None for nobody that watches."""
        super().__init__()
        self._recorder, self._watch = recorder, watch

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        """Shows the row."""
        if self._watch:
            self._watch.epoch(self._recorder.rows[-1])


def _column(item: tuple[str, float]) -> tuple[bool, bool, str]:
    name = item[0].removeprefix("val_")
    return item[0] != name, name != "loss", name
