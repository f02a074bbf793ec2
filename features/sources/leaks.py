"""What there is to say about contents that are trained on and tested on, or have two labels, under several names."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# What makes one clip the same as another: its file's content, and where in it the clip is.
CONTENT = ["content_hash", "start", "duration"]
COLUMNS = ["path", *CONTENT, "label", "group", "partition"]
_SHOWN_CONTENTS = 3
_KEY_CHARACTERS = 16
# Odd and without a pattern, so that numbers that differ anywhere have products that differ everywhere.
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)


class ContentKeys:
    """Finds the contents that several clips have, by numbers of 64 bits: 8 bytes a clip, however long its hash is."""

    def __init__(self) -> None:
        """Begins without clips."""
        self._keys: list[NDArray[np.uint64]] = []

    def add(self, clips: pa.Table) -> None:
        """Takes clips, with the columns `CONTENT`; those without a hash count as different from all others."""
        self._keys.append(_keys(clips.select(CONTENT).filter(clips["content_hash"].is_valid())))

    def repeated(self) -> NDArray[np.uint64]:
        """Returns the numbers that several clips have, sorted; seldom, contents that differ have the same one."""
        keys = np.concatenate([np.empty(0, np.uint64), *self._keys])
        keys.sort()
        return np.unique(keys[1:][keys[1:] == keys[:-1]])


def repeated_contents(clips: Iterable[pa.Table]) -> NDArray[np.uint64]:
    """Returns `ContentKeys.repeated` of tables of clips."""
    keys = ContentKeys()
    for table in clips:
        keys.add(table)
    return keys.repeated()


def equal_contents(clips: Iterable[pa.Table], repeated: NDArray[np.uint64], way_out: str) -> list[str]:
    """Returns what there is to say about equal contents in several partitions or under several labels.

    Args:
        clips: tables with the columns `COLUMNS`, which are not asked for where no content is repeated.
        repeated: `ContentKeys.repeated` of the same clips.
        way_out: options that keep equal contents in one partition.
    """
    if not len(repeated):
        return []
    found, is_grouped = [], False
    for table in clips:
        hashed = table.select(COLUMNS).filter(table["content_hash"].is_valid())
        is_grouped = is_grouped or bool(pc.any(pc.not_equal(hashed["group"], hashed["path"])).as_py())
        found.append(hashed.filter(pa.array(_is_in(_keys(hashed), repeated))))
    members = pa.concat_tables(found)
    table = members.group_by(CONTENT).aggregate(
        [("partition", "count_distinct"), ("label", "count_distinct"), ("path", "min")]
    )
    way_out += " keeps each in one"
    if is_grouped:
        way_out = f"take out all but one of each; {way_out} too, but no longer what is of one group, as of one speaker"
    ways_out = {"partition": way_out, "label": "give each one label"}
    said = []
    for name, verb in (("partition", "is in"), ("label", "has")):
        several = table.filter(pc.greater(table[f"{name}_count_distinct"], 1))
        if len(several):
            number = f"{len(several):,} {'content' if len(several) == 1 else 'contents'}"
            verb = verb if len(several) == 1 else {"is in": "are in", "has": "have"}[verb]
            said.append(f"{number} {verb} more than one {name}, such as {_examples(members, several, name)}; "
                        f"{ways_out[name]}")  # fmt: skip
    return said


def _keys(clips: pa.Table) -> NDArray[np.uint64]:
    """Returns a number of each content, (clips,): of the last characters of its hash, its start and its duration."""
    keys = _ends(pc.utf8_lpad(clips["content_hash"], _KEY_CHARACTERS, "0")) @ _FACTORS[:2]
    keys += clips["start"].to_numpy().astype(np.uint64) * _FACTORS[2]
    keys += clips["duration"].fill_null(-1).to_numpy().astype(np.uint64) * _FACTORS[3]
    return np.asarray(keys, np.uint64)


def _ends(texts: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Returns the last `_KEY_CHARACTERS` bytes of texts that have as many, none of them null: (texts, 2)."""
    ends = [np.empty((0, _KEY_CHARACTERS), np.uint8)]
    for chunk in texts.chunks:
        last = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset + 1 : chunk.offset + len(chunk) + 1]
        characters = np.frombuffer(chunk.buffers()[2] or b"", np.uint8)
        ends.append(characters[last[:, np.newaxis] + np.arange(-_KEY_CHARACTERS, 0)])
    return np.concatenate(ends).view(np.uint64)


def _is_in(keys: NDArray[np.uint64], repeated: NDArray[np.uint64]) -> NDArray[np.bool_]:
    places = np.searchsorted(repeated, keys).clip(max=len(repeated) - 1)
    return np.asarray(repeated[places] == keys)


def _examples(clips: pa.Table, contents: pa.Table, name: str) -> str:
    """Returns the first path of each partition or label that some contents have."""
    first = contents.sort_by("path_min").slice(0, _SHOWN_CONTENTS).to_pylist()
    hashes = pa.array([row["content_hash"] for row in first])
    members = clips.filter(pc.is_in(clips["content_hash"], value_set=hashes)).sort_by("path").to_pylist()
    shown = []
    for content in first:
        paths: dict[str, str] = {}
        for row in members:
            if all(row[column] == content[column] for column in CONTENT):
                paths.setdefault(row[name], row["path"])
        shown.append(" and ".join(f"{path} ({value})" for value, path in paths.items()))
    return "; ".join(shown)
