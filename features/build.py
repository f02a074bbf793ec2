"""Builds one shard: decode, mono, resample, fit, spectrogram, write; what happened stands in the shard's report."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from numpy.typing import NDArray

from features.atomic import AtomicFile
from features.decode import Source, file_error, is_plain_wav
from features.errors import ClipError, Reason
from features.fit import clip_waveform
from features.plan import ShardUnit, content_hash, file_hash
from features.shards import Shard, shard_path, write_shard
from features.sources import Clip, clip_file
from features.spec import FeatureSpec
from features.spectrogram import compute_features
from features.statistics import Statistics

_BATCH_CLIPS = 64
# A file up to this size is read once and hashed and decoded from memory.
_IN_MEMORY_BYTES = 8 * 2**20
_METADATA_KEY = b"soundmill"
# Path, size and modification time: as long as they are the same, so is the content.
_FileState = tuple[str, int, int]
_ROW_SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "start": pa.int64(),
        "duration": pa.int64(),
        "size": pa.int64(),
        "mtime_ns": pa.int64(),
        "content_hash": pa.string(),
        "label": pa.string(),
        "group": pa.string(),
        "partition": pa.string(),
        "seconds": pa.float64(),
        "warning": pa.string(),
        "row": pa.int32(),
        "offset": pa.int64(),
        "stage": pa.string(),
        "reason": pa.string(),
        "message": pa.string(),
    }
)


@dataclass(frozen=True)
class Report:
    """What the commit must know of a unit.

    Attributes:
        name: of the unit.
        shard: the shard, None where no clip was usable.
        statistics: sums over the shard's rows.
        versions: of the libraries that computed it.
        rows: table with a row a member: the clip, where it lies (row, offset), or stage, reason and message.
    """

    name: str
    shard: Shard | None
    statistics: Statistics
    versions: dict[str, str]
    rows: pa.Table


def library_versions() -> dict[str, str]:
    """Returns the versions of what computes features."""
    names = ("soundmill", "numpy", "scipy", "soxr", "soundfile", "pyarrow")
    versions = {name: version(name) for name in names}
    return {"python": platform.python_version(), "libsndfile": soundfile.__libsndfile_version__, **versions}


def report_path(folder: str | Path, name: str) -> Path:
    """Returns where the report of a unit lies."""
    return Path(folder) / "reports" / f"{name}.parquet"


def is_finished(folder: str | Path, name: str, storage_format: str) -> bool:
    """Tells whether a unit's report exists and the shard that it names has its size."""
    try:
        metadata = json.loads(pq.read_schema(report_path(folder, name)).metadata[_METADATA_KEY])
        shard = metadata["shard"]
        return shard is None or os.path.getsize(shard_path(folder, name, storage_format)) == shard["bytes"]
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError):
        return False


def read_report(folder: str | Path, name: str) -> Report:
    """Reads the report of a finished unit."""
    rows = pq.read_table(report_path(folder, name))
    metadata = json.loads(rows.schema.metadata[_METADATA_KEY])
    shard = Shard(**metadata["shard"]) if metadata["shard"] else None
    statistics = Statistics.from_dict(metadata["statistics"])
    return Report(name, shard, statistics, metadata["versions"], rows.replace_schema_metadata())


def build_shard(unit: ShardUnit, folder: str, root: str, spec: FeatureSpec, storage_format: str) -> bool:
    """Computes the features of a unit's clips and writes its shard and, last, its report.

    A unit that is finished is left as it is. A clip that cannot be used becomes a reject in the report.

    Args:
        unit: name and members.
        folder: the feature set.
        root: where the clips' paths begin.
        spec: the front end.
        storage_format: `tfrecord` or `parquet`.

    Returns:
        Whether anything was computed.
    """
    if is_finished(folder, unit.name, storage_format):
        return False
    table = np.empty((len(unit.clips), *spec.shape), dtype=spec.storage_dtype)
    # Waveforms of their own lengths gain nothing from a batch, and one may be long.
    batch_clips = 1 if spec.clip_samples is None else _BATCH_CLIPS
    outcomes: list[dict[str, Any]] = []
    kept: list[Clip] = []
    pending: list[NDArray[np.float32]] = []
    digests: dict[_FileState, str] = {}
    for clip in unit.clips:
        try:
            waveform, outcome = _load(clip, root, spec, digests)
        except ClipError as error:
            outcomes.append(_rejected(clip, error))
            continue
        outcomes.append({**vars(clip), **outcome, "row": len(kept)})
        kept.append(clip)
        pending.append(waveform)
        if len(pending) == batch_clips:
            table[len(kept) - len(pending) : len(kept)] = compute_features(pending, spec)
            pending = []
    table[len(kept) - len(pending) : len(kept)] = compute_features(pending, spec)
    table = table[: len(kept)]
    shard = None
    if kept:
        shard, offsets = write_shard(shard_path(folder, unit.name, storage_format), storage_format, table, kept)
        for outcome in outcomes:
            outcome["offset"] = None if outcome["row"] is None else offsets[outcome["row"]]
    _write_report(folder, unit.name, shard, Statistics.of(table), outcomes)
    return True


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
                content = file.read()
                digests[state] = content_hash(content)
                # soundfile is three times as fast from a path as from memory.
                source = content if is_plain_wav(content) else path
    except OSError as error:
        raise file_error(error) from error
    digest = digests[state]
    waveform, seconds, warning = clip_waveform(source, spec, clip.start, clip.duration)
    try:
        after = os.stat(path) if source is path else status
    except OSError as error:
        raise ClipError("decode", Reason.VANISHED, "the file went away while it was read") from error
    unchanged = (clip.size, clip.mtime_ns) == (after.st_size, after.st_mtime_ns) and clip.content_hash in (None, digest)
    if not unchanged:
        raise ClipError("decode", Reason.VANISHED, "the file changed after it was listed; run featurize again")
    return waveform, {"content_hash": digest, "seconds": seconds, "warning": warning}


def _rejected(clip: Clip, error: ClipError) -> dict[str, Any]:
    outcome = {"row": None, "stage": error.stage, "reason": str(error.reason), "message": error.message}
    return {**vars(clip), **outcome}


def _write_report(
    folder: str, name: str, shard: Shard | None, statistics: Statistics, outcomes: list[dict[str, Any]]
) -> None:
    metadata = {
        "shard": asdict(shard) if shard else None,
        "statistics": statistics.to_dict(),
        "versions": library_versions(),
    }
    schema = _ROW_SCHEMA.with_metadata({_METADATA_KEY: json.dumps(metadata, sort_keys=True)})
    with AtomicFile(report_path(folder, name)) as file:
        pq.write_table(pa.Table.from_pylist(outcomes, schema=schema), pa.PythonFile(file, mode="w"))
