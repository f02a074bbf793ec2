"""The rows that a run was validated on, which it did not learn from and by which its best epoch was chosen."""

from pathlib import Path

from features.sources.partition import VALIDATION
from features.store.manifest import load_manifest
from model.evaluation.tested_rows import TestedRows, tested_rows
from model.training.division import divide
from model.training.partitions import validation_partitions
from model.training.run_folder import settings_of


def validated_rows(run: str, features: str) -> TestedRows | None:
    """Opens what a run was validated on.

    Args:
        run: a run folder.
        features: the feature set that it was trained on.

    Returns:
        The rows; None where there are none of their own, or the set has changed since.

    Raises:
        UsageError: the run or the features cannot be used.
        RunError: the clips table cannot be read, or is not the one that was committed.
    """
    manifest = load_manifest(features)
    settings = settings_of(Path(run), manifest)
    if settings is None:
        return None
    held_out = divide(features, manifest, settings).held_out
    partitions = settings.rows.train_on if held_out is not None else validation_partitions(manifest, settings)
    return tested_rows(run, features, partitions, held_out, VALIDATION) if partitions else None
