"""A digest of a job: of settings, and of columns that may have millions of values."""

import hashlib
import json
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def digest_of(settings: object, columns: Iterable[pa.ChunkedArray | NDArray[np.int64]]) -> str:
    """Returns a SHA-256 that no other settings and columns have, however the values of a column lie in chunks.

    Args:
        settings: what JSON can hold.
        columns: of strings or of whole numbers, without nulls; no copy of one is made.
    """
    text = json.dumps(settings, sort_keys=True).encode()
    digest = hashlib.sha256(len(text).to_bytes(8, "little") + text)
    for column in columns:
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [pa.array(column)]
        digest.update(len(column).to_bytes(8, "little"))
        for chunk in chunks:
            lengths = pc.binary_length(chunk) if pa.types.is_string(chunk.type) else chunk
            digest.update(np.ascontiguousarray(lengths.to_numpy(zero_copy_only=False), "<i8").data)
        for chunk in chunks:
            if pa.types.is_string(chunk.type) and len(chunk):
                _, offsets, characters = chunk.buffers()
                places = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
                if characters is not None:  # where all are empty there may be none
                    digest.update(characters[int(places[0]) : int(places[-1])])
    return digest.hexdigest()
