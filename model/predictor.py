"""Labels waveforms and features with a trained network, in batches of one fixed size.

Every batch is filled up to the same number of rows: a network's last digits depend on the shape of what it is given,
and a clip's probabilities must not depend on how many others came with it.
"""

import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import softmax

from features.decode import file_error, probe
from features.errors import NOT_FINITE_FEATURES, ClipError, Reason, Reject
from features.fit import Window, window_waveforms
from features.paths import clip_file
from features.policies import remark
from features.spec import FeatureSpec
from features.spectrogram import compute_features
from model.artifact import Artifact
from model.labels import BATCH_CLIPS, Labels, Score, WindowUnit


class Predictor:
    """A network ready for use."""

    def __init__(self, artifact: Artifact) -> None:
        """Keeps the artifact and makes the network a graph of one batch shape."""
        self.artifact = artifact
        network = artifact.network
        signature = tf.TensorSpec((BATCH_CLIPS, *artifact.spec.shape, 1), tf.float32)
        self._call = tf.function(lambda batch: network(batch, training=False), input_signature=[signature])

    def probabilities(self, batch: NDArray[np.floating]) -> NDArray[np.float32]:
        """Returns the probability of each class: (clips, *spec.shape) to (clips, classes)."""
        parts = [self._fixed(part) for part in _slices(batch)]
        if not parts:
            return np.zeros((0, len(self.artifact.classes)), dtype=np.float32)
        return np.concatenate(parts)

    def _fixed(self, batch: NDArray[np.floating]) -> NDArray[np.float32]:
        filled = np.zeros((BATCH_CLIPS, *self.artifact.spec.shape, 1), dtype=np.float32)
        filled[: len(batch), ..., 0] = batch
        outputs = self._call(filled).numpy()[: len(batch)]
        return softmax(outputs, axis=-1) if self.artifact.returns_logits else outputs


def _slices(batch: NDArray[np.floating]) -> Iterator[NDArray[np.floating]]:
    return (batch[first : first + BATCH_CLIPS] for first in range(0, len(batch), BATCH_CLIPS))


def label_windows(
    predictor: Predictor, root: str, units: Sequence[WindowUnit], top: int = 1, threshold: float = 0.0
) -> Labels:
    """Decodes the windows of some units and labels them.

    Args:
        predictor: the network.
        root: where the units' paths begin.
        units: what to label; their windows together are the batch.
        top: labels a window.
        threshold: probabilities below it are left out.
    """
    spec, classes = predictor.artifact.spec, predictor.artifact.classes
    features: list[NDArray[np.floating]] = []
    waveforms: list[NDArray[np.float32]] = []
    places: list[tuple[str, float, float]] = []
    rejects = []
    warnings = []
    counts = [0] * len(units)
    for number, unit in enumerate(units):
        try:
            windows, warning = _windows(clip_file(root, unit.path), spec, unit)
        except ClipError as error:
            rejects.append(Reject(unit.path, error.stage, str(error.reason), error.message))
            continue
        if warning:
            warnings.append(Reject(unit.path, *remark(warning)))
        counts[number] = len(windows)
        waveforms += [window.waveform for window in windows]
        places += [(unit.path, window.start_seconds, window.end_seconds) for window in windows]
        if spec.clip_samples is None:  # one may be long: it is let go of before the next is read
            features.append(compute_features(waveforms, spec))
            waveforms = []
    features.append(compute_features(waveforms, spec))
    table = np.concatenate(features)
    finite = np.isfinite(table).all(axis=tuple(range(1, table.ndim)))
    if not finite.all():
        loud = dict.fromkeys(path for (path, _, _), good in zip(places, finite, strict=True) if not good)
        rejects += [Reject(path, "features", str(Reason.NOT_FINITE), NOT_FINITE_FEATURES) for path in loud]
        warnings = [warning for warning in warnings if warning.path not in loud]
        table = table[[path not in loud for path, _, _ in places]]
        places = [place for place in places if place[0] not in loud]
        counts = [0 if unit.path in loud else count for unit, count in zip(units, counts, strict=True)]
    scores = []
    for place, row in zip(places, predictor.probabilities(table), strict=True):
        best = np.argsort(-row, kind="stable")[:top]
        for rank, number in enumerate(best.tolist(), start=1):
            if row[number] >= threshold:
                scores.append(Score(*place, classes[number], float(row[number]), rank))
    return Labels(scores, rejects, warnings, len(units) - len(rejects), counts)


def _state(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise file_error(error) from error
    return status.st_size, status.st_mtime_ns


def _windows(path: str, spec: FeatureSpec, unit: WindowUnit) -> tuple[list[Window], str]:
    """Returns the windows of a unit and what is odd about them: `truncated`, `silent` or nothing."""
    before = _state(path)
    info = probe(path)
    windows = list(window_waveforms(path, info, spec, unit.first_window, unit.num_windows))
    if before != _state(path):
        raise ClipError("decode", Reason.VANISHED, "the file changed while it was read")
    if info.truncated or len(windows) < unit.num_windows or not all(window.whole for window in windows):
        return windows, Reason.TRUNCATED
    return windows, "" if any(window.waveform.any() for window in windows) else Reason.SILENT
