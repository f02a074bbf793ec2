"""Builds one shard: decode, mono, resample, fit, spectrogram, write; what happened stands in the shard's report."""

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.contents import content_hash, file_hash
from features.decode import Source, file_error, is_plain_wav
from features.errors import NOT_FINITE_FEATURES, ClipError, Reason
from features.fit import clip_waveform
from features.locks import committing
from features.manifest import existing_manifest
from features.paths import clip_file
from features.policies import DEFAULTS, Policies, refusal
from features.report import is_finished, report_path, write_report
from features.shards import Place, RowReader, shard_path, write_shard
from features.sources import Clip
from features.spec import FeatureSpec
from features.spectrogram import compute_features
from features.statistics import Statistics
from features.units import CachedRow, ShardUnit

_BATCH_CLIPS = 64
# A file up to this size is read once and hashed and decoded from memory.
_IN_MEMORY_BYTES = 8 * 2**20
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
    table = np.empty((len(unit.clips), *spec.shape), dtype=spec.storage_dtype)
    # Waveforms of their own lengths gain nothing from a batch, and one may be long.
    batch_clips = 1 if spec.clip_samples is None else _BATCH_CLIPS
    outcomes: list[dict[str, Any]] = []
    kept: list[Clip] = []
    pending: dict[int, NDArray[np.float32]] = {}  # waveforms by the row that they become
    digests: dict[_FileState, str] = {}
    with RowReader(folder, storage_format, spec) as reader:
        for number, clip in enumerate(unit.clips):
            cached = unit.cached.get(number)
            tensor = None if cached is None else _copy(cached, clip, root, reader)
            try:
                if cached is not None and tensor is not None:
                    digests[clip.path, clip.size, clip.mtime_ns] = cached.content_hash
                    outcome = {name: getattr(cached, name) for name in ("content_hash", "seconds", "warning")}
                else:
                    waveform, outcome = _load(clip, root, spec, digests)
                if error := refusal(outcome["warning"], policies):
                    raise error
            except ClipError as error:
                outcomes.append(_rejected(clip, error, digests))
                continue
            if tensor is not None:
                table[len(kept)] = tensor
            else:
                pending[len(kept)] = waveform
            outcomes.append({**vars(clip), **outcome, "row": len(kept)})
            kept.append(clip)
            if len(pending) == batch_clips:
                _compute(table, pending, spec)
    if pending:
        _compute(table, pending, spec)
    table, kept, statistics = _finite(table[: len(kept)], kept, outcomes)
    shard = None
    # A run at the same time may commit what is replaced here: this happens under its lock, and not after.
    again = report_path(folder, unit.name).exists()
    with committing(Path(folder)) if again else contextlib.nullcontext():
        if again and _is_committed(folder, unit.name):
            return False
        if kept:
            shard, places = write_shard(shard_path(folder, unit.name, storage_format), storage_format, table, kept)
            for outcome in outcomes:
                outcome.update({} if outcome["row"] is None else places[outcome["row"]]._asdict())
        write_report(folder, unit.name, spec.fingerprint, shard, statistics, outcomes)
    return True


def _compute(table: NDArray[np.floating], pending: dict[int, NDArray[np.float32]], spec: FeatureSpec) -> None:
    table[list(pending)] = compute_features(list(pending.values()), spec)
    pending.clear()


def _finite(
    table: NDArray[np.floating], kept: list[Clip], outcomes: list[dict[str, Any]]
) -> tuple[NDArray[np.floating], list[Clip], Statistics]:
    """Returns rows, their clips and sums; clips whose features are not finite have become rejects in `outcomes`."""
    with np.errstate(invalid="ignore"):
        statistics = Statistics.of(table)
    if statistics.is_finite:
        return table, kept, statistics
    finite = np.isfinite(table).all(axis=tuple(range(1, table.ndim)))
    rows = np.cumsum(finite) - 1
    for outcome in outcomes:
        row = outcome["row"]
        if row is None or finite[row]:
            outcome["row"] = None if row is None else int(rows[row])
            continue
        error = ClipError("features", Reason.NOT_FINITE, NOT_FINITE_FEATURES)
        outcome.update(_refused(error), seconds=None, warning=None)
    table = table[finite]
    return table, [clip for clip, good in zip(kept, finite, strict=True) if good], Statistics.of(table)


def _is_committed(folder: str, name: str) -> bool:
    manifest = existing_manifest(folder)
    return manifest is not None and any(shard.name == name for shard in manifest.shards(manifest.partitions))


def _copy(cached: CachedRow, clip: Clip, root: str, reader: RowReader) -> NDArray[np.floating] | None:
    """Returns the cached row of a clip, or None where it is damaged, or the file has another content."""
    if not cached.proven:
        try:
            if file_hash(clip_file(root, clip.path)) != cached.content_hash:
                return None
        except OSError:
            return None
    return reader.read(cached.shard, Place(cached.offset, cached.crc32c))


def _load(
    clip: Clip, root: str, spec: FeatureSpec, digests: dict[_FileState, str]
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Returns the waveform of a clip and what the report says of it; raises `ClipError` where there is none.

    What is hashed is remembered in `digests`: a recording that has many clips is hashed once.
    """
    path = clip_file(root, clip.path)
    source: Source = path
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            state = (clip.path, status.st_size, status.st_mtime_ns)
            if state not in digests and status.st_size > _IN_MEMORY_BYTES:
                digests[state] = file_hash(path)
            elif state not in digests:
                content = file.read(status.st_size)
                digests[state] = content_hash(content)
                # soundfile is three times as fast from a path as from memory.
                source = content if is_plain_wav(content) else path
    except OSError as error:
        raise file_error(error) from error
    digest = digests[state]
    failure = None
    try:
        waveform, seconds, warning = clip_waveform(source, spec, clip.start, clip.duration)
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
    return waveform, {"content_hash": digest, "seconds": seconds, "warning": warning}


def _rejected(clip: Clip, error: ClipError, digests: dict[_FileState, str]) -> dict[str, Any]:
    # With the hash, a file that is touched and not changed need not be tried again.
    digest = digests.get((clip.path, clip.size, clip.mtime_ns), clip.content_hash)
    return {**vars(clip), **_refused(error), "content_hash": digest}


def _refused(error: ClipError) -> dict[str, Any]:
    return {"row": None, "stage": error.stage, "reason": str(error.reason), "message": error.message}
