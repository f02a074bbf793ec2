"""Builds one shard: decode, mono, resample, fit, spectrogram, write; what happened stands in the shard's report."""

import contextlib
import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.audio.decode import file_error
from features.audio.recording import Recording, open_recording
from features.audio.remote import Listed, ReadAhead
from features.errors import RETRYABLE, ClipError, Reason
from features.frontend.clip import decode_clip
from features.frontend.plain_clips import PlainClip, PlainClips
from features.frontend.spec import FeatureSpec
from features.frontend.waveform import DecodedClip
from features.io.file_time import same_time
from features.io.filesystem import exists
from features.runtime.blas_threads import one_blas_thread
from features.runtime.unit_progress import UNSEEN, UnitProgress
from features.sources.clips import Clip, FileState
from features.sources.content_hash import content_hash, file_hash
from features.sources.paths import clip_file
from features.sources.policies import DEFAULTS, Policies
from features.store.layout import Layout
from features.store.locks import committing
from features.store.manifest import existing_manifest
from features.store.parquet_rows import Place
from features.store.row_reader import RowReader
from features.store.shards import ShardWriter
from features.store.unit_report import write_report
from features.update.coded_clips import CodedClips
from features.update.members import Member, MemberRows, report_rows
from features.update.work_list import CachedRow, ShardUnit


def _nothing() -> None:
    pass


@dataclass
class UnitWork:
    """A unit that a worker is at.

    Attributes:
        unit: name and members.
        root: where the clips' paths begin.
        ahead: its objects, which are on their way; whoever made it ends it.
        progress: what is told how far the unit is.
    """

    unit: ShardUnit
    root: str
    ahead: ReadAhead
    progress: UnitProgress = UNSEEN


class ComputedShard:
    """A shard that is computed and has no name yet: either of its methods is called, from any thread."""

    def __init__(
        self, layout: Layout, name: str, shard: ShardWriter, naming: contextlib.ExitStack, report: Callable[[], None]
    ) -> None:
        """Takes what there is of it.

        Args:
            layout: of the feature set.
            name: of the unit.
            shard: all of whose rows are written.
            naming: with whose end the shard takes its name.
            report: writes the report.
        """
        self._layout, self._name, self._shard, self._naming, self._report = layout, name, shard, naming, report

    def write(self) -> bool:
        """Has it take its name, and writes its report; returns what `build_shard` does."""
        with contextlib.ExitStack() as locked:
            with self._naming:
                # A run at the same time may commit what is replaced here: this happens under its lock, and not after.
                again = exists(self._layout.report(self._name))
                if again:
                    locked.enter_context(committing(self._layout))
                committed = again and _is_committed(self._layout, self._name)
                if committed or not self._shard.rows:
                    self._shard.discard()
            if committed:
                return False
            self._report()
        return True

    def discard(self) -> None:
        """Leaves nothing of it; where it was written nothing happens."""
        self._shard.discard()
        self._naming.close()


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
    with read_ahead(unit, root) as ahead:
        work = UnitWork(unit, root, ahead, progress)
        return compute_shard(work, layout, spec, policies, cached_in, check_source).write()


def compute_shard(
    work: UnitWork,
    layout: Layout,
    spec: FeatureSpec,
    policies: Policies = DEFAULTS,
    cached_in: Layout | None = None,
    check_source: Callable[[], None] = _nothing,
) -> "ComputedShard":
    """Does what `build_shard` does up to where the shard takes its name."""
    unit, root = work.unit, work.root
    members: list[Member] = []
    digests: dict[FileState, str] = {}
    copied = Counter(row.shard for row in unit.cached.values())
    with contextlib.ExitStack() as unnamed, RowReader(cached_in or layout, spec, copied) as reader, one_blas_thread():
        shard = unnamed.enter_context(ShardWriter(layout, unit.name, spec))
        rows = MemberRows(shard, spec, policies, (cached_in or layout).networks_folder)
        plain_clips, coded_clips = PlainClips(spec), CodedClips(unit, root, spec, digests)
        for number, clip in enumerate(unit.clips):
            work.progress.say(number, (member.reason for member in members))
            cached = unit.cached.get(number)
            tensor = None if cached is None else _copy(cached, clip, root, reader)
            if cached is not None and tensor is not None:
                digests[clip.state] = cached.content_hash
                of_row = cached.content_hash, cached.seconds, cached.warning, cached.decoder
                members.append(Member(clip, *of_row))
                rows.add(members[-1], tensor)
                continue
            try:
                sound, digest = coded_clips.take(number) or _load(clip, root, plain_clips, digests, work.ahead)
            except ClipError as error:
                # With the hash, a file that is touched and not changed need not be tried again.
                known = digests.get(clip.state, clip.content_hash)
                members.append(Member(clip, known))
                members[-1].refuse(error)
                continue
            members.append(Member(clip, digest, sound.seconds, decoder=sound.decoder))
            rows.add(members[-1], sound)
        rows.flush()
        if any(member.reason in RETRYABLE for member in members):
            check_source()
        made, places = shard.finish()
        table = report_rows(members, places)
        naming = unnamed.pop_all()
        report = functools.partial(write_report, layout, unit.name, spec, made if made.rows else None,
                                   rows.statistics, table)  # fmt: skip
    return ComputedShard(layout, unit.name, shard, naming, report)


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


def read_ahead(unit: ShardUnit, root: str) -> ReadAhead:
    """Asks for the objects that are clips to be computed, in their order; of one with several clips parts are read."""
    clips = (clip for number, clip in enumerate(unit.clips) if number not in unit.cached)
    return ReadAhead(_listed(clip, root) for clip in clips if clip.version is not None and clip.is_whole)


def _listed(clip: Clip, root: str) -> Listed:
    return Listed(clip_file(root, clip.path), clip.size, clip.version)


def _read_plain(clip: Clip, root: str, plain_clips: PlainClips) -> tuple[PlainClip, str] | None:
    """Does what `_load` does with a clip that is a plain WAV as it was listed; returns None for all others."""
    if clip.duration is not None or clip.start != 0 or clip.version is not None or clip.mtime_ns is None:
        return None
    sound = plain_clips.read(clip_file(root, clip.path), clip.size, clip.mtime_ns)
    if sound is None:
        return None
    digest = content_hash(sound.content, like=clip.content_hash)
    return (sound, digest) if clip.content_hash in (None, digest) else None


def _load(
    clip: Clip, root: str, plain_clips: PlainClips, digests: dict[FileState, str], ahead: ReadAhead
) -> tuple[DecodedClip | PlainClip, str]:
    """Decodes a clip; returns also the hash of its file's content; raises `ClipError` where it cannot be used.

    What is hashed is remembered in `digests`: a recording that has many clips is hashed once.
    """
    plain = _read_plain(clip, root, plain_clips)
    if plain is not None:
        digests[clip.state] = plain[1]
        return plain
    listed = _listed(clip, root)
    with open_recording(listed.place, clip.is_whole, ahead, listed) as recording:
        state = _state(clip, recording)
        if state not in digests:
            digests[state] = _hash(recording, clip.content_hash)
        digest = digests[state]
        if state != clip.state or clip.content_hash not in (None, digest):
            changed = "the file changed after it was listed; run featurize again"
            raise ClipError("decode", Reason.VANISHED, changed)
        return decode_clip(recording.source, plain_clips.spec, clip.start, clip.duration, recording.plain_info), digest


def _state(clip: Clip, recording: Recording) -> FileState:
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
