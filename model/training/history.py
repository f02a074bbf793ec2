"""The history of a training: a line of numbers per epoch, from which follow the best epoch and when to stop."""

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from features.io.atomic import write_file
from model.training.settings import Schedule

Row = dict[str, float]


class Watch(Protocol):
    """What follows a training; it may end that by raising."""

    def begin(self, run: Path) -> None:
        """Is called when the record of the training is in its run folder, before the first epoch, or the next one."""

    def epoch(self, row: Row) -> None:
        """Is shown the row of each epoch that has ended and been kept."""


class EachEpoch:
    """A function that follows the epochs of a training."""

    def __init__(self, function: Callable[[Row], None]) -> None:
        """Takes what is shown the row of each."""
        self._function = function

    def begin(self, run: Path) -> None:
        """See `Watch`."""

    def epoch(self, row: Row) -> None:
        """See `Watch`."""
        self._function(row)


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
