"""Holds groups out of training where there is nothing else to validate on."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import UsageError
from features.store.clips_table import read_clips
from features.store.manifest import Manifest

# One group of so many is held out.
_GROUPS_PER_HELD_OUT = 10

Selection = dict[str, NDArray[np.int64]]
"""Row numbers by name of the shard; a shard that is not named has none."""


def hold_out(folder: str | Path, manifest: Manifest, partitions: Iterable[str]) -> tuple[Selection, Selection]:
    """Divides the rows of some partitions into those to train on and those to validate on.

    A tenth of the groups, rounded up, is held out: those whose hashes are the smallest, so that the choice follows
    from the groups alone. Clips of one group stay together.

    Args:
        folder: the feature set.
        manifest: its state.
        partitions: to be divided.

    Returns:
        The rows that stay, and the rows that are held out.

    Raises:
        UsageError: there is one group only.
        RunError: the clips table cannot be read, or is not the one that was committed.
    """
    names = [shard.name for shard in manifest.shards(partitions)]
    clips = read_clips(manifest.layout(folder), manifest, ["shard", "row", "group"])
    clips = clips.filter(pc.is_in(clips["shard"], value_set=pc.cast(names, "string")))
    groups = sorted(pc.unique(clips["group"]).to_pylist(), key=_hash)
    if len(groups) < 2:
        raise UsageError(
            f"nothing to validate on: {', '.join(partitions)} of {folder} has one group only, and a group is not "
            "divided; featurize with another --group, or choose with --validate-on"
        )
    chosen = groups[: -(-len(groups) // _GROUPS_PER_HELD_OUT)]
    is_chosen = pc.is_in(clips["group"], value_set=pc.cast(chosen, "string"))
    return _selection(clips.filter(pc.invert(is_chosen))), _selection(clips.filter(is_chosen))


def _hash(group: str) -> bytes:
    # Salted: partitions follow from the unsalted hash, and the two shall have nothing to do with each other.
    return hashlib.sha256(f"validation\0{group}".encode()).digest()


def _selection(clips: pa.Table) -> Selection:
    shards = np.array(clips["shard"].to_pylist(), dtype=object)
    rows = clips["row"].to_numpy().astype(np.int64)
    return {name: np.sort(rows[shards == name]) for name in dict.fromkeys(shards.tolist())}
