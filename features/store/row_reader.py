"""Single rows of shards, found by the places that the clips table has of them."""

import os
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import BinaryIO

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from features.frontend.spec import FeatureSpec
from features.store.layout import Layout
from features.store.parquet_rows import Place
from features.store.shards import MAX_BYTES

_MAX_OPEN_FILES = 256
_MOST_HELD_BYTES = 2 * MAX_BYTES


class RowReader:
    """Reads the tensors of single rows of a set's shards by their places, and checks them."""

    def __init__(self, layout: Layout, spec: FeatureSpec, rows: Mapping[str, int] = {}) -> None:
        """Opens nothing yet: a shard is opened when a row of it is requested.

        Args:
            layout: of the set.
            spec: the front end.
            rows: how many rows of a shard are going to be requested, as far as that is known: in a store a shard of
                which several are is read whole by the first request.
        """
        self._layout = layout
        self._dtype = np.dtype(spec.storage_dtype).newbyteorder("<")
        self._shape = spec.shape
        self._row_bytes = spec.row_bytes
        self._files: dict[str, BinaryIO] = {}
        self._is_local = layout.files.is_local
        self._held: OrderedDict[str, bytes] = OrderedDict()  # shards of a store, the one that was read last at the end
        self._asked = Counter(shard for shard, requested in rows.items() if requested > 1)

    def read(self, shard: str, place: Place) -> NDArray[np.floating] | None:
        """Returns the tensor of a row, shape spec.shape, or None where the bytes that were written are not there."""
        try:
            content = self._read(shard, place.offset)
        except OSError:
            return None
        if len(content) != self._row_bytes or google_crc32c.value(content) != place.crc32c:
            return None
        return np.frombuffer(content, self._dtype).reshape(self._shape)

    def __enter__(self) -> "RowReader":
        """Returns the reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the shards."""
        self._close()

    def _read(self, shard: str, offset: int) -> bytes:
        if self._is_local:
            return os.pread(self._file(shard).fileno(), self._row_bytes, offset)
        return self._part(shard, offset)

    def _part(self, shard: str, offset: int) -> bytes:
        """Returns bytes of a shard in a store, of which the whole is one request, as a row is."""
        if shard in self._held:
            self._held.move_to_end(shard)
            return self._held[shard][offset : offset + self._row_bytes]
        self._asked[shard] += 1
        # Asked for once, it may have this row alone; more often than twice, there is no room to hold it.
        if self._asked[shard] != 2:
            return self._layout.files.read_range(self._layout.shard(shard), offset, self._row_bytes)
        self._held[shard] = content = self._layout.files.read(self._layout.shard(shard))
        while len(self._held) > 1 and sum(map(len, self._held.values())) > _MOST_HELD_BYTES:
            self._held.popitem(last=False)
        return content[offset : offset + self._row_bytes]

    def _file(self, shard: str) -> BinaryIO:
        if shard not in self._files:
            if len(self._files) == _MAX_OPEN_FILES:
                self._close()
            self._files[shard] = open(self._layout.shard(shard), "rb", buffering=0)  # noqa: SIM115 - closed in __exit__
        return self._files[shard]

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}
