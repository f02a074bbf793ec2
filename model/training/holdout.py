"""Holds groups out of training where there is nothing else to validate on."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import UsageError
from features.io.entry import AnyPath
from features.store.clips_table import CLIPS_SCHEMA, clips_batches
from features.store.columns import DICTIONARY
from features.store.manifest import Manifest

# One group of so many is held out.
_GROUPS_PER_HELD_OUT = 10
# A row's number in its shard is below this.
_MOST_ROWS = 2**20

Selection = dict[str, NDArray[np.int64]]
"""Row numbers by name of the shard; a shard that is not named has none."""


def clips_of(folder: AnyPath, manifest: Manifest, partitions: Iterable[str], columns: Sequence[str]) -> pa.Table:
    """Reads columns of the clips table, and the columns shard and row, of the rows of some partitions, in their order.

    Names of shards are a dictionary: 4 bytes a row.

    Raises:
        RunError: the clips table cannot be read, or is not the one that was committed.
    """
    shards = pa.array([shard.name for shard in manifest.shards(partitions)], pa.string())
    wanted = list(dict.fromkeys(["shard", "row", *columns]))
    tables = [pa.table([pa.array([], _type_of(name)) for name in wanted], names=wanted)]
    for clips in clips_batches(manifest.layout(folder), manifest, wanted, set(shards.to_pylist()), ["shard"]):
        names = clips["shard"].combine_chunks()
        numbers = pc.index_in(names.dictionary, value_set=shards).take(names.indices)
        named = pa.DictionaryArray.from_arrays(numbers, shards)
        tables.append(clips.set_column(0, "shard", named).filter(numbers.is_valid()))
    return pa.concat_tables(tables).unify_dictionaries()


def _type_of(column: str) -> pa.DataType:
    return DICTIONARY if column == "shard" else CLIPS_SCHEMA.field(column).type


def selection_of(clips: pa.Table) -> Selection:
    """Returns the rows that a part of what `clips_of` returned names."""
    names, numbers = _shards(clips)
    rows = clips["row"].to_numpy()
    order = np.lexsort((rows, numbers))
    found, firsts = np.unique(numbers[order], return_index=True)
    by_shard = np.split(rows[order].astype(np.int64), firsts[1:]) if len(found) else []
    return {names[number]: held for number, held in zip(found.tolist(), by_shard, strict=True)}


def is_selected(clips: pa.Table, selection: Selection) -> NDArray[np.bool_]:
    """Returns whether each row of a part of what `clips_of` returned is in a selection: (rows,)."""
    names, numbers = _shards(clips)
    chosen = [number * _MOST_ROWS + selection[name] for number, name in enumerate(names) if name in selection]
    keys = numbers.astype(np.int64) * _MOST_ROWS + clips["row"].to_numpy()
    return np.isin(keys, np.concatenate([np.empty(0, np.int64), *chosen]))


def in_order(clips: pa.Table) -> pa.Table:
    """Returns a part of what `clips_of` returned in the order of the shards and of their rows."""
    return clips.take(pa.array(np.lexsort((clips["row"].to_numpy(), _shards(clips)[1]))))


def _shards(clips: pa.Table) -> tuple[list[str], NDArray[np.int32]]:
    """Returns the names of shards, and for each row the number of its shard among them."""
    chunks = clips["shard"].chunks
    numbers = np.concatenate([np.empty(0, np.int32), *(chunk.indices.to_numpy() for chunk in chunks)])
    return (chunks[0].dictionary.to_pylist() if chunks else []), numbers


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
