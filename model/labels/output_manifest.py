"""What made an output: a table beside it, by which a later run on a grown folder goes on from it.

It is a Parquet file: a row a recording with its state and what became of it, and how much of each table is its. Its
metadata says from what the tables follow besides, and what they were when they were written.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.io.entry import AnyPath
from features.io.filesystem import filesystem_of
from features.io.parquet import read_table
from model.labels.earlier_table import Merge, Written

_FORMAT_VERSION = 1
_METADATA = b"soundmill.output"
_EXTENT = "extent_"
_CHECKSUM = "checksum_"
_REMARK = pa.struct({"stage": pa.string(), "reason": pa.string(), "message": pa.string()})
FILES_SCHEMA = pa.schema({
    "path": pa.string(),
    "size": pa.int64(),
    "mtime_ns": pa.int64(),
    "version": pa.string(),
    "kept": pa.string(),
    "windows": pa.int64(),
    "seconds": pa.float64(),
    "shortened": pa.bool_(),
    "stage": pa.string(),
    "reason": pa.string(),
    "message": pa.string(),
    "warnings": pa.list_(_REMARK),
})  # fmt: skip
"""Of a recording: its state when it was listed, with what the list says that outputs have of it; how many windows were
labelled; how long it is; whether a last window is left out; why it is a reject; with what warnings it was used."""
STATE = ("path", "size", "mtime_ns", "version", "kept")

Settings = Mapping[str, object]


@dataclass(frozen=True, eq=False)
class OutputManifest:
    """What made an output.

    Attributes:
        settings: all that its tables follow from besides the recordings, as JSON has it.
        tables: what each was when it was written, by its name.
        files: of `FILES_SCHEMA`, in the order of the tables.
        extents: how much of each table is of each recording, see `model.labels.earlier_table`.
        checksums: CRC-32C of the file of each recording, by the form of the files; -1 where it has none.
    """

    settings: Settings
    tables: Mapping[str, Written]
    files: pa.Table
    extents: Mapping[str, NDArray[np.int64]]
    checksums: Mapping[str, NDArray[np.int64]]

    def merge(self, table: str, place: AnyPath, recordings: pa.ChunkedArray, kept: NDArray[np.bool_]) -> Merge:
        """Returns how a table goes on from this one's; see `Merge`."""
        return Merge(place, self.files["path"], self.extents[table], recordings, kept)

    def content(self) -> bytes:
        """Returns the content of the file."""
        tables = {name: asdict(written) for name, written in self.tables.items()}
        text = json.dumps({"version": _FORMAT_VERSION, "settings": self.settings, "tables": tables}, sort_keys=True)
        table = self.files
        for name, extents in self.extents.items():
            table = table.append_column(f"{_EXTENT}{name}", pa.array(extents, pa.int64()))
        for name, checksums in self.checksums.items():
            table = table.append_column(f"{_CHECKSUM}{name}", pa.array(checksums, pa.int64()))
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata({_METADATA: text}).combine_chunks(), sink)
        content: bytes = sink.getvalue().to_pybytes()
        return content


def read_output_manifest(place: AnyPath) -> OutputManifest:
    """Reads a manifest.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or of another version.
    """
    content = filesystem_of(place).read(place)
    try:
        table = read_table(pa.BufferReader(content))
        values = json.loads((table.schema.metadata or {})[_METADATA])
        if values["version"] != _FORMAT_VERSION:
            raise ValueError(f"of format version {values['version']}, not {_FORMAT_VERSION}")
        tables = {name: Written(**written) for name, written in values["tables"].items()}
        return OutputManifest(
            settings=values["settings"],
            tables=tables,
            files=table.select(FILES_SCHEMA.names).cast(FILES_SCHEMA),
            extents={name: table[f"{_EXTENT}{name}"].to_numpy() for name in tables},
            checksums={
                name.removeprefix(_CHECKSUM): table[name].to_numpy()
                for name in table.column_names
                if name.startswith(_CHECKSUM)
            },
        )
    except (KeyError, TypeError, pa.ArrowException) as error:
        raise ValueError(f"damaged ({error})") from error


def unchanged(states: pa.Table, earlier: pa.Table) -> NDArray[np.bool_]:
    """Returns for each of some recordings whether an earlier run had it in the same state, as far as it shows.

    Args:
        states: the columns `STATE`, each path once.
        earlier: of `FILES_SCHEMA`.
    """
    numbers = pc.index_in(states["path"], value_set=earlier["path"])
    known = np.asarray(numbers.is_valid(), np.bool_)
    now, before = states.filter(pa.array(known)), earlier.take(numbers.drop_null())
    same = np.asarray(now["size"].is_valid(), np.bool_)  # it has no size where the list itself refuses it
    for name in STATE[1:]:
        equal = pc.equal(now[name], before[name])
        same &= np.asarray(pc.or_(equal.fill_null(False), pc.and_(now[name].is_null(), before[name].is_null())), bool)
    known[known] = same
    return known
