"""Which rows an epoch visits where that is not each row once: a share of some classes, or all classes alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.inference.classes import SILENCE, UNKNOWN
from model.training.label_plan import LabelledRows, LabelPlan, is_kept
from model.training.silence import Silence, SilenceRows, cycle

# Tells the numbers of the draw from those of order and augmentation, which have the same seed.
_DRAW = 2


@dataclass(frozen=True)
class Visit:
    """The rows that an epoch visits.

    Attributes:
        rows: numbers of the rows of each shard, sorted; a row may come several times. None for each row once.
        silence: windows of `_silence_`; None for none.
    """

    rows: list[NDArray[np.int64]] | None
    silence: SilenceRows | None = None


@dataclass(frozen=True)
class Sampler:
    """Draws the rows of each epoch from its seed and its number alone; each epoch has as many.

    Attributes:
        classes: in the order of their ids.
        shard: place of the shard of each row that may be drawn, int64 of shape (rows,).
        row: its number among the rows of its shard that may be drawn, int64 of shape (rows,).
        kind: its class id, int64 of shape (rows,).
        counts: rows of each class in an epoch that is not balanced, int64 of shape (classes,).
        is_balanced: whether each class comes as often as each other.
        silence: what windows of `_silence_` are drawn from; None for none.
        windows: how many of those are in an epoch that is not balanced, and among the counts.
    """

    classes: Sequence[str]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    kind: NDArray[np.int64]
    counts: NDArray[np.int64]
    is_balanced: bool
    silence: Silence | None = None
    windows: int = 0

    @classmethod
    def of(
        cls, rows: LabelledRows, plan: LabelPlan, classes: Sequence[str], silence: Silence | None, is_balanced: bool
    ) -> "Sampler":
        """Returns the sampler of the rows to train on."""
        counts = np.bincount(rows.kind, minlength=len(classes))
        kept = int(counts[is_kept(np.arange(len(classes)), classes)].sum())
        if UNKNOWN in classes:
            unknown = classes.index(UNKNOWN)
            counts[unknown] = plan.share(kept, int(counts[unknown]))
        windows = plan.silence(kept) if silence else 0
        if windows:
            counts[classes.index(SILENCE)] += windows
        places, first, shard = np.unique(rows.shard, return_index=True, return_inverse=True)
        row = np.arange(len(shard)) - first[shard] if len(places) else np.empty(0, np.int64)
        return cls(classes, shard, row, rows.kind, counts, is_balanced, silence, windows)

    def __len__(self) -> int:
        """Returns the number of rows of an epoch."""
        return int(self.counts.sum())

    def describe(self) -> str:
        """Returns in words what an epoch has."""
        if self.is_balanced:
            return f"{len(self):,} clips, as many of each class as of each other"
        of = np.bincount(self.kind, minlength=len(self.classes)).tolist()
        parts = [
            f"{name} {count:,}" + (f" of {of[number]:,}" if count < of[number] else "")
            for number, (name, count) in enumerate(zip(self.classes, self.counts.tolist(), strict=True))
        ]
        return ", ".join(parts)

    def visit(self, seed: int, epoch: int) -> Visit:
        """Returns the rows of an epoch; a row comes another time only when all of its class have come as often."""
        generator = np.random.default_rng([seed, epoch, _DRAW])
        windows = self.windows
        chosen = []
        for number, count in enumerate(self._counts_of(generator).tolist()):
            members = np.flatnonzero(self.kind == number)
            if windows and self.classes[number] == SILENCE:
                windows = round(count * self.windows / (len(members) + self.windows))
                count -= windows
            chosen.append(members[cycle(len(members), count, generator)])
        numbers = np.sort(np.concatenate(chosen))  # the rows are in the order of the shards
        bounds = np.searchsorted(self.shard[numbers], np.arange(self.shard[-1] + 2))
        rows = [self.row[numbers[bounds[place] : bounds[place + 1]]] for place in range(len(bounds) - 1)]
        return Visit(rows, self.silence.draw(windows, generator) if self.silence else None)

    def _counts_of(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Returns the rows of each class in an epoch: (classes,)."""
        if not self.is_balanced:
            return self.counts
        counts = np.zeros_like(self.counts)
        present = generator.permutation(np.flatnonzero(self.counts))
        counts[present] = len(self) // len(present)
        counts[present[: len(self) % len(present)]] += 1
        return counts
