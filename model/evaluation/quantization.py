"""A run's network in int8, and how right it is beside the network that it was made of."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError
from features.sources.partition import TRAINING
from model.evaluation.predictions import accuracy, predict_rows
from model.evaluation.tested_rows import TestedRows, tested_rows
from model.formats.int8 import check_quantizer, quantize
from model.inference.artifact import read_litert
from model.inference.executor import Executor, installed_executors
from model.inference.precision import save_int8
from model.training.division import divide
from model.training.rows import Rows
from model.training.run_folder import settings_of

RANGE_CLIPS = 512
"""Clips trained on that ranges are taken from, spread evenly over all."""


def quantize_run(run: str, features: str, test_on: tuple[str, ...]) -> dict[str, Any]:
    """Quantizes a run's network and keeps it in the artifact.

    Args:
        run: a run folder.
        features: the feature set that it was trained on, or one of the same spec.
        test_on: partitions on which both networks are measured.

    Returns:
        The figures: `seconds`, `bytes` and `bytes_float32` of the networks, and what the artifact keeps.

    Raises:
        UsageError: the run or the features cannot be used, or do not fit each other; the network cannot be quantized;
            or the package that quantizes is not installed.
        RunError: a shard is missing or damaged.
    """
    started = time.monotonic()
    check_quantizer()
    tested = tested_rows(run, features, test_on)
    description = tested.description
    content = read_litert(run, description)
    made = quantize(content, _evenly(rows_learnt(run, features, tested), RANGE_CLIPS))
    measured = {
        "tested_on": list(test_on),
        "clips": len(tested.rows),
        "executors": {name: _compare(content, made, name, tested) for name in installed_executors()},
    }
    save_int8(run, made, measured)
    return {"seconds": time.monotonic() - started, "bytes": len(made), "bytes_float32": len(content), **measured}


def _compare(float32: bytes, int8: bytes, executor: str, tested: TestedRows) -> dict[str, Any]:
    """Returns how right two networks are by an executor, and how many clips get the same label from both."""
    classes = tested.description.classes
    one, other = (
        predict_rows(Executor(content, tested.description, executor), tested.rows) for content in (float32, int8)
    )
    return {
        "float32": accuracy(one, classes),
        "int8": accuracy(other, classes),
        "same_label": float(np.mean(one.predicted == other.predicted)),
    }


def rows_learnt(run: str, features: str, tested: TestedRows) -> Rows:
    """Returns the rows that a run learnt from, of another set those of the same partitions."""
    manifest = tested.labelled.manifest
    settings = settings_of(Path(run), manifest)
    partitions = settings.rows.train_on if settings else tested.description.trained_on
    kept = divide(features, manifest, settings).training if settings else None
    rows, _ = tested.labelled.to_test_on(partitions, TRAINING, kept)
    if not rows:
        raise UsageError(
            f"the ranges of int8 come of clips that were trained on, and {features} has none in "
            f"{', '.join(partitions)}; give the set that the run was trained on"
        )
    return rows


def _evenly(rows: Rows, most: int) -> NDArray[np.floating]:
    """Returns the features of some rows that are spread evenly over all: (clips, *spec.shape)."""
    wanted = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))
    taken, first = [], 0
    for content in rows.contents():
        last = first + len(content.paths)
        taken.append(content.features[wanted[(wanted >= first) & (wanted < last)] - first])
        first = last
    return np.concatenate(taken)
