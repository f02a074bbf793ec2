"""The clips of a model page: what a run, or the runs of a cross-validation, predict for them, and what each is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import UsageError
from features.sources.partition import TESTING
from features.store.manifest import Manifest, load_manifest
from features.store.parquet_rows import Place
from features.store.row_reader import RowReader
from features.store.shards import read_shard
from model.evaluation.predictions import Predictions, join_predictions, predict_rows
from model.evaluation.tested_folds import ended_folds, is_cross_validation, predict_folds
from model.evaluation.tested_rows import TestedRows, tested_rows
from model.evaluation.trained_set import TrainedSet
from model.inference.executor import load_executor
from model.training.partitions import warn_of_test
from model.training.run_folder import settings_of

COLUMNS = (
    "path", "start", "duration", "size", "mtime_ns", "version", "label", "group", "partition", "seconds", "shard",
    "row", "offset", "crc32c", "warning",
)  # fmt: skip
"""What is known of a clip by the clips table; of a window of `_silence_` its path alone."""


@dataclass(frozen=True)
class TestedPart:
    """Clips that one network was tested on.

    Attributes:
        name: of the fold; empty where there is one part alone.
        run: the run folder.
        first: number of its first clip among all clips.
        tested: its rows.
    """

    name: str
    run: str
    first: int
    tested: TestedRows


@dataclass(frozen=True)
class TestedClips:
    """Clips with what was predicted for them, each by a network that did not learn from it.

    Attributes:
        features: the feature set.
        manifest: its state.
        classes: in the order of the networks' outputs.
        predictions: of all clips.
        clips: table of `COLUMNS`, a row a clip.
        parts: the clips by network, in their order.
        tested_on: the partitions; of a cross-validation its folds.
    """

    features: str
    manifest: Manifest
    classes: list[str]
    predictions: Predictions
    clips: pa.Table
    parts: list[TestedPart]
    tested_on: tuple[str, ...]

    @property
    def is_cross_validated(self) -> bool:
        """Whether the parts are folds, each judged by the network that was not trained on it."""
        return bool(self.parts[0].name)

    @property
    def runs(self) -> list[str]:
        """The run folders."""
        return [part.run for part in self.parts]

    def count_seen(self) -> int | None:
        """Returns how many of the clips their networks were trained on, by content; None where it cannot be known."""
        counts = [TrainedSet.of(part.run).count_seen(part.tested.rows) for part in self.parts]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    @property
    def all_classes(self) -> list[str]:
        """The classes, and behind them what clips count as that the networks do not know."""
        return [*self.classes, *sorted(set(self.predictions.true) - set(self.classes))]

    def true_ids(self) -> NDArray[np.int64]:
        """Returns the number of each clip's true class among `all_classes`: (clips,)."""
        return self.predictions.class_ids(self.all_classes)

    def rows(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Returns the columns of some clips, by their numbers."""
        found: list[dict[str, Any]] = self.clips.take(pa.array(list(numbers), pa.int64())).to_pylist()
        return found

    def features_of(self, numbers: Sequence[int]) -> dict[int, NDArray[np.floating]]:
        """Reads the features of some clips: by number, shape spec.shape; one that cannot be read any more is not there.

        Raises:
            RunError: a shard of an early format is missing or damaged.
        """
        layout, spec = self.manifest.layout(self.features), self.manifest.spec
        shards = {shard.name: shard for shard in self.manifest.all_shards}
        found: dict[int, NDArray[np.floating]] = {}
        rows = dict(zip(numbers, self.rows(numbers), strict=True))
        requested: dict[str, int] = {}
        for row in rows.values():
            if row["shard"] is not None:
                requested[row["shard"]] = requested.get(row["shard"], 0) + 1
        with RowReader(layout, spec, requested) as reader:
            # In the order of the shards, each of which is then opened, or in a store fetched, once.
            for number, row in sorted(rows.items()):
                tensor: NDArray[np.floating] | None
                if row["shard"] is None:
                    tensor = self._silence(number)
                elif row["offset"] is None:
                    tensor = read_shard(layout, shards[row["shard"]], spec).tensors[row["row"]]
                else:
                    tensor = reader.read(row["shard"], Place(row["offset"], row["crc32c"]))
                if tensor is not None:
                    found[number] = np.array(tensor)
        return found

    def _silence(self, number: int) -> NDArray[np.floating]:
        part = [part for part in self.parts if part.first <= number][-1]
        rows = part.tested.rows
        if rows.silence is None:
            raise ValueError(f"clip {number} is in no shard, and there is no _silence_")
        within = number - part.first - sum(map(rows.num_rows, rows.shards))
        return np.asarray(rows.silence.read(within, within + 1).tensors[0])


def first_run(run: str) -> str:
    """Returns a run folder, or that of the first fold of a cross-validation."""
    return str(Path(run) / ended_folds(run)[0].name) if is_cross_validation(run) else run


def trained_set(run: str) -> str:
    """Returns the feature set of a run, or of the runs of a cross-validation, by its record.

    Raises:
        UsageError: it has no such record.
    """
    features = TrainedSet.of(first_run(run)).features
    if features is None:
        raise UsageError(f"{run} does not say which features it was trained on; name a set with --features")
    return features


def predict_clips(run: str, features: str, test_on: tuple[str, ...] | None) -> TestedClips:
    """Predicts the clips that a page shows.

    Args:
        run: a run folder, or the folder of a cross-validation, whose folds are each predicted by the network that was
            not trained on them.
        features: the feature set.
        test_on: partitions to test on; None for those that the run names, or testing.

    Raises:
        UsageError: the run or the set cannot be used, or do not fit each other.
        RunError: a shard is missing or damaged.
    """
    manifest = load_manifest(features)
    if is_cross_validation(run):
        if test_on:
            raise UsageError(f"{run} is a cross-validation, which tests each of its folds; leave --test-on out")
        parts: list[TestedPart] = []
        predictions: list[Predictions] = []
        for fold in predict_folds(run, features):
            parts.append(TestedPart(fold.name, fold.run, sum(len(one.paths) for one in predictions), fold.tested))
            predictions.append(fold.predictions)
        tested_on = tuple(part.name for part in parts)
    else:
        settings = settings_of(Path(run), manifest)
        tested_on = test_on or (settings.rows.test_on if settings else ()) or _tested_by_default(run, manifest)
        if settings:
            warn_of_test(manifest, settings, tested_on)
        tested = tested_rows(run, features, tested_on)
        parts, predictions = [TestedPart("", run, 0, tested)], [predict_rows(load_executor(run), tested.rows)]
    tables = [clips_table(part.tested, one) for part, one in zip(parts, predictions, strict=True)]
    return TestedClips(
        features=features,
        manifest=manifest,
        classes=parts[0].tested.description.classes,
        predictions=join_predictions(predictions),
        clips=pa.concat_tables(tables).combine_chunks(),
        parts=parts,
        tested_on=tested_on,
    )


def _tested_by_default(run: str, manifest: Manifest) -> tuple[str, ...]:
    if TESTING not in manifest.partitions:
        raise UsageError(f"name with --test-on what {run} is judged by, which it was not trained on: its features have "
                         f"no partition {TESTING}, but {', '.join(manifest.partitions)}")  # fmt: skip
    return (TESTING,)


def clips_table(tested: TestedRows, predictions: Predictions) -> pa.Table:
    """Returns `COLUMNS` of the clips that were tested, in the order of their predictions."""
    clips = tested.rows.clips(COLUMNS)
    windows = predictions.paths[len(clips) :]  # of _silence_, which no clips table has
    if not windows:
        return clips
    empty = [pa.array(windows) if name == "path" else pa.nulls(len(windows), clips.schema.field(name).type)
             for name in COLUMNS]  # fmt: skip
    return pa.concat_tables([clips, pa.table(empty, schema=clips.schema)])
