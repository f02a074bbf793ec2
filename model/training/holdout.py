"""Holds groups out of training where there is nothing else to validate on."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import UsageError
from features.io.entry import AnyPath
from features.store.clips_table import read_clips
from features.store.manifest import Manifest

# One group of so many is held out.
_GROUPS_PER_HELD_OUT = 10

Selection = dict[str, NDArray[np.int64]]
"""Row numbers by name of the shard; a shard that is not named has none."""


def clips_of(folder: AnyPath, manifest: Manifest, partitions: Iterable[str], columns: Sequence[str]) -> pa.Table:
    """Reads columns of the clips table, and the columns shard and row, of the rows of some partitions, in their order.

    Raises:
        RunError: the clips table cannot be read, or is not the one that was committed.
    """
    names = [shard.name for shard in manifest.shards(partitions)]
    clips = read_clips(manifest.layout(folder), manifest, list(dict.fromkeys(["shard", "row", *columns])))
    return clips.filter(pc.is_in(clips["shard"], value_set=pa.array(names, pa.string())))


def selection_of(clips: pa.Table) -> Selection:
    """Returns the rows that a part of the clips table names."""
    shards = np.array(clips["shard"].to_pylist(), dtype=object)
    rows = clips["row"].to_numpy().astype(np.int64)
    return {name: np.sort(rows[shards == name]) for name in dict.fromkeys(shards.tolist())}


def is_selected(clips: pa.Table, selection: Selection) -> NDArray[np.bool_]:
    """Returns whether each row of a part of the clips table is in a selection: (rows,)."""
    chosen = {(name, row) for name, rows in selection.items() for row in rows.tolist()}
    pairs = zip(clips["shard"].to_pylist(), clips["row"].to_pylist(), strict=True)
    return np.fromiter((pair in chosen for pair in pairs), bool, len(clips))


def join_selections(parts: Sequence[Selection]) -> Selection:
    """Returns the rows that are in any of some selections, which have none in common."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: np.sort(np.concatenate([part[name] for part in parts if name in part])) for name in names}


def hold_out(
    folder: AnyPath, manifest: Manifest, partitions: Iterable[str], within: Selection | None = None
) -> tuple[Selection, Selection]:
    """Divides the rows of some partitions into those to train on and those to validate on.

    A tenth of the groups, rounded up, is held out: those whose hashes are the smallest, so that the choice follows
    from the groups alone. Clips of one group stay together.

    Args:
        folder: the feature set.
        manifest: its state.
        partitions: to be divided.
        within: the rows of them that count; None for all.

    Returns:
        The rows that stay, and the rows that are held out.

    Raises:
        UsageError: there is one group only.
        RunError: the clips table cannot be read, or is not the one that was committed.
    """
    clips = clips_of(folder, manifest, partitions, ["group"])
    if within is not None:
        clips = clips.filter(pa.array(is_selected(clips, within)))
    groups = sorted(pc.unique(clips["group"]).to_pylist(), key=_hash)
    if len(groups) < 2:
        raise UsageError(
            f"nothing to validate on: {', '.join(partitions)} of {folder} has one group only, and a group is not "
            "divided; featurize with another --group, or choose with --validate-on"
        )
    chosen = groups[: -(-len(groups) // _GROUPS_PER_HELD_OUT)]
    is_chosen = pc.is_in(clips["group"], value_set=pc.cast(chosen, "string"))
    return selection_of(clips.filter(pc.invert(is_chosen))), selection_of(clips.filter(is_chosen))


def _hash(group: str) -> bytes:
    # Salted: partitions follow from the unsalted hash, and the two shall have nothing to do with each other.
    return hashlib.sha256(f"validation\0{group}".encode()).digest()
