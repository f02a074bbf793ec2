"""Builds one shard: decode, mono, resample, fit, spectrogram, write; what happened stands in the shard's report."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.audio.decode import file_error
from features.audio.recording import Recording, open_recording
from features.audio.remote import Listed, ReadAhead
from features.errors import NOT_FINITE_FEATURES, RETRYABLE, ClipError, Reason
from features.frontend.clip import decode_clip
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import FrontEnd
from features.frontend.waveform import DecodedClip, fit_clips
from features.io.file_time import same_time
from features.io.filesystem import exists
from features.runtime.unit_progress import UNSEEN, UnitProgress
from features.sources.clips import Clip
from features.sources.content_hash import content_hash, file_hash
from features.sources.paths import clip_file
from features.sources.policies import DEFAULTS, Policies, refusal
from features.store.layout import Layout
from features.store.locks import committing
from features.store.manifest import existing_manifest
from features.store.parquet_rows import Place
from features.store.shards import RowReader, ShardWriter
from features.store.statistics import Statistics, Sums
from features.store.unit_report import ROW_SCHEMA, write_report
from features.update.work_list import CLIP_COLUMNS, CachedRow, ShardUnit

# So many clips are fitted, computed and written together, fewer where they have more samples than that.
_WAITING_CLIPS, _WAITING_SAMPLES = 8, 2**20
_FileState = tuple[str, int, int | str | None]  # `Clip.state`


@dataclass(slots=True)
class _Member:
    """A clip of the unit on its way into the shard, and what the report shall say of it.

    Attributes:
        clip: as it was listed.
        content_hash: of its file, None where that is not known.
        seconds: duration of the clip before it was fitted, None where it is not used.
        warning: `truncated` or `silent`, `wrong_size`, `joined`, `channels_cancel`, with `;` between them, or empty;
            None where it is not used.
        decoder: what read it, None where it is not used or that is not known.
        row: its row in the shard, None where it has none (yet).
        stage: where it was refused, None where it is used; `reason` and `message` say why.
    """

    clip: Clip
    content_hash: str | None
    seconds: float | None = None
    warning: str | None = None
    decoder: str | None = None
    row: int | None = None
    stage: str | None = None
    reason: str | None = None
    message: str | None = None

    def refuse(self, error: ClipError) -> None:
        """Notes why the clip is not used; the error itself would keep alive what was decoded."""
        self.stage, self.reason, self.message = error.stage, str(error.reason), error.message
        self.seconds = self.warning = self.decoder = None


def _nothing() -> None:
    pass


def build_shard(
    unit: ShardUnit,
    layout: Layout,
    root: str,
    spec: FeatureSpec,
    policies: Policies = DEFAULTS,
    cached_in: Layout | None = None,
    progress: UnitProgress = UNSEEN,
    check_source: Callable[[], None] = _nothing,
) -> bool:
    """Computes or copies the features of a unit's clips and writes its shard and, last, its report.

    A clip that cannot be used becomes a reject in the report. A row that was
    to be copied and is not there as it was written is computed from its file.

    Args:
        unit: name and members.
        layout: of the feature set, or of what else takes the shard and its report.
        root: where the clips' paths begin.
        spec: the front end.
        policies: whether clips that have a warning are used.
        cached_in: of the set whose shards hold the rows to copy, None for the same.
        progress: what is told how far the unit is.
        check_source: called before anything is written where clips cannot be used now that may be usable later; what
            it raises ends the work.

    Returns:
        Whether anything was done: not where another run has committed the unit in between.
    """
    members: list[_Member] = []
    digests: dict[_FileState, str] = {}
    with contextlib.ExitStack() as ending:
        ahead = ending.enter_context(ReadAhead(_objects(unit, root)))
        with RowReader(cached_in or layout, spec) as reader, ShardWriter(layout, unit.name, spec) as shard:
            rows = _Rows(shard, spec, policies)
            for number, clip in enumerate(unit.clips):
                progress.say(number, (member.reason for member in members))
                cached = unit.cached.get(number)
                tensor = None if cached is None else _copy(cached, clip, root, reader)
                if cached is not None and tensor is not None:
                    digests[clip.state] = cached.content_hash
                    of_row = cached.content_hash, cached.seconds, cached.warning, cached.decoder
                    members.append(_Member(clip, *of_row))
                    rows.add(members[-1], tensor)
                    continue
                try:
                    decoded, digest = _load(clip, root, spec, digests, ahead)
                except ClipError as error:
                    # With the hash, a file that is touched and not changed need not be tried again.
                    known = digests.get(clip.state, clip.content_hash)
                    members.append(_Member(clip, known))
                    members[-1].refuse(error)
                    continue
                members.append(_Member(clip, digest, decoded.seconds, decoder=decoded.decoder))
                rows.add(members[-1], decoded)
            rows.flush()
            if any(member.reason in RETRYABLE for member in members):
                check_source()
            made, places = shard.finish()
            # A run at the same time may commit what is replaced here: this happens under its lock, and not after.
            again = exists(layout.report(unit.name))
            if again:
                ending.enter_context(committing(layout))
            committed = again and _is_committed(layout, unit.name)
            if committed or not made.rows:
                shard.discard()
        if committed:
            return False
        table = _report_rows(members, places)
        write_report(layout, unit.name, spec.fingerprint, made if made.rows else None, rows.statistics, table)
    return True


def _report_rows(members: list[_Member], places: list[Place]) -> pa.Table:
    """Returns the rows of the report, of `ROW_SCHEMA`; `places` says where the tensor of each row lies."""
    columns: dict[str, list[object]] = {}
    for name in CLIP_COLUMNS:
        columns[name] = [getattr(member.clip, name) for member in members]
    for name in ("content_hash", "seconds", "warning", "decoder", "row", "stage", "reason", "message"):
        columns[name] = [getattr(member, name) for member in members]
    for name in Place._fields:
        columns[name] = [None if member.row is None else getattr(places[member.row], name) for member in members]
    return pa.table(columns, schema=ROW_SCHEMA)


class _Rows:
    """Rows on their way into a shard: a few at a time, so that what is in work stays in the cache of a core."""

    def __init__(self, shard: ShardWriter, spec: FeatureSpec, policies: Policies) -> None:
        self._shard, self._spec, self._policies, self._front_end = shard, spec, policies, FrontEnd(spec)
        self._features = np.empty((_WAITING_CLIPS, *spec.shape), dtype=spec.storage_dtype)
        self._sums = Sums(spec.shape)
        self._waiting: list[tuple[_Member, NDArray[np.floating] | DecodedClip]] = []
        self._samples = 0

    def add(self, member: _Member, content: NDArray[np.floating] | DecodedClip) -> None:
        """Takes a clip, or its features where they are computed already.

        Its row and its warning are noted in `member`, or why it has none.
        """
        self._waiting.append((member, content))
        self._samples += content.mono.size if isinstance(content, DecodedClip) else 0
        if len(self._waiting) == _WAITING_CLIPS or self._samples > _WAITING_SAMPLES:
            self.flush()

    def flush(self) -> None:
        """Fits, computes and writes what waits."""
        fitted = iter(fit_clips([one for _, one in self._waiting if isinstance(one, DecodedClip)], self._spec))
        taken: list[_Member] = []
        waveforms: dict[int, NDArray[np.float32]] = {}  # by the row that they become
        for member, content in self._waiting:
            values, warning = next(fitted) if isinstance(content, DecodedClip) else (content, member.warning)
            if isinstance(values, ClipError):
                member.refuse(values)
            elif error := refusal(warning, self._policies):
                member.refuse(error)
            else:
                member.warning = warning
                if isinstance(content, DecodedClip):
                    waveforms[len(taken)] = values
                else:
                    self._features[len(taken)] = values
                taken.append(member)
        self._waiting, self._samples = [], 0
        if taken:
            self._write(taken, waveforms)

    def _write(self, taken: list[_Member], waveforms: dict[int, NDArray[np.float32]]) -> None:
        features = self._features[: len(taken)]
        if len(waveforms) == len(features):
            self._front_end.compute(list(waveforms.values()), features)
        else:
            for row, waveform in waveforms.items():
                self._front_end.compute([waveform], features[row : row + 1])
        finite = self._sums.add(features)
        row = self._shard.rows
        for member, good in zip(taken, finite, strict=True):
            if good:
                member.row = row
                row += 1
            else:
                member.refuse(ClipError("features", Reason.NOT_FINITE, NOT_FINITE_FEATURES))
        clips = [member.clip for member in taken if member.row is not None]
        self._shard.write(features if all(finite) else features[finite], clips)

    @property
    def statistics(self) -> Statistics:
        """Sums over all rows written."""
        return self._sums.statistics()


def _is_committed(layout: Layout, name: str) -> bool:
    manifest = existing_manifest(layout.root)
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


def _objects(unit: ShardUnit, root: str) -> list[Listed]:
    """Returns the objects that are clips to be computed, in their order; of one with several clips parts are read."""
    clips = (clip for number, clip in enumerate(unit.clips) if number not in unit.cached)
    return [_listed(clip, root) for clip in clips if clip.version is not None and clip.is_whole]


def _listed(clip: Clip, root: str) -> Listed:
    return Listed(clip_file(root, clip.path), clip.size, clip.version)


def _load(
    clip: Clip, root: str, spec: FeatureSpec, digests: dict[_FileState, str], ahead: ReadAhead
) -> tuple[DecodedClip, str]:
    """Decodes a clip; returns also the hash of its file's content; raises `ClipError` where it cannot be used.

    What is hashed is remembered in `digests`: a recording that has many clips is hashed once.
    """
    listed = _listed(clip, root)
    with open_recording(listed.place, clip.is_whole, ahead, listed) as recording:
        state = _state(clip, recording)
        if state not in digests:
            digests[state] = _hash(recording, clip.content_hash)
        digest = digests[state]
        if state != clip.state or clip.content_hash not in (None, digest):
            changed = "the file changed after it was listed; run featurize again"
            raise ClipError("decode", Reason.VANISHED, changed)
        return decode_clip(recording.source, spec, clip.start, clip.duration, recording.plain_info), digest


def _state(clip: Clip, recording: Recording) -> _FileState:
    """Returns the state of a clip's file as it was opened; the clip's own where it is the same.

    On a worker's host the file may lie on a mount that keeps its time less exactly than the one by which it was listed.
    """
    if clip.version is not None:
        return clip.path, recording.size, recording.version
    now, listed = recording.mtime_ns, clip.mtime_ns
    if recording.size == clip.size and now is not None and listed is not None and same_time(now, listed):
        return clip.state
    return clip.path, recording.size, now


def _hash(recording: Recording, like: str | None) -> str:
    if recording.content is not None:
        return content_hash(recording.content, like=like)
    try:
        return file_hash(recording.file, like=like)
    except OSError as error:
        raise file_error(error) from error
