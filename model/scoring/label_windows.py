"""Labels recordings: decodes their windows, computes their features, and applies a network."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.audio.decode import is_cut_off
from features.audio.recording import Recording, open_recording
from features.audio.remote import Listed, ReadAhead
from features.errors import CHANNELS_CANCEL, NOT_FINITE_FEATURES, RETRYABLE, ClipError, Reason, Reject
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import block_clips
from features.frontend.windows import Window, Windowing, num_windows, window_waveforms
from features.io.filesystem import filesystem_of, is_uri
from features.sources.content_hash import content_hash, file_hash
from features.sources.paths import clip_file
from features.sources.policies import remark
from features.store.known_features import KnownClip, KnownFeatures, KnownRows
from features.store.lease import Lease
from features.store.versions import library_versions
from features.store.worker_proof import WorkerProof
from model.inference.artifact_description import ArtifactDescription
from model.inference.executor import Executor, executor_version
from model.inference.litert import BATCH_CLIPS
from model.scoring.job import Parts
from model.scoring.part import Labels
from model.scoring.plan import WindowUnit

_WAITING_WAVEFORMS, _WAITING_SAMPLES = 8, 2**22


@dataclass(frozen=True)
class LabelJob:
    """What labelling a batch takes beside its number.

    Attributes:
        parts: the job's folder, with the work list, the network and the parts.
        description: of the artifact, as it was when the job was planned.
        root: where the units' paths begin.
        executor: name of what runs the network.
        windowing: where windows begin, and which last one is kept.
        lease: of the run.
        proof: what a worker has to see and to have.
        known: features of clips that need not be computed, None where there are none.
        embeddings: type of the embeddings that windows get, which the network has an output for; None for none.
    """

    parts: Parts
    description: ArtifactDescription
    root: str
    executor: str
    windowing: Windowing
    lease: Lease
    proof: WorkerProof
    known: KnownFeatures | None = None
    embeddings: str | None = None

    def load_network(self) -> Executor:
        """Loads the network, which any number of threads may use.

        Raises:
            RunError: the run has ended, or this process is not like its driver.
        """
        with self.lease.working():
            self.proof.check(self.lease, scoring_versions(self.executor, self.description.spec))
            network = self.parts.network
            content = filesystem_of(network).read(network)
            return Executor(content, self.description, self.executor, self.parts.networks)

    def label(self, network: Executor, number: int) -> Labels | None:
        """Labels the batch of this number; returns None where its part is there, as where a runner tries it again.

        Raises:
            RunError: the run has ended; the recordings are not to be seen any more; or what `label_windows` raises.
        """
        with self.lease.working():
            if self.parts.is_finished(number):
                return None
            units = self.parts.read_batch(number)
            labels = label_windows(network, self.root, units, self.windowing, self.embeddings, self.known)
            if any(reject.reason in RETRYABLE for reject in labels.rejects):
                self.proof.check_source()
            return labels

    def write(self, number: int, labels: Labels | None) -> None:
        """Writes the part of the batch of this number from what `label` returned of it."""
        with self.lease.working():
            if labels is not None:
                self.parts.write(number, labels)


def scoring_versions(executor: str, spec: FeatureSpec) -> dict[str, str]:
    """Returns the versions of what decodes, computes features and runs the network, as they are here."""
    return {**library_versions(spec), "executor": executor_version(executor)}


def label_windows(
    network: Executor,
    root: str,
    units: Sequence[WindowUnit],
    windowing: Windowing,
    embeddings: str | None = None,
    known: KnownFeatures | None = None,
) -> Labels:
    """Decodes the windows of some units and labels them.

    Args:
        network: which labels them.
        root: where the units' paths begin.
        units: what to label.
        windowing: where windows begin and which last one is kept, as the units were planned.
        embeddings: type of the embeddings that windows get, None for none.
        known: features of clips that need not be computed; nothing but the time that it takes is another then.
    """
    labeller = WindowLabeller(network, sum(unit.num_windows for unit in units), embeddings)
    rejects: dict[int, Reject] = {}
    warnings: list[tuple[int, Reject]] = []
    files = [Listed(clip_file(root, unit.path)) for unit in units]
    wanted = [file for file, unit in zip(files, units, strict=True) if unit.first_window == 0 and is_uri(file.place)]
    with contextlib.ExitStack() as opened:
        ahead = opened.enter_context(ReadAhead(wanted))  # objects of a store
        rows = None if known is None else opened.enter_context(known.open())
        for number, (file, unit) in enumerate(zip(files, units, strict=True)):
            labeller.unit = number
            try:
                said = _take_windows(labeller, file, unit, windowing, ahead, rows)
                warnings += [(number, warning) for warning in said]
            except ClipError as error:
                rejects[number] = Reject(unit.path, error.stage, str(error.reason), error.message)
    labeller.finish()
    for number in sorted(labeller.not_finite - rejects.keys()):
        rejects[number] = Reject(units[number].path, "features", str(Reason.NOT_FINITE), NOT_FINITE_FEATURES)
    return labeller.labels(len(units), rejects, [warning for number, warning in warnings if number not in rejects])


class WindowLabeller:
    """Computes the features of windows as they come, and applies a network whenever it has a batch of them.

    Attributes:
        spec: the front end.
        unit: number of the unit whose windows come.
        known: numbers of the units whose features came from a set.
        not_finite: numbers of the units whose features are not finite numbers.
    """

    def __init__(self, network: Executor, most: int, embeddings: str | None = None) -> None:
        """Makes room for a batch.

        Args:
            network: which labels the windows.
            most: windows that may come.
            embeddings: type of the embeddings that windows get, which the network has an output for; None for none.
        """
        spec = network.spec
        self.spec, self._network, self._front_end = spec, network, network.front_end()
        self._features = np.empty((min(most, BATCH_CLIPS), *spec.shape), spec.storage_dtype)
        # A few at a time: what is in work stays in the cache of a core, and one without a clip length may be long.
        # Of a network, windows of several short ones fill a batch.
        self._block = _WAITING_WAVEFORMS if spec.network_name is not None else block_clips(spec)
        self._waiting: list[NDArray[np.float32]] = []
        self._computed = 0  # of the batch
        self._units: list[int] = []
        self._seconds: list[tuple[float, float]] = []
        self._probabilities = [np.empty((0, len(network.classes)), np.float32)]
        self._embeddings = [np.empty((0, network.embedding_size), embeddings)] if embeddings else []
        self.unit = 0
        self.known: set[int] = set()
        self.not_finite: set[int] = set()

    def take(self, window: Window) -> None:
        """Takes a window of the unit."""
        self._waiting.append(window.waveform)
        self._units.append(self.unit)
        self._seconds.append((window.start_seconds, window.end_seconds))
        full = self._computed + len(self._waiting) == len(self._features)
        if full or len(self._waiting) == self._block or sum(map(len, self._waiting)) >= _WAITING_SAMPLES:
            self._compute()
        if full:
            self._apply()

    def take_known(self, clip: KnownClip) -> None:
        """Takes the features of the only window of the unit."""
        self._compute()
        self._features[self._computed] = clip.features
        self._computed += 1
        self._units.append(self.unit)
        self._seconds.append((0.0, clip.seconds))
        self.known.add(self.unit)
        if self._computed == len(self._features):
            self._apply()

    def finish(self) -> None:
        """Labels what is left."""
        self._compute()
        if self._computed:
            self._apply()

    def labels(self, units: int, rejects: Mapping[int, Reject], warnings: list[Reject]) -> Labels:
        """Returns what came of units, without the windows of those that are rejected.

        Args:
            units: their number.
            rejects: by the number of the unit.
            warnings: of the others.
        """
        of_unit = np.array(self._units, np.int64)
        stays = ~np.isin(of_unit, list(rejects))
        seconds = np.array(self._seconds, np.float64).reshape(-1, 2)[stays]
        return Labels(
            windows=np.bincount(of_unit[stays], minlength=units).tolist(),
            start_seconds=seconds[:, 0],
            end_seconds=seconds[:, 1],
            probabilities=np.concatenate(self._probabilities)[stays],
            embeddings=np.concatenate(self._embeddings)[stays] if self._embeddings else None,
            rejects=list(rejects.values()),
            warnings=warnings,
            scored=units - len(rejects),
            known=len(self.known - rejects.keys()),
        )

    def _compute(self) -> None:
        count = len(self._waiting)
        if not count:
            return
        features = self._features[self._computed : self._computed + count]
        self._front_end.compute(self._waiting, features)
        with np.errstate(over="ignore", invalid="ignore"):
            # A sum that is finite spares the look at each value.
            finite = [bool(np.isfinite(clip.sum(dtype=np.float32)) or np.isfinite(clip).all()) for clip in features]
        if not all(finite):
            first = len(self._units) - count
            self.not_finite |= {self._units[first + number] for number in range(count) if not finite[number]}
            features[~np.array(finite)] = 0  # of nobody
        self._waiting.clear()
        self._computed += count

    def _apply(self) -> None:
        features = self._features[: self._computed]
        if self._embeddings:
            probabilities, embeddings = self._network.probabilities_and_embeddings(features)
            with np.errstate(over="ignore"):  # float16 ends at 65,504
                self._embeddings.append(embeddings.astype(self._embeddings[0].dtype))
        else:
            probabilities = self._network.probabilities(features)
        self._probabilities.append(probabilities)
        self._computed = 0


def _known_clip(recording: Recording, unit: WindowUnit, rows: KnownRows | None) -> KnownClip | None:
    """Returns what a set knows of a recording that is one window, None where it knows nothing."""
    if rows is None or unit.first_window or unit.num_windows != 1 or not rows.may_have(recording.size):
        return None
    content = recording.content
    return rows.read(file_hash(recording.file) if content is None else content_hash(content))


def _take_windows(
    labeller: WindowLabeller,
    file: Listed,
    unit: WindowUnit,
    windowing: Windowing,
    ahead: ReadAhead,
    rows: KnownRows | None,
) -> list[Reject]:
    """Decodes the windows of a unit, or takes what is known of it, and returns its warnings."""
    first, count, spec = unit.first_window, unit.num_windows, labeller.spec
    found, end_seconds, whole, sound, cancelled = 0, 0.0, True, False, False
    with open_recording(file.place, first == 0, ahead) as recording:
        if (clip := _known_clip(recording, unit, rows)) is not None:
            labeller.take_known(clip)
            return []
        info = recording.probe()
        for window in window_waveforms(recording.source, info, spec, first, count, windowing):
            found, end_seconds = found + 1, window.end_seconds
            whole = whole and window.whole
            sound = sound or bool(window.waveform.any())
            cancelled = cancelled or window.cancelled
            labeller.take(window)
        cut_off = info.truncated or found < count or not whole
        if not cut_off and first + count == num_windows(info, spec, windowing):
            # What remains behind the last window is left out: then nothing else shows whether it is there.
            ended = round(end_seconds * info.rate_hz) >= info.frames
            cut_off = not ended and is_cut_off(recording.source, info)
    warnings = []
    if cut_off:
        warnings.append(remark(unit.path, Reason.TRUNCATED))
    elif not sound:
        warnings.append(remark(unit.path, Reason.SILENT))
    warnings += [remark(unit.path, code, said) for code, said in info.header_warnings.items()]
    if cancelled:
        warnings.append(remark(unit.path, CHANNELS_CANCEL))
    return warnings
