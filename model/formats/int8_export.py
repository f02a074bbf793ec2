"""An export in int8: the network's part of a file of LiteRT, measured on recordings beside the live network."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import RunError
from features.frontend.spectrogram import compute_features
from features.io.filesystem import Location
from features.runtime.progress import Progress
from model.formats.parity import Exported
from model.inference.artifact import Artifact

MAX_ACCURACY_LOSS = 0.01
"""By how much less than the live network an export in int8 may be right, as a share of the clips."""
LabelledWaveform = tuple[NDArray[np.float32], int]
_BATCH_CLIPS = 32


@dataclass(frozen=True)
class Int8Clips:
    """Recordings that an export in int8 is made with.

    Each is what the front end takes, float32 of shape (samples,), with the number of its class, negative for none.

    Attributes:
        ranges: clips trained on, to take the ranges of what layers pass on from.
        tested: clips to measure accuracy on.
        num_tested: how many they are, where all can be read.
        tested_on: the partitions that they are of.
        max_accuracy_loss: largest loss of accuracy that is allowed.
    """

    ranges: Iterable[LabelledWaveform]
    tested: Iterable[LabelledWaveform]
    num_tested: int
    tested_on: tuple[str, ...]
    max_accuracy_loss: float = MAX_ACCURACY_LOSS


def range_batches(clips: Int8Clips) -> Iterator[NDArray[np.float32]]:
    """Yields the waveforms to take ranges from in batches of one length: (clips, samples)."""
    for batch in _batches(clips.ranges):
        yield np.stack([waveform for waveform, _ in batch])


def measure(
    artifact: Artifact, exported: Exported, clips: Int8Clips, networks: Location | None = None
) -> dict[str, Any]:
    """Measures how right an export is, and the live network.

    Args:
        artifact: the live network.
        exported: the export.
        clips: to measure them on.
        networks: folder with the network that the live front end runs, where it runs one.

    Returns:
        `tested_on`, `tested_clips`, `accuracy` of the export, `float_accuracy` of the live network, and `same_label`,
        the share of clips that get the same label from both.

    Raises:
        RunError: no clip can be read, or the export is less often right than `clips.max_accuracy_loss` allows.
    """
    true, live, found = [], [], []
    progress = Progress("measuring", clips.num_tested, "clips")
    for batch in _batches(clips.tested):
        waveforms = np.stack([waveform for waveform, _ in batch])
        true += [number for _, number in batch]
        live += artifact.probabilities(compute_features(waveforms, artifact.spec, networks)).argmax(axis=1).tolist()
        found += exported.probabilities(waveforms).argmax(axis=1).tolist()
        progress.update(len(true))
    progress.close()
    if not true:
        raise RunError(f"the accuracy of int8 is measured on the recordings of {', '.join(clips.tested_on)}, and none "
                       "of them is where the features were made from; nothing was kept of the export")  # fmt: skip
    right, float_right = (int(np.sum(np.equal(true, labels))) for labels in (found, live))
    accuracy, float_accuracy = right / len(true), float_right / len(true)
    # Not by the difference of the quotients: that of 1 and 0.95 is more than 0.05.
    if float_right - right > clips.max_accuracy_loss * len(true) + 1e-9:
        raise RunError(
            f"in int8 the network is right on {accuracy:.2%} of {len(true):,} clips of {', '.join(clips.tested_on)}, "
            f"in float32 on {float_accuracy:.2%}: it loses more than --max-accuracy-loss {clips.max_accuracy_loss:g} "
            "allows; nothing was kept of the export. Export it with --format litert"
        )
    return {
        "tested_on": list(clips.tested_on),
        "tested_clips": len(true),
        "accuracy": accuracy,
        "float_accuracy": float_accuracy,
        "same_label": float(np.mean(np.equal(found, live))),
    }


def _batches(clips: Iterable[LabelledWaveform]) -> Iterator[list[LabelledWaveform]]:
    """Yields neighbours of one length together, so many that their features are little memory."""
    batch: list[LabelledWaveform] = []
    for clip in clips:
        if batch and (len(batch) == _BATCH_CLIPS or len(clip[0]) != len(batch[0][0])):
            yield batch
            batch = []
        batch.append(clip)
    if batch:
        yield batch
