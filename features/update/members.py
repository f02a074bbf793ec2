"""The members of a unit on their way into its shard, and what its report shall say of them."""

import functools
import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import NOT_FINITE_FEATURES, ClipError, Reason
from features.frontend.embedding import EMBEDDING_BATCH_WINDOWS
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import FrontEnd
from features.frontend.waveform import DecodedClip, fit_clips
from features.io.filesystem import Location
from features.sources.clips import Clip
from features.sources.policies import Policies, refusal
from features.store.parquet_rows import Place
from features.store.shards import ShardWriter
from features.store.statistics import Statistics, Sums
from features.store.unit_report import ROW_SCHEMA
from features.update.work_list import CLIP_COLUMNS

# So many clips are fitted, computed and written together, fewer where they have more samples than that.
_WAITING_CLIPS, _WAITING_SAMPLES = 8, 2**20


def _most_together(spec: FeatureSpec) -> tuple[int, float]:
    """Returns how many clips, and how many samples, are computed together.

    Of a network it is so many clips that their windows fill its batches, however long they are: to pad a batch costs
    as much as to compute it.
    """
    if spec.network_name is None or spec.clip_samples is None:
        return _WAITING_CLIPS, _WAITING_SAMPLES
    windows = spec.count_frames(spec.clip_samples)
    least = EMBEDDING_BATCH_WINDOWS // math.gcd(windows, EMBEDDING_BATCH_WINDOWS)
    return least * max(1, min(_WAITING_CLIPS, _WAITING_SAMPLES // spec.clip_samples) // least), math.inf


@dataclass(slots=True)
class Member:
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


def report_rows(members: list[Member], places: list[Place]) -> pa.Table:
    """Returns the rows of the report, of `ROW_SCHEMA`; `places` says where the tensor of each row lies."""
    columns: dict[str, list[object]] = {}
    for name in CLIP_COLUMNS:
        columns[name] = [getattr(member.clip, name) for member in members]
    for name in ("content_hash", "seconds", "warning", "decoder", "row", "stage", "reason", "message"):
        columns[name] = [getattr(member, name) for member in members]
    for name in Place._fields:
        columns[name] = [None if member.row is None else getattr(places[member.row], name) for member in members]
    return pa.table(columns, schema=ROW_SCHEMA)


class MemberRows:
    """Rows on their way into a shard: a few at a time, so that what is in work stays in the cache of a core."""

    def __init__(self, shard: ShardWriter, spec: FeatureSpec, policies: Policies, networks: Location) -> None:
        """Takes a shard that has no rows yet, and what its rows are made by; `networks` is where the network lies."""
        self._shard, self._spec, self._policies, self._networks = shard, spec, policies, networks
        self._most, self._most_samples = _most_together(spec)
        self._features = np.empty((self._most, *spec.shape), dtype=spec.storage_dtype)
        self._sums = Sums(spec.shape)
        self._waiting: list[tuple[Member, NDArray[np.floating] | DecodedClip]] = []
        self._samples = 0

    def add(self, member: Member, content: NDArray[np.floating] | DecodedClip) -> None:
        """Takes a clip, or its features where they are computed already.

        Its row and its warning are noted in `member`, or why it has none.
        """
        self._waiting.append((member, content))
        self._samples += content.mono.size if isinstance(content, DecodedClip) else 0
        if len(self._waiting) == self._most or self._samples > self._most_samples:
            self.flush()

    def flush(self) -> None:
        """Fits, computes and writes what waits."""
        fitted = iter(fit_clips([one for _, one in self._waiting if isinstance(one, DecodedClip)], self._spec))
        taken: list[Member] = []
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

    def _write(self, taken: list[Member], waveforms: dict[int, NDArray[np.float32]]) -> None:
        features = self._features[: len(taken)]
        if len(waveforms) == len(features):
            self._front_end.compute(list(waveforms.values()), features)
        elif waveforms:  # others are copied
            computed = np.empty_like(features[: len(waveforms)])
            self._front_end.compute(list(waveforms.values()), computed)
            features[list(waveforms)] = computed
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

    @functools.cached_property
    def _front_end(self) -> FrontEnd:
        return FrontEnd(self._spec, self._networks)  # of a network it is loaded: not where all rows are copied

    @property
    def statistics(self) -> Statistics:
        """Sums over all rows written."""
        return self._sums.statistics()
