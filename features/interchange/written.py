"""What a layout has written of a set."""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast

import pyarrow as pa

from features.errors import Reject
from features.frontend.spec import FeatureSpec
from features.interchange.placing import WRITTEN
from features.interchange.splits import split_name
from features.runtime.progress import Progress
from features.store.layout import Layout
from features.store.manifest import Manifest
from features.store.shards import Shard

CARD_COLUMNS = ("label", "partition", "seconds")
START_COLUMN = "start"


@dataclass(frozen=True)
class SourceSet:
    """The state of a set that is published.

    Attributes:
        layout: of the set.
        manifest: its committed state.
        clips: columns of its clips table: `CARD_COLUMNS`, and those that the layout needs.
        name: of the published data set.
    """

    layout: Layout
    manifest: Manifest
    clips: pa.Table
    name: str

    @property
    def spec(self) -> FeatureSpec:
        """The front end."""
        return self.manifest.spec

    @property
    def shards(self) -> dict[str, list[Shard]]:
        """Shards by the name of the split; of partitions without clips there is none.

        Neither library opens a split without rows: TensorFlow Datasets has "no examples" and datasets "no data".
        """
        held = self.manifest.partitions.items()
        return {split_name(partition): shards for partition, shards in held if self.manifest.rows([partition])}

    def starts(self, shard: Shard) -> list[int]:
        """Returns the first frame of each clip of a shard within its recording."""
        return cast(list[int], self.clips[START_COLUMN].slice(self._first_rows[shard.name], shard.rows).to_pylist())

    @cached_property
    def _first_rows(self) -> dict[str, int]:
        """The first row of each shard in the clips table, which has their order."""
        shards = self.manifest.all_shards
        firsts = itertools.accumulate((shard.rows for shard in shards), initial=0)
        return {shard.name: first for shard, first in zip(shards, firsts, strict=False)}

    @property
    def empty(self) -> list[str]:
        """The partitions without clips."""
        return [name for name in self.manifest.partitions if not self.manifest.rows([name])]


@dataclass
class Written:
    """What there is of a publication so far.

    Attributes:
        rows: by split.
        split_bytes: of the rows of a split in memory, or of its sounds; `datasets` passes over splits without them.
        ways: number of files by how they came to be, see `features.interchange.placing`.
        rejects: what could not be published.
    """

    rows: Counter[str] = field(default_factory=Counter)
    split_bytes: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    rejects: list[Reject] = field(default_factory=list)

    @property
    def reasons(self) -> Counter[str]:
        """Number of rejects by reason."""
        return Counter(str(reject.reason) for reject in self.rejects)

    def write(self, path: Path, content: str | bytes) -> None:
        """Writes a file that no file of the set is like."""
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.ways[WRITTEN] += 1


def with_progress(shards: dict[str, list[Shard]]) -> Iterator[tuple[str, int, Shard]]:
    """Yields split, number in it, and shard, one after the other, with a progress line in rows."""
    listed = [(split, number, shard) for split, held in shards.items() for number, shard in enumerate(held)]
    progress, done = Progress("publish", sum(shard.rows for *_, shard in listed), "clips"), 0
    for split, number, shard in listed:
        yield split, number, shard
        done += shard.rows
        progress.update(done)
    progress.close()
