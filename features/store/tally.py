"""What a manifest says of the lines of a clips table, added up as they pass."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features.sources.leaks import CONTENT, ContentKeys
from features.sources.partition import partition_order
from features.store.decoders import count_decoders

COUNTED = [*CONTENT, "version", "label", "partition", "warning", "decoder", "shard"]
"""The columns of the lines that are counted."""


class Tally:
    """Counts lines of a clips table.

    Attributes:
        clips: number of lines.
        any_version: whether any is of an object of a store.
        contents: by which equal contents are found.
    """

    def __init__(self) -> None:
        """Begins with none."""
        self.clips = 0
        self.any_version = False
        self.contents = ContentKeys()
        self._seconds: list[float] = []
        self._classes: dict[str, Counter[str]] = {}
        self._warnings: Counter[str] = Counter()
        self._decoders: Counter[str] = Counter()

    def add_seconds(self, seconds: pa.ChunkedArray, rows: Sequence[int]) -> None:
        """Adds durations up: those of so many rows each, and then these sums exactly.

        So the sum is the same however many lines come together, where `rows` are those of shards.
        """
        first, together = 0, seconds.combine_chunks()
        for number in rows:
            self._seconds.append(pc.sum(together.slice(first, number)).as_py() or 0.0)
            first += number

    def add(self, lines: pa.Table) -> None:
        """Counts lines, with the columns `COUNTED` of `features.store.clips_table.CLIPS_SCHEMA`."""
        self.clips += len(lines)
        self.any_version |= lines["version"].null_count < len(lines)
        self.contents.add(lines)
        for row in lines.group_by(["label", "partition"]).aggregate([([], "count_all")]).to_pylist():
            self._classes.setdefault(row["label"], Counter())[row["partition"]] += row["count_all"]
        codes = pc.list_flatten(pc.split_pattern(lines["warning"].drop_null(), ";"))  # a clip may have several
        for row in pc.value_counts(codes).to_pylist():
            self._warnings[row["values"]] += row["counts"]
        self._decoders.update(count_decoders(lines["decoder"]))

    @property
    def classes(self) -> dict[str, dict[str, int]]:
        """Lines by class and partition, as `features.sources.partition.count` gives them."""
        order = partition_order([name for counts in self._classes.values() for name in counts])
        return {label: {name: counts[name] for name in order if name in counts}
                for label, counts in sorted(self._classes.items())}  # fmt: skip

    @property
    def decoders(self) -> dict[str, int]:
        """Lines by decoder."""
        return dict(sorted(self._decoders.items()))

    def counts(self, rejects: Sequence[str]) -> dict[str, Any]:
        """Returns what a manifest says; `rejects` are their reasons."""
        return {
            "clips": self.clips,
            "rejected": len(rejects),
            "seconds": math.fsum(self._seconds),
            "classes": self.classes,
            "rejects": dict(sorted(Counter(rejects).items())),
            "warnings": {code: number for code, number in sorted(self._warnings.items()) if code},
            "decoders": self.decoders,
        }
