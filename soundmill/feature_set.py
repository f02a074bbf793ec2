"""A feature set, opened for reading."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import UsageError
from features.frontend.spec import FeatureSpec
from features.io.filesystem import Location, place
from features.sources.partition import parse_partitions
from features.store.clip_features import read_clip
from features.store.clips_table import read_clips
from features.store.manifest import Manifest, load_manifest
from model.training.rows import Batch, Rows, batches

if TYPE_CHECKING:
    from model.training.dataset import Dataset

_COLUMNS = ("path", "start", "duration", "label", "group", "partition", "seconds", "warning", "decoder")


@dataclass(frozen=True)
class FeatureSet:
    """A feature set as it was committed when it was opened; `soundmill.open_features` makes one.

    Its length is the number of its clips. It may be used by several threads.

    Attributes:
        folder: of the set.
    """

    folder: Location
    _manifest: Manifest = field(repr=False)

    @classmethod
    def open(cls, folder: str | PathLike[str]) -> "FeatureSet":
        """Opens a set; see `soundmill.open_features`."""
        return cls(place(folder), load_manifest(folder))

    @property
    def spec(self) -> FeatureSpec:
        """The front end that made the features, with `sample_rate_hz`, `clip_seconds`, `shape` and the rest."""
        return self._manifest.spec

    @property
    def classes(self) -> list[str]:
        """The labels, sorted; the place of a label is its class id."""
        return list(self._manifest.classes)

    @property
    def counts(self) -> dict[str, Any]:
        """What the manifest counts: `clips`, `seconds`, `rejected`, `rejects` by reason, `warnings` and others."""
        return dict(self._manifest.counts)

    @property
    def partitions(self) -> dict[str, int]:
        """The number of clips by partition: `training`, `validation` and `testing`, or folds."""
        return {name: self._manifest.rows([name]) for name in self._manifest.partitions}

    def __len__(self) -> int:
        """Returns the number of clips."""
        return self._manifest.rows(self._manifest.partitions)

    def clips(self) -> pa.Table:
        """Returns a row a clip.

        Returns:
            Arrow table of `path` (relative to the root of the source), `start` and `duration` (in frames of the file;
            duration is null for all that follows), `label`, `group`, `partition`, `seconds` (before it was fitted),
            `warning` (codes such as `truncated` and `joined`, with `;` between them, or null) and `decoder` (`wav`, or
            name and version of what read the file, null where that is not known); `.to_pandas()` makes a data frame.

        Raises:
            RunError: the clips table of the set cannot be read, or is not the one that was committed.
        """
        return self._clips.select(_COLUMNS)

    def array(self, path: str, start: int = 0) -> NDArray[np.floating]:
        """Reads the features of one clip.

        Args:
            path: of its file, as `clips()` has it.
            start: first frame of the clip within the file, where a table cut clips out of files.

        Returns:
            An array of spec.storage_dtype and shape spec.shape.

        Raises:
            UsageError: the set has no such clip.
            RunError: the shard that holds it is missing or damaged.
        """
        return read_clip(self._manifest.layout(self.folder), self._manifest, self._clips, path, start)

    def batches(
        self, partitions: str | Sequence[str], batch_size: int, seed: int | None = None, epoch: int = 0
    ) -> Iterator[Batch]:
        """Yields the clips of some partitions once, without TensorFlow; memory follows four shards and not the set.

        Args:
            partitions: names, or one text with commas: `"training,validation"`.
            batch_size: clips a batch; the last one may be smaller.
            seed: of the shuffling, None for the order of the set.
            epoch: with the same seed each epoch has another order, the one that `soundmill train` gives it.

        Yields:
            Features, float32 of shape (clips, *spec.shape, 1) as the networks take them, and class ids, int32 of shape
            (clips,).

        Raises:
            UsageError: there is no such partition, it has no clips, or the batch size is below 1.
            RunError: a shard is missing or damaged.
        """
        return batches(self._rows(partitions, batch_size), batch_size, seed, epoch)

    def dataset(self, partitions: str | Sequence[str], batch_size: int, seed: int | None = None) -> "Dataset":
        """Returns the batches of `batches` as a `tf.data.Dataset`, for `fit` and `evaluate` of Keras.

        Each pass over it is one epoch; with a seed each has another order. What goes wrong while it is read comes as
        an error of TensorFlow's that has soundmill's message in it.

        Args:
            partitions: names, or one text with commas.
            batch_size: clips a batch; the last one may be smaller.
            seed: of the shuffling, None for the order of the set.

        Raises:
            UsageError: as in `batches`.
        """
        rows = self._rows(partitions, batch_size)
        from model.training.dataset import epoch_dataset

        return epoch_dataset(rows, batch_size, seed)

    @cached_property
    def _clips(self) -> pa.Table:
        return read_clips(self._manifest.layout(self.folder), self._manifest)

    def _rows(self, partitions: str | Sequence[str], batch_size: int) -> Rows:
        names = parse_partitions(partitions if isinstance(partitions, str) else ",".join(partitions))
        rows = Rows(self.folder, self._manifest, names, self.classes)
        if not len(rows):
            held = ", ".join(name for name, count in self.partitions.items() if count)
            raise UsageError(f"no clip of {self.folder} is in {', '.join(names)}; there are clips in {held}")
        if batch_size < 1:
            raise UsageError(f"a batch has one clip at least, not {batch_size}")
        return rows
