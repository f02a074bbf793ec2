"""Features that a set has of whole clips, found by what is in their files, whatever these are called.

Contents of the same hash have the same features. The driver writes an index of those rows that may be asked for, and
any process that can read the set and the index takes features from the shards instead of computing them.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.io.filesystem import Location, filesystem_of
from features.sources.content_hash import is_current, number_of
from features.store.clips_table import clips_batches
from features.store.decoders import is_here, rows_of
from features.store.layout import Layout
from features.store.manifest import Manifest
from features.store.parquet_rows import Place
from features.store.row_reader import RowReader

_COLUMNS = ("high", "low", "offset", "crc32c", "seconds", "shard")
_INDEXED = ["size", "offset", "crc32c", "seconds", "shard"]
_READ = ["start", "duration", "size", "content_hash", "seconds", "warning", "decoder", "offset", "crc32c", "shard"]


class KnownClip(NamedTuple):
    """What a set knows of a clip.

    Attributes:
        features: spec.storage_dtype of shape spec.shape.
        seconds: duration of the clip.
    """

    features: NDArray[np.floating]
    seconds: float


@dataclass(frozen=True)
class KnownFeatures:
    """The index of the clips of a set.

    Attributes:
        place: of the index.
        layout: of the set.
        spec: the front end.
    """

    place: Location
    layout: Layout
    spec: FeatureSpec

    def __getstate__(self) -> dict[str, object]:
        """Returns what another process needs: it opens the index itself."""
        return {"place": self.place, "layout": self.layout, "spec": self.spec}

    def open(self) -> "KnownRows":
        """Returns what reads features, for one thread, to be used in a `with` block."""
        return KnownRows(self._index, RowReader(self.layout, self.spec))

    @functools.cached_property
    def _index(self) -> "_Index":
        files = filesystem_of(self.place)
        source = pa.memory_map(str(self.place)) if files.is_local else pa.BufferReader(files.read(self.place))
        table = pa.ipc.open_file(source).read_all()
        columns = {name: table[name].to_numpy() for name in _COLUMNS}
        names = table.schema.metadata[b"shards"].decode().split("\n")
        return _Index(**columns, sizes=np.unique(table["size"].to_numpy()), shards=names)


class _Index(NamedTuple):
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    offset: NDArray[np.int64]
    crc32c: NDArray[np.int64]
    seconds: NDArray[np.float64]
    shard: NDArray[np.int32]
    sizes: NDArray[np.int64]
    shards: list[str]


class KnownRows:
    """Reads features of an index, row by row."""

    def __init__(self, index: _Index, reader: RowReader) -> None:
        """Opens a shard when a row of it is requested."""
        self._index, self._reader = index, reader

    def may_have(self, size: int) -> bool:
        """Returns whether the file of some clip has so many bytes; else there is no need to hash one."""
        sizes = self._index.sizes
        found = int(np.searchsorted(sizes, size))
        return found < len(sizes) and int(sizes[found]) == size

    def read(self, content_hash: str) -> KnownClip | None:
        """Reads the features of a clip by the hash of its file, as `features.sources.content_hash` gives it.

        Returns:
            None where the set has no such clip, or the bytes that were written are not there any more.
        """
        index = self._index
        high, low = divmod(number_of(content_hash), 2**64)
        row = int(np.searchsorted(index.high, np.uint64(high)))
        while row < len(index.high) and int(index.high[row]) == high:
            if int(index.low[row]) == low:
                place = Place(int(index.offset[row]), int(index.crc32c[row]))
                features = self._reader.read(index.shards[int(index.shard[row])], place)
                if features is not None:
                    return KnownClip(features, float(index.seconds[row]))
            row += 1
        return None

    def __enter__(self) -> "KnownRows":
        """Returns the reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the shards."""
        self._reader.__exit__()


def write_index(place: Location, layout: Layout, manifest: Manifest, sizes: pa.ChunkedArray) -> int:
    """Writes the index of those rows that are of a whole clip, no longer than a window, without a warning.

    A longer clip has another part of itself as features, and of one with a warning there is more to be said than the
    set knows. Those that another decoder has read than the one here are left out too.

    Args:
        place: of the index.
        layout: of the set.
        manifest: its state.
        sizes: of the files that may be asked for.

    Returns:
        The number of rows.

    Raises:
        RunError: the clips table cannot be read.
    """
    found = [_usable(clips, sizes, manifest.spec) for clips in clips_batches(layout, manifest, _READ)]
    clips = pa.concat_tables(found).combine_chunks()
    order = np.lexsort((clips["low"].to_numpy(), clips["high"].to_numpy()))
    shards = clips["shard"].combine_chunks().dictionary_encode()
    columns = {name: clips[name].to_numpy()[order] for name in clips.column_names if name != "shard"}
    table = pa.table({**columns, "shard": shards.indices.to_numpy()[order]})
    table = table.replace_schema_metadata({"shards": "\n".join(shards.dictionary.to_pylist())})
    with filesystem_of(place).begin(place, durable=False) as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return len(table)


def _usable(clips: pa.Table, sizes: pa.ChunkedArray, spec: FeatureSpec) -> pa.Table:
    """Returns what the index has of those of some clips that are in it: the halves of their hashes, and `_INDEXED`."""
    decoders = [decoder for decoder in clips["decoder"].unique().to_pylist() if is_here(decoder)]
    usable = [
        pc.equal(clips["start"], 0),
        pc.is_null(clips["duration"]),
        pc.equal(clips["warning"].fill_null(""), ""),
        clips["offset"].is_valid(),  # versions of the format that do not know where a tensor lies
        pc.is_in(clips["size"], value_set=pc.unique(sizes)),
        rows_of(clips["decoder"], decoders),
        is_current(clips["content_hash"]),
    ]
    if spec.clip_samples is not None:
        usable.append(pc.less_equal(clips["seconds"], spec.clip_samples / spec.sample_rate_hz))
    clips = clips.filter(functools.reduce(pc.and_, usable))
    hashes = [divmod(number_of(text), 2**64) for text in clips["content_hash"].to_pylist()]
    high, low = np.array(hashes, np.uint64).reshape(-1, 2).T
    return clips.select(_INDEXED).append_column("high", pa.array(high)).append_column("low", pa.array(low))
