"""Which class each label of a set counts as, and which rows of a class that names nothing are used."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import UsageError
from features.io.entry import AnyPath
from features.sources.labels import near_labels
from features.store.manifest import Manifest
from model.inference.classes import NOT_NAMED, SILENCE, UNKNOWN
from model.training.holdout import Selection, clips_of, in_order, is_selected
from model.training.section import option
from model.training.settings import LabelSettings

NO_CLASS = -1
"""Class id of a row whose label is not among the classes."""


@dataclass(frozen=True)
class LabelPlan:
    """Which class each label counts as.

    Without `classes` and `unknown` each label is a class. With `classes` alone those are classes and all others are
    unknown; with `unknown` alone those are unknown and all others are classes; with both, a label in neither is not
    used. A label of a set that is called `_unknown_` or `_silence_` is one like the others, whose clips come to those
    of the class of that name.

    Attributes:
        settings: what was requested.
    """

    settings: LabelSettings = field(default_factory=LabelSettings)

    @property
    def is_plain(self) -> bool:
        """Whether each label is a class and each row is used."""
        return not self.draws_unknown and not self.settings.silence_share

    @property
    def draws_unknown(self) -> bool:
        """Whether clips of `_unknown_` are those of other labels, of which a share is used."""
        return bool(self.settings.classes or self.settings.unknown)

    def class_of(self, label: str) -> str | None:
        """Returns the class that a label counts as; None where its clips are not used."""
        classes, unknown = self.settings.classes, self.settings.unknown
        if label in unknown:
            return UNKNOWN
        if not classes or label in classes or (label == SILENCE and self.settings.silence_share):
            return label
        return None if unknown else UNKNOWN

    def classes(self, labels: Iterable[str]) -> list[str]:
        """Returns the classes of a training on these labels, in the order of their ids."""
        if self.is_plain:
            return list(labels)
        found = {self.class_of(label) for label in labels} | ({SILENCE} if self.settings.silence_share else set())
        named = sorted(name for name in found if name is not None and name not in NOT_NAMED)
        return named + [name for name in (SILENCE, UNKNOWN) if name in found]

    def check(self, labels: Sequence[str], features: str) -> None:
        """Raises `UsageError` where the labels of a set do not fit the settings."""
        for name in ("classes", "unknown"):
            for label in getattr(self.settings, name):
                if label not in labels:
                    raise UsageError(f"{option(name)} names {label!r}, and {features} has no such label; "
                                     f"{near_labels(label, labels)}")  # fmt: skip
        both = sorted(set(self.settings.classes) & set(self.settings.unknown))
        if both:
            raise UsageError(f"a label is a class or unknown, but --classes and --unknown both name {both[0]!r}")
        if UNKNOWN in self.settings.classes:
            raise UsageError(f"--classes names labels to tell apart, and {UNKNOWN} is what the others become; to have "
                             f"the clips of that label alone, give --unknown {UNKNOWN}")  # fmt: skip
        named = [label for label in self.classes(labels) if label not in NOT_NAMED]
        if not named:
            raise UsageError(f"no label of {features} is left to be a class of its own: all of them are in --unknown")

    def share(self, kept: int, unknown: int) -> int:
        """Returns how many clips of `_unknown_` are used: by the clips of kept labels, and those that there are."""
        if not self.draws_unknown or not kept:
            return unknown
        return min(unknown, max(1, round(self.settings.unknown_share * kept)))

    def silence(self, kept: int) -> int:
        """Returns how many windows of `_silence_` are used, by the clips of kept labels."""
        return max(1, round(self.settings.silence_share * kept)) if self.settings.silence_share and kept else 0


@dataclass(frozen=True)
class LabelledRows:
    """Rows of a set by what they count as, in the order of the shards and of their rows.

    Attributes:
        shards: names of the shards.
        shard: place of the shard of each row in `shards`, int64 of shape (rows,).
        row: number of each row in its shard, int64 of shape (rows,).
        kind: class id of each row, `NO_CLASS` for one that is used and has none, int64 of shape (rows,).
        left_out: clips of the labels that are not used, which are not among these rows.
    """

    shards: list[str]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    kind: NDArray[np.int64]
    left_out: dict[str, int]

    def selection(self, used: NDArray[np.bool_]) -> Selection:
        """Returns some of these rows by the names of their shards."""
        shard, row = self.shard[used], self.row[used]
        ends = np.searchsorted(shard, np.arange(1, len(self.shards)))  # the rows are in the order of their shards
        found = zip(self.shards, np.split(row, ends), strict=False)  # without shards one that is empty
        return {name: rows for name, rows in found if len(rows)}


@dataclass(frozen=True)
class Draw:
    """The rows to validate or test on: always the same ones of `_unknown_`.

    Attributes:
        selection: rows that are used; None for all.
        unknown: clips of `_unknown_` among them.
        unknown_of: clips of `_unknown_` that there are.
        silence: windows of `_silence_` that belong to them.
        left_out: clips of each label that is not used.
    """

    selection: Selection | None
    unknown: int = 0
    unknown_of: int = 0
    silence: int = 0
    left_out: dict[str, int] = field(default_factory=dict)


def label_rows(
    folder: AnyPath,
    manifest: Manifest,
    partitions: Iterable[str],
    plan: LabelPlan,
    classes: Sequence[str],
    within: Selection | None = None,
) -> LabelledRows:
    """Reads what the rows of some partitions count as.

    Args:
        folder: the feature set.
        manifest: its state.
        partitions: which rows.
        plan: what labels count as.
        classes: in the order of their ids.
        within: rows that may be used; None for all.

    Raises:
        RunError: the clips table cannot be read, or is not the one that was committed.
    """
    held = [shard.name for shard in manifest.shards(partitions) if within is None or shard.name in within]
    clips = in_order(clips_of(folder, manifest, partitions, ["label"]))
    numbers = pc.index_in(clips["shard"].cast(pa.string()), value_set=pa.array(held, pa.string()))
    clips, numbers = clips.filter(numbers.is_valid()), numbers.drop_null()
    labels = clips["label"].combine_chunks().dictionary_encode()
    names = labels.dictionary.to_pylist()
    ids = {name: number for number, name in enumerate(classes)}
    counted = [plan.class_of(name) for name in names]
    of_label = labels.indices.to_numpy()
    used = np.array([name is not None for name in counted], bool)[of_label]
    kind = np.array([ids.get(name or "", NO_CLASS) for name in counted], np.int64)[of_label]
    left_out = {name: int((of_label == number).sum()) for number, name in enumerate(names) if counted[number] is None}
    if within is not None:
        used &= is_selected(clips, within)
    return LabelledRows(
        shards=held,
        shard=numbers.to_numpy().astype(np.int64)[used],
        row=clips["row"].to_numpy().astype(np.int64)[used],
        kind=kind[used],
        left_out=left_out,
    )


def fixed_draw(
    folder: AnyPath,
    manifest: Manifest,
    partitions: Sequence[str],
    plan: LabelPlan,
    classes: Sequence[str],
    within: Selection | None = None,
) -> Draw:
    """Chooses the rows to validate or test on; arguments are those of `label_rows`.

    The clips of `_unknown_` are those whose paths have the smallest hashes: the choice follows from the clips alone, so
    that one more of them takes at most the place of the last. Where there are no clips of kept labels, all are used.
    """
    if plan.is_plain or not partitions:
        return Draw(within)
    rows = label_rows(folder, manifest, partitions, plan, classes, within)
    kept = int(is_kept(rows.kind, classes).sum())
    used = np.ones(len(rows.kind), bool)
    unknown = np.flatnonzero(rows.kind == classes.index(UNKNOWN)) if UNKNOWN in classes else np.empty(0, np.int64)
    count = plan.share(kept, len(unknown))
    if count < len(unknown):
        clips = clips_of(folder, manifest, partitions, ["path", "start"])
        chosen = is_selected(clips, rows.selection(rows.kind == classes.index(UNKNOWN)))
        clips = in_order(clips.filter(pa.array(chosen)))
        keys = zip(clips["path"].to_pylist(), clips["start"].to_pylist(), strict=True)
        hashes = np.array([_hash(path, start) for path, start in keys], dtype="S32")
        used[unknown[np.argsort(hashes, kind="stable")[count:]]] = False
    return Draw(
        selection=rows.selection(used),
        unknown=count,
        unknown_of=len(unknown),
        silence=plan.silence(kept),
        left_out=rows.left_out,
    )


def is_kept(kind: NDArray[np.int64], classes: Sequence[str]) -> NDArray[np.bool_]:
    """Returns of each row whether it is of a kept label, by its class id: (rows,) to (rows,)."""
    return ~np.isin(kind, [number for number, name in enumerate(classes) if name in NOT_NAMED])


def _hash(path: str, start: int | None) -> bytes:
    # Salted: partitions and held-out groups follow from other hashes, and shall have nothing to do with this one.
    return hashlib.sha256(f"unknown\0{path}\0{start or 0}".encode()).digest()
