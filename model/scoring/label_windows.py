"""Labels recordings: decodes their windows, computes their features, and applies a network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.audio.decode import is_cut_off
from features.audio.recording import open_recording
from features.audio.remote import Listed, ReadAhead
from features.errors import CHANNELS_CANCEL, NOT_FINITE_FEATURES, RETRYABLE, ClipError, Reason, Reject
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import FrontEnd, block_clips
from features.frontend.windows import Window, Windowing, num_windows, window_waveforms
from features.io.filesystem import filesystem_of, is_uri
from features.sources.paths import clip_file
from features.sources.policies import remark
from features.store.lease import Lease
from features.store.versions import library_versions
from features.store.worker_proof import WorkerProof
from model.inference.artifact import ArtifactDescription
from model.inference.executor import Executor, executor_version
from model.scoring.job import Parts
from model.scoring.labels_csv import Labels, Score
from model.scoring.plan import WindowUnit


@dataclass(frozen=True)
class LabelJob:
    """What labelling a batch takes beside its number.

    Attributes:
        parts: the job's folder, with the work list, the network and the parts.
        description: of the artifact, as it was when the job was planned.
        root: where the units' paths begin.
        top: labels per window.
        thresholds: of each class in the order of the network's outputs; less probable labels are left out.
        executor: name of what runs the network.
        windowing: where windows begin, and which last one is kept.
        lease: of the run.
        proof: what a worker has to see and to have.
    """

    parts: Parts
    description: ArtifactDescription
    root: str
    top: int
    thresholds: tuple[float, ...]
    executor: str
    windowing: Windowing
    lease: Lease
    proof: WorkerProof

    def load_network(self) -> Executor:
        """Loads the network, which any number of threads may use.

        Raises:
            RunError: the run has ended, or this process is not like its driver.
        """
        with self.lease.working():
            self.proof.check(self.lease, scoring_versions(self.executor))
            network = self.parts.network
            return Executor(filesystem_of(network).read(network), self.description, self.executor)

    def label(self, network: Executor, number: int) -> Labels | None:
        """Labels the batch of this number; returns None where its part is there, as where a runner tries it again.

        Raises:
            RunError: the run has ended; the recordings are not to be seen any more; or what `label_windows` raises.
        """
        with self.lease.working():
            if self.parts.is_finished(number):
                return None
            units = self.parts.read_batch(number)
            labels = label_windows(network, self.root, units, self.windowing, self.top, self.thresholds)
            if any(reject.reason in RETRYABLE for reject in labels.rejects):
                self.proof.check_source()
            return labels

    def write(self, number: int, labels: Labels | None) -> None:
        """Writes the part of the batch of this number from what `label` returned of it."""
        with self.lease.working():
            if labels is not None:
                self.parts.write(number, labels, self.top)


def scoring_versions(executor: str) -> dict[str, str]:
    """Returns the versions of what decodes, computes features and runs the network, as they are here."""
    return {**library_versions(), "executor": executor_version(executor)}


Place = tuple[str, float, float]


def label_windows(
    network: Executor,
    root: str,
    units: Sequence[WindowUnit],
    windowing: Windowing,
    top: int = 1,
    thresholds: Sequence[float] | None = None,
) -> Labels:
    """Decodes the windows of some units and labels them.

    Args:
        network: which labels them.
        root: where the units' paths begin.
        units: what to label; their windows together are the batch.
        windowing: where windows begin and which last one is kept, as the units were planned.
        top: labels per window.
        thresholds: of each class in the order of the network's outputs; less probable labels are left out.
    """
    spec = network.spec
    waiting: list[NDArray[np.float32]] = []
    features = np.empty((sum(unit.num_windows for unit in units), *spec.shape), dtype=spec.storage_dtype)
    front_end, most, computed = FrontEnd(spec), block_clips(spec), 0
    places: list[Place] = []
    rejects = []
    warnings = []
    counts = [0] * len(units)
    for number, (unit, decoded) in enumerate(zip(units, _decoded(root, spec, units, windowing), strict=True)):
        if isinstance(decoded, ClipError):
            rejects.append(Reject(unit.path, decoded.stage, str(decoded.reason), decoded.message))
            continue
        windows, said = decoded
        warnings += said
        counts[number] = len(windows)
        waiting += [window.waveform for window in windows]
        places += [(unit.path, window.start_seconds, window.end_seconds) for window in windows]
        # A few at a time: what is in work stays in the cache of a core, and one without a clip length may be long.
        if len(waiting) >= most:
            computed += _compute(front_end, waiting, features[computed:])
    computed += _compute(front_end, waiting, features[computed:])
    table = features[:computed]
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum that is finite spares the look at each value.
        finite = [bool(np.isfinite(clip.sum(dtype=np.float32)) or np.isfinite(clip).all()) for clip in table]
    if not all(finite):
        loud = dict.fromkeys(path for (path, _, _), good in zip(places, finite, strict=True) if not good)
        rejects += [Reject(path, "features", str(Reason.NOT_FINITE), NOT_FINITE_FEATURES) for path in loud]
        warnings = [warning for warning in warnings if warning.path not in loud]
        table = table[[path not in loud for path, _, _ in places]]
        places = [place for place in places if place[0] not in loud]
        counts = [0 if unit.path in loud else count for unit, count in zip(units, counts, strict=True)]
    scores = label_features(network, places, table, top, thresholds)
    return Labels(scores=scores, rejects=rejects, warnings=warnings, scored=len(units) - len(rejects), windows=counts)


def label_features(
    network: Executor,
    places: Sequence[Place],
    features: NDArray[np.floating],
    top: int,
    thresholds: Sequence[float] | None = None,
) -> list[Score]:
    """Labels windows by their features.

    Args:
        network: which labels them.
        places: path, start and end in seconds of each window.
        features: of shape (windows, *spec.shape), in the spec's storage dtype.
        top: labels a window.
        thresholds: of each class in the order of the network's outputs; less probable labels are left out.
    """
    probabilities = network.probabilities(features)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    highest = np.take_along_axis(probabilities, best, axis=1)
    least = thresholds or [0.0] * len(network.classes)
    return [
        Score(
            path=path,
            start_seconds=start,
            end_seconds=end,
            label=network.classes[number],
            probability=probability,
            rank=rank,
        )
        for (path, start, end), numbers, values in zip(places, best.tolist(), highest.tolist(), strict=True)
        for rank, (number, probability) in enumerate(zip(numbers, values, strict=True), start=1)
        if probability >= least[number]
    ]


def _compute(front_end: FrontEnd, waveforms: list[NDArray[np.float32]], out: NDArray[np.floating]) -> int:
    """Computes the features of some windows and forgets their waveforms; returns how many they were."""
    count = len(waveforms)
    front_end.compute(waveforms, out[:count])
    waveforms.clear()
    return count


def _decoded(
    root: str, spec: FeatureSpec, units: Sequence[WindowUnit], windowing: Windowing
) -> Iterator[tuple[list[Window], list[Reject]] | ClipError]:
    """Yields the windows of each unit and its warnings, or why it cannot be used; objects of a store are read ahead."""
    files = [Listed(clip_file(root, unit.path)) for unit in units]
    wanted = [file for file, unit in zip(files, units, strict=True) if unit.first_window == 0 and is_uri(file.place)]
    with ReadAhead(wanted) as ahead:
        for file, unit in zip(files, units, strict=True):
            try:
                decoded: tuple[list[Window], list[Reject]] | ClipError = _windows(file, spec, unit, windowing, ahead)
            except ClipError as error:
                decoded = error
            yield decoded


def _windows(
    file: Listed, spec: FeatureSpec, unit: WindowUnit, windowing: Windowing, ahead: ReadAhead
) -> tuple[list[Window], list[Reject]]:
    """Returns the windows of a unit and its warnings."""
    first, count = unit.first_window, unit.num_windows
    with open_recording(file.place, first == 0, ahead) as recording:
        info = recording.probe()
        windows = list(window_waveforms(recording.source, info, spec, first, count, windowing))
        cut_off = info.truncated or len(windows) < count or not all(window.whole for window in windows)
        if info.end_unverified and not cut_off and first + count < num_windows(info, spec):
            # What follows is another unit's, or is left out: then nothing else shows whether it is there.
            cut_off = first + count == num_windows(info, spec, windowing) and is_cut_off(recording.source, info)
    warnings = []
    if cut_off:
        warnings.append(remark(unit.path, Reason.TRUNCATED))
    elif not any(window.waveform.any() for window in windows):
        warnings.append(remark(unit.path, Reason.SILENT))
    warnings += [remark(unit.path, code, said) for code, said in info.header_warnings.items()]
    if any(window.cancelled for window in windows):
        warnings.append(remark(unit.path, CHANNELS_CANCEL))
    return windows, warnings
