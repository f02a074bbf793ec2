"""Builds one shard: decode, mono, resample, fit, spectrogram, write; what happened stands in the shard's report."""

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.audio.decode import Source, file_error, probe_plain
from features.errors import NOT_FINITE_FEATURES, ClipError, Reason
from features.frontend.clip import decode_clip
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import FrontEnd
from features.frontend.waveform import DecodedClip, fit_clips
from features.sources.clips import Clip
from features.sources.content_hash import content_hash, file_hash
from features.sources.paths import clip_file
from features.sources.policies import DEFAULTS, Policies, refusal
from features.store.locks import committing
from features.store.manifest import existing_manifest
from features.store.parquet_rows import Place
from features.store.shards import RowReader, ShardWriter, shard_path
from features.store.statistics import Statistics, Sums
from features.store.unit_report import is_finished, report_path, write_report
from features.update.work_list import CachedRow, ShardUnit

# A file up to this size is read once and hashed and decoded from memory.
_IN_MEMORY_BYTES = 8 * 2**20
# So many clips are fitted, computed and written together, fewer where they have more samples than that.
_WAITING_CLIPS, _WAITING_SAMPLES = 8, 2**20
# Path, size and modification time: as long as they are the same, so is the content.
_FileState = tuple[str, int, int]


def build_shard(
    unit: ShardUnit, folder: str, root: str, spec: FeatureSpec, storage_format: str, policies: Policies = DEFAULTS
) -> bool:
    """Computes or copies the features of a unit's clips and writes its shard and, last, its report.

    A unit that is finished is left as it is. A clip that cannot be used becomes a reject in the report. A row that was
    to be copied and is not there as it was written is computed from its file.

    Args:
        unit: name and members.
        folder: the feature set.
        root: where the clips' paths begin.
        spec: the front end.
        storage_format: `tfrecord` or `parquet`.
        policies: whether odd clips are used.

    Returns:
        Whether anything was done.
    """
    if is_finished(folder, unit.name, storage_format):
        return False
    outcomes: list[dict[str, Any]] = []
    digests: dict[_FileState, str] = {}
    path = shard_path(folder, unit.name, storage_format)
    with contextlib.ExitStack() as ending:
        with RowReader(folder, storage_format, spec) as reader, ShardWriter(path, storage_format, spec) as shard:
            rows = _Rows(shard, spec, policies)
            for number, clip in enumerate(unit.clips):
                cached = unit.cached.get(number)
                tensor = None if cached is None else _copy(cached, clip, root, reader)
                try:
                    if cached is not None and tensor is not None:
                        digests[clip.path, clip.size, clip.mtime_ns] = cached.content_hash
                        outcome = {name: getattr(cached, name) for name in ("content_hash", "seconds", "warning")}
                        content: NDArray[np.floating] | DecodedClip = tensor
                    else:
                        content, outcome = _load(clip, root, spec, digests)
                except ClipError as error:
                    outcomes.append(_rejected(clip, error, digests))
                    continue
                outcomes.append({**vars(clip), **outcome})
                rows.add(clip, outcomes[-1], content)
            rows.flush()
            made, places = shard.finish()
            for outcome in outcomes:
                outcome.update({} if outcome["row"] is None else places[outcome["row"]]._asdict())
            # A run at the same time may commit what is replaced here: this happens under its lock, and not after.
            again = report_path(folder, unit.name).exists()
            if again:
                ending.enter_context(committing(Path(folder)))
            committed = again and _is_committed(folder, unit.name)
            if committed or not made.rows:
                shard.discard()
        if committed:
            return False
        write_report(folder, unit.name, spec.fingerprint, made if made.rows else None, rows.statistics, outcomes)
    return True


class _Rows:
    """Rows on their way into a shard: a few at a time, so that what is in work stays in the cache of a core."""

    def __init__(self, shard: ShardWriter, spec: FeatureSpec, policies: Policies) -> None:
        self._shard, self._spec, self._policies, self._front_end = shard, spec, policies, FrontEnd(spec)
        self._features = np.empty((_WAITING_CLIPS, *spec.shape), dtype=spec.storage_dtype)
        self._sums = Sums(spec.shape)
        self._waiting: list[tuple[Clip, dict[str, Any], NDArray[np.floating] | DecodedClip]] = []
        self._samples = 0

    def add(self, clip: Clip, outcome: dict[str, Any], content: NDArray[np.floating] | DecodedClip) -> None:
        """Takes a clip, or its features where they are computed already.

        Its row and what is odd about it are noted in `outcome`, or why it has none.
        """
        self._waiting.append((clip, outcome, content))
        self._samples += content.mono.size if isinstance(content, DecodedClip) else 0
        if len(self._waiting) == _WAITING_CLIPS or self._samples > _WAITING_SAMPLES:
            self.flush()

    def flush(self) -> None:
        """Fits, computes and writes what waits."""
        fitted = iter(fit_clips([one for *_, one in self._waiting if isinstance(one, DecodedClip)], self._spec))
        taken: list[tuple[Clip, dict[str, Any]]] = []
        waveforms: dict[int, NDArray[np.float32]] = {}  # by the row that they become
        for clip, outcome, content in self._waiting:
            values, warning = next(fitted) if isinstance(content, DecodedClip) else (content, outcome["warning"])
            if isinstance(values, ClipError):
                _refuse(outcome, values)
            elif error := refusal(warning, self._policies):
                _refuse(outcome, error)
            else:
                outcome["warning"] = warning
                if isinstance(content, DecodedClip):
                    waveforms[len(taken)] = values
                else:
                    self._features[len(taken)] = values
                taken.append((clip, outcome))
        self._waiting, self._samples = [], 0
        if taken:
            self._write(taken, waveforms)

    def _write(self, taken: list[tuple[Clip, dict[str, Any]]], waveforms: dict[int, NDArray[np.float32]]) -> None:
        features = self._features[: len(taken)]
        if len(waveforms) == len(features):
            self._front_end.compute(list(waveforms.values()), features)
        else:
            for row, waveform in waveforms.items():
                self._front_end.compute([waveform], features[row : row + 1])
        finite = self._sums.add(features)
        row = self._shard.rows
        for (_, outcome), good in zip(taken, finite, strict=True):
            if good:
                outcome["row"] = row
                row += 1
            else:
                _refuse(outcome, ClipError("features", Reason.NOT_FINITE, NOT_FINITE_FEATURES))
        clips = [clip for (clip, _), good in zip(taken, finite, strict=True) if good]
        self._shard.write(features if all(finite) else features[finite], clips)

    @property
    def statistics(self) -> Statistics:
        """Sums over all rows written."""
        return self._sums.statistics()


def _is_committed(folder: str, name: str) -> bool:
    manifest = existing_manifest(folder)
    return manifest is not None and any(shard.name == name for shard in manifest.all_shards)


def _copy(cached: CachedRow, clip: Clip, root: str, reader: RowReader) -> NDArray[np.floating] | None:
    """Returns the cached row of a clip, or None where it is damaged, or the file has another content."""
    if not cached.proven:
        try:
            if file_hash(clip_file(root, clip.path), like=cached.content_hash) != cached.content_hash:
                return None
        except OSError:
            return None
    return reader.read(cached.shard, Place(cached.offset, cached.crc32c))


def _load(
    clip: Clip, root: str, spec: FeatureSpec, digests: dict[_FileState, str]
) -> tuple[DecodedClip, dict[str, Any]]:
    """Decodes a clip; returns also what the report says of it; raises `ClipError` where there is none.

    What is hashed is remembered in `digests`: a recording that has many clips is hashed once.
    """
    path = clip_file(root, clip.path)
    source: Source = path
    info = None
    try:
        with open(path, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            state = (clip.path, status.st_size, status.st_mtime_ns)
            if state not in digests and status.st_size > _IN_MEMORY_BYTES:
                digests[state] = file_hash(path, like=clip.content_hash)
            elif state not in digests:
                content = file.read(status.st_size)
                while len(content) < status.st_size and (more := file.read(status.st_size - len(content))):
                    content += more
                digests[state] = content_hash(content, like=clip.content_hash)
                # What another process decodes it had better read itself.
                info = probe_plain(content, len(content))
                source = path if info is None else content
    except OSError as error:
        raise file_error(error) from error
    digest = digests[state]
    failure = None
    try:
        decoded = decode_clip(source, spec, clip.start, clip.duration, info)
    except ClipError as error:
        failure = error  # of the file that was listed, or of what has taken its place
    try:
        after = os.stat(path) if source is path else status
    except OSError as error:
        raise ClipError("decode", Reason.VANISHED, "the file went away while it was read") from error
    unchanged = (clip.size, clip.mtime_ns) == (after.st_size, after.st_mtime_ns) and clip.content_hash in (None, digest)
    if not unchanged:
        raise ClipError("decode", Reason.VANISHED, "the file changed after it was listed; run featurize again")
    if failure is not None:
        raise failure
    return decoded, {"content_hash": digest, "seconds": decoded.seconds}


def _rejected(clip: Clip, error: ClipError, digests: dict[_FileState, str]) -> dict[str, Any]:
    # With the hash, a file that is touched and not changed need not be tried again.
    digest = digests.get((clip.path, clip.size, clip.mtime_ns), clip.content_hash)
    return {**vars(clip), **_refused(error), "content_hash": digest}


def _refuse(outcome: dict[str, Any], error: ClipError) -> None:
    """Notes of a clip that seemed to be good why it is not used."""
    outcome.update(_refused(error), seconds=None, warning=None)


def _refused(error: ClipError) -> dict[str, Any]:
    return {"row": None, "stage": error.stage, "reason": str(error.reason), "message": error.message}
