"""The members of a unit on their way into its shard, and what its report shall say of them."""

import functools
import math
import operator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import NOT_FINITE_FEATURES, ClipError, Reason
from features.frontend.embedding import EMBEDDING_BATCH_WINDOWS
from features.frontend.plain_clips import PlainClip
from features.frontend.spec import FeatureSpec
from features.frontend.spectrogram import FrontEnd, Waveform, block_clips
from features.frontend.waveform import DecodedClip, fit_clips
from features.io.filesystem import Location
from features.sources.clips import Clip
from features.sources.policies import Policies, refusal
from features.store.parquet_rows import Place, rows_written_together
from features.store.shards import ShardWriter
from features.store.statistics import Statistics, Sums
from features.store.unit_report import ROW_SCHEMA
from features.update.work_list import CLIP_COLUMNS

# So many clips are fitted and computed together at most, fewer where they have more samples than that.
_WAITING_CLIPS, _WAITING_SAMPLES = 16, 2**20
_NETWORK_CLIPS = 8

Content = NDArray[np.floating] | DecodedClip | PlainClip
"""What a clip has when it is taken: features that are copied, or sound."""


def _most_together(spec: FeatureSpec) -> tuple[int, float]:
    """Returns how many clips, and how many samples, are computed together.

    Of a network it is so many clips that their windows fill its batches, however long they are: to pad a batch costs
    as much as to compute it.
    """
    if spec.network_name is None or spec.clip_samples is None:
        return max(block_clips(spec), min(_WAITING_CLIPS, rows_written_together(spec))), _WAITING_SAMPLES
    windows = spec.count_frames(spec.clip_samples)
    least = EMBEDDING_BATCH_WINDOWS // math.gcd(windows, EMBEDDING_BATCH_WINDOWS)
    return least * max(1, min(_NETWORK_CLIPS, _WAITING_SAMPLES // spec.clip_samples) // least), math.inf


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


# Not `content_hash` of the clip: that is what was planned, and of the member what was read.
_MEMBER_COLUMNS = ("content_hash", "seconds", "warning", "decoder", "row", "stage", "reason", "message")
_CLIP_VALUES, _MEMBER_VALUES = operator.attrgetter(*CLIP_COLUMNS), operator.attrgetter(*_MEMBER_COLUMNS)
_NOWHERE = (None, None)


def report_rows(members: list[Member], places: list[Place]) -> pa.Table:
    """Returns the rows of the report, of `ROW_SCHEMA`; `places` says where the tensor of each row lies."""
    if not members:
        return ROW_SCHEMA.empty_table()
    of_clips = zip(*map(_CLIP_VALUES, [member.clip for member in members]), strict=True)
    of_members = zip(*map(_MEMBER_VALUES, members), strict=True)
    of_rows = zip(*[_NOWHERE if member.row is None else places[member.row] for member in members], strict=True)
    columns = dict(zip(CLIP_COLUMNS, of_clips, strict=True))
    columns |= dict(zip(_MEMBER_COLUMNS, of_members, strict=True))
    columns |= dict(zip(Place._fields, of_rows, strict=True))
    return pa.table([pa.array(columns[field.name], field.type) for field in ROW_SCHEMA], schema=ROW_SCHEMA)


class MemberRows:
    """Rows on their way into a shard: a few at a time, so that what is in work stays in the cache of a core."""

    def __init__(self, shard: ShardWriter, spec: FeatureSpec, policies: Policies, networks: Location) -> None:
        """Takes a shard that has no rows yet, and what its rows are made by; `networks` is where the network lies."""
        self._shard, self._spec, self._policies, self._networks = shard, spec, policies, networks
        self._most, self._most_samples = _most_together(spec)
        rows = max(self._most, rows_written_together(spec))
        self._features = np.empty((rows, *spec.shape), dtype=spec.storage_dtype)
        self._sums = Sums(spec.shape)
        self._waiting: list[tuple[Member, Content]] = []
        self._samples = 0
        self._computed: list[Member] = []  # whose rows lie in `_features`, in their order

    def add(self, member: Member, content: Content) -> None:
        """Takes a clip, or its features where they are computed already.

        Its row and its warning are noted in `member`, or why it has none.
        """
        self._waiting.append((member, content))
        if isinstance(content, DecodedClip):
            self._samples += content.mono.size
        elif isinstance(content, PlainClip):
            self._samples += content.waveform.size
        if len(self._waiting) == self._most or self._samples > self._most_samples:
            self._compute_waiting()

    def flush(self) -> None:
        """Computes what waits, and writes all of it."""
        if self._waiting:
            self._compute_waiting()
        self._write()

    def _compute_waiting(self) -> None:
        """Fits and computes what waits."""
        decoded = [one for _, one in self._waiting if isinstance(one, DecodedClip)]
        fitted = iter(fit_clips(decoded, self._spec) if decoded else ())
        taken: list[Member] = []
        waveforms: dict[int, Waveform] = {}  # by the row that they become
        if len(self._computed) + len(self._waiting) > len(self._features):
            self._write()
        features = self._features[len(self._computed) :]
        for member, content in self._waiting:
            values: Waveform | NDArray[np.floating] | ClipError
            warning: str | None
            if isinstance(content, PlainClip):
                values, warning = content.waveform, content.warning
            elif isinstance(content, DecodedClip):
                values, warning = next(fitted)
            else:
                values, warning = content, member.warning
            if isinstance(values, ClipError):
                member.refuse(values)
            elif error := warning and refusal(warning, self._policies):
                member.refuse(error)
            else:
                member.warning = warning
                if isinstance(content, np.ndarray):
                    features[len(taken)] = values
                else:
                    waveforms[len(taken)] = values
                taken.append(member)
        self._waiting, self._samples = [], 0
        if taken:
            self._compute(taken, waveforms, features[: len(taken)])

    def _compute(self, taken: list[Member], waveforms: dict[int, Waveform], features: NDArray[np.floating]) -> None:
        if len(waveforms) == len(features):
            self._front_end.compute(list(waveforms.values()), features)
        elif waveforms:  # others are copied
            computed = np.empty_like(features[: len(waveforms)])
            self._front_end.compute(list(waveforms.values()), computed)
            features[list(waveforms)] = computed
        finite = self._sums.add(features)
        if all(finite):
            self._computed += taken
            return
        features[: sum(finite)] = features[finite]
        for member, good in zip(taken, finite, strict=True):
            if good:
                self._computed.append(member)
            else:
                member.refuse(ClipError("features", Reason.NOT_FINITE, NOT_FINITE_FEATURES))

    def _write(self) -> None:
        """Writes what is computed."""
        computed, self._computed = self._computed, []
        if not computed:
            return
        for row, member in enumerate(computed, self._shard.rows):
            member.row = row
        self._shard.write(self._features[: len(computed)], [member.clip for member in computed])

    @functools.cached_property
    def _front_end(self) -> FrontEnd:
        return FrontEnd(self._spec, self._networks)  # of a network it is loaded: not where all rows are copied

    @property
    def statistics(self) -> Statistics:
        """Sums over all rows written."""
        return self._sums.statistics()
