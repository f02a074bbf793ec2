"""The features of single clips of a set, found by the path of the clip."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import RunError, UsageError
from features.runtime.invocation import command_line
from features.store.layout import Layout
from features.store.manifest import Manifest
from features.store.parquet_rows import Place
from features.store.row_reader import RowReader
from features.store.shards import read_shard

_MOST_NAMED = 3


def read_clip(layout: Layout, manifest: Manifest, clips: pa.Table, path: str, start: int) -> NDArray[np.floating]:
    """Reads the features of one clip and checks that they are those that were written.

    Args:
        layout: of the set.
        manifest: its state.
        clips: the clips table of the state.
        path: of the clip, as the table has it.
        start: first frame of the clip within its file.

    Returns:
        An array of its own, spec.storage_dtype of shape spec.shape.

    Raises:
        UsageError: the set has no such clip.
        RunError: the shard that holds it is missing or damaged.
    """
    of_file = clips.filter(pc.equal(clips["path"], path))
    rows = of_file.filter(pc.equal(of_file["start"], start)).to_pylist()
    if not rows:
        starts = of_file["start"].to_pylist()
        raise UsageError(f"no clip {path!r} that begins at {start} in {layout.root}{_way_out(starts)}")
    row, spec = rows[0], manifest.spec
    if row["offset"] is None:  # format version 1 does not know where in its shard a tensor lies
        (shard,) = (shard for shard in manifest.all_shards if shard.name == row["shard"])
        held = read_shard(layout, shard, spec)
        return np.asarray(held.tensors[row["row"]], spec.storage_dtype).copy()
    with RowReader(layout, spec) as reader:
        tensor = reader.read(row["shard"], Place(row["offset"], row["crc32c"]))
    if tensor is None:
        raise RunError(
            f"the shard {layout.shard(row['shard'])} is missing or damaged where it holds {path}; "
            f"{command_line('features.verify', layout.root, '--repair')} computes it again from the source"
        )
    return np.asarray(tensor, spec.storage_dtype).copy()


def _way_out(starts: list[int]) -> str:
    if not starts:
        return ": it is not in the clips table, or was rejected; clips() lists those that are there"
    more = ", ..." if len(starts) > _MOST_NAMED else ""
    return f"; those of this file begin at {', '.join(map(str, starts[:_MOST_NAMED]))}{more}"
