"""Which rows of the partitions trained on are for training, and which are kept from it."""

from dataclasses import dataclass

from features.io.entry import AnyPath
from features.store.manifest import Manifest
from model.training.holdout import Selection, hold_out, join_selections
from model.training.partitions import holds_out
from model.training.settings import Settings
from model.training.splits import split_rows


@dataclass(frozen=True)
class Division:
    """The rows of the partitions trained on, by what they are for.

    Attributes:
        training: rows to train on; None for all.
        held_out: rows to validate on; None where validation has partitions of its own, or is not wanted.
        left_out: rows of the split that is left out, which the training uses for nothing; None without splits.
        not_left_out: the rows of the other splits, to train and to validate on; None without splits.
    """

    training: Selection | None
    held_out: Selection | None = None
    left_out: Selection | None = None
    not_left_out: Selection | None = None


def divide(folder: AnyPath, manifest: Manifest, settings: Settings) -> Division:
    """Divides the rows of the partitions that a training is on.

    Args:
        folder: the feature set.
        manifest: its state.
        settings: of the training.

    Raises:
        UsageError: the groups do not suffice for the splits, or for a validation.
        RunError: the clips table cannot be read, or is not the one that was committed.
    """
    rows = settings.rows
    left_out = not_left_out = None
    if rows.splits:
        parts = split_rows(folder, manifest, rows.train_on, rows.splits, rows.split_seed)
        left_out = parts.pop(rows.left_out - 1)
        not_left_out = join_selections(parts)
    if not holds_out(manifest, settings):
        return Division(not_left_out, None, left_out, not_left_out)
    training, held_out = hold_out(folder, manifest, rows.train_on, not_left_out)
    return Division(training, held_out, left_out, not_left_out)
