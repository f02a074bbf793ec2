"""Writes a file of a clips table that is several, as its lines come."""

import contextlib
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from features.sources.content_hash import TableHash
from features.store.clips_table import CLIPS_COLUMNS, CLIPS_SCHEMA
from features.store.layout import Layout, clips_name
from features.store.manifest import ClipsPart

# Of columns whose values are not repeated Parquet would only find out that they are not.
_MANY_VALUES = {"path", "mtime_ns", "content_hash", "row", "offset", "crc32c"}
_FEW_VALUES = [name for name in CLIPS_COLUMNS if name not in _MANY_VALUES]
_NO_HASH = "0" * 16


class PartWriter:
    """Writes a file of a table that is several; it takes its name when the block ends well."""

    def __init__(self, layout: Layout, state: int) -> None:
        """Opens the file of a state."""
        self._layout, self._state, self._hash, self._rows = layout, state, TableHash(), 0
        # Its name follows from its bytes.
        self._file = layout.files.begin(layout.path(clips_name(state, _NO_HASH)))

    def add(self, lines: pa.Table) -> None:
        """Writes lines of `CLIPS_SCHEMA`, `features.store.clips_table.BATCH_ROWS` or so."""
        self._rows += len(lines)
        self._table.write_table(lines)

    def finish(self) -> ClipsPart:
        """Writes what is still to be written, and returns what the manifest shall know of the file."""
        self._table.close()
        name = clips_name(self._state, self._hash.digest())
        self._file.rename(self._layout.path(name))
        return ClipsPart(name, self._rows)

    @property
    def closed(self) -> bool:
        """Whether the file is closed; pyarrow asks before it writes."""
        return self._file.closed

    def write(self, content: bytes) -> int:
        """Takes bytes from pyarrow."""
        self._hash.update(content)
        return self._file.write(content)

    def __enter__(self) -> "PartWriter":
        """Returns the writer itself."""
        self._file.__enter__()
        self._table = pq.ParquetWriter(pa.PythonFile(self, mode="w"), CLIPS_SCHEMA, use_dictionary=_FEW_VALUES)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Names the file, or removes it where the block raised."""
        if kind is not None:
            with contextlib.suppress(Exception):  # what was raised first is told
                self._table.close()
        self._file.__exit__(kind, error, trace)
