"""Which epoch is the best, and when another gains nothing."""

import math

import pytest

from model.training.history import best_epoch, should_stop
from model.training.settings import Schedule


def rows(*figures: tuple[float, float]) -> list[dict[str, float]]:
    """Returns a history of these validation losses and accuracies."""
    return [
        {"epoch": number, "loss": 1.0, "accuracy": 0.5, "val_loss": loss, "val_accuracy": accuracy, "seconds": 1.0}
        for number, (loss, accuracy) in enumerate(figures, start=1)
    ]


@pytest.mark.parametrize(
    ("figures", "by_loss", "by_accuracy"),
    [
        ([], None, None),
        ([(0.5, 0.1)], 1, 1),
        ([(0.5, 0.7), (0.4, 0.8), (0.6, 0.9)], 2, 3),
        ([(0.5, 0.9), (0.4, 0.8), (0.3, 0.9)], 3, 3),
        ([(0.5, 0.9), (0.5, 0.9)], 1, 1),
        ([(0.5, 0.7), (math.nan, 0.9)], 1, 1),
        ([(math.nan, 0.7)], None, None),
    ],
)
def test_the_best_epoch_is_that_of_the_loss_or_of_the_accuracy(figures, by_loss, by_accuracy):
    history = rows(*figures)
    assert (best_epoch(history, "loss"), best_epoch(history, "accuracy")) == (by_loss, by_accuracy)


def test_without_validation_the_last_epoch_is_the_best():
    history = [{"epoch": 1, "loss": 0.1, "accuracy": 0.9}, {"epoch": 2, "loss": 0.2, "accuracy": 0.8}]
    assert best_epoch(history, "loss") == best_epoch(history, "accuracy") == 2


def test_patience_counts_from_the_best_epoch():
    history = rows((0.4, 0.7), (0.5, 0.8), (0.6, 0.8))
    assert should_stop(history, Schedule(patience=2))
    assert not should_stop(history, Schedule(patience=2, best_by="accuracy"))
    assert should_stop(history, Schedule(patience=1, best_by="accuracy"))
    assert not should_stop(history, Schedule(patience=0))
    assert not should_stop([], Schedule(patience=1))
