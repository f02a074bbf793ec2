"""The rows that a run's network is tested on, where a run and a feature set fit each other."""

from dataclasses import dataclass
from pathlib import Path

from features.errors import UsageError
from features.io.filesystem import place
from features.sources.partition import PARTITIONS, TESTING
from model.inference.artifact import read_description
from model.inference.artifact_description import ArtifactDescription
from model.inference.fitting_features import load_fitting
from model.training.holdout import Selection
from model.training.label_plan import Draw
from model.training.labelled_set import LabelledSet, silence_by_partition
from model.training.noise_file import labels_of
from model.training.rows import Rows


@dataclass(frozen=True)
class TestedRows:
    """What a network is tested on.

    Attributes:
        description: of the run's artifact.
        labelled: the feature set, with what its labels count as in the run.
        rows: to test on; their `classes` are those of the network.
        draw: how they were chosen.
    """

    description: ArtifactDescription
    labelled: LabelledSet
    rows: Rows
    draw: Draw


def tested_rows(
    run: str, features: str, test_on: tuple[str, ...], within: Selection | None = None, noise: str | None = None
) -> TestedRows:
    """Opens what a network is tested on, without loading the network.

    Args:
        run: a run folder.
        features: a feature set made with the spec that the network was trained on.
        test_on: partitions to test on.
        within: their rows that count; None for all.
        noise: partition whose noise `_silence_` is cut from; None for that of the partition that is tested.

    Raises:
        UsageError: the run or the features cannot be used, or do not fit each other, or there is nothing to test on.
        RunError: the clips table cannot be read, or is not the one that was committed.
    """
    description = read_description(run)
    spec = description.spec
    manifest = load_fitting(features, run, spec)
    if not manifest.rows(test_on):
        raise UsageError(f"nothing to test on: {', '.join(test_on)} of {features} is empty; choose with --test-on")
    plan, kept_noise = labels_of(Path(run), spec)
    silence = silence_by_partition(kept_noise, spec, plan)
    labelled = LabelledSet(place(features), manifest, description.classes, plan, silence)
    rows, draw = labelled.to_test_on(test_on, noise or _noise_of(test_on), within)
    if not rows:
        names = ", ".join(draw.left_out)
        raise UsageError(f"nothing to test on: the run uses none of the labels in {', '.join(test_on)} of {features} "
                         f"({names}); choose with --test-on")  # fmt: skip
    return TestedRows(description, labelled, rows, draw)


def _noise_of(test_on: tuple[str, ...]) -> str:
    """Returns whose part of the background noise is heard: that of the partition, of folds and several testing's."""
    return test_on[0] if len(test_on) == 1 and test_on[0] in PARTITIONS else TESTING
