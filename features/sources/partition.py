"""Who is trained on and who is tested on: groups, and the partition that each belongs to."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import UsageError
from features.io.filesystem import filesystem_of, is_uri, join
from features.io.parallel import map_ahead
from features.runtime.visible import name_column
from features.sources.clips import Source, in_parts, numbered
from features.sources.groups import groups_of
from features.sources.official_lists import read_lists

TRAINING, VALIDATION, TESTING = PARTITIONS = ("training", "validation", "testing")
_EVALUATIONS = ("eval", "evaluation")
ALIASES = {"train": TRAINING, "test": TESTING} | dict.fromkeys(("val", "valid", "dev"), VALIDATION)
ALIASES |= dict.fromkeys(_EVALUATIONS, TESTING)
OFFICIAL_LISTS = {VALIDATION: "validation_list.txt", TESTING: "testing_list.txt"}
DEFAULT_SPLIT = (80, 10, 10)
SPLIT_OPTION = f"--split {'/'.join(map(str, DEFAULT_SPLIT))}"

_FOLD = "fold-"
_FOLD_VALUE = re.compile(r"(?:fold[-_ ]?)?([0-9]{1,9})")
# Warden's MAX_NUM_WAVS_PER_CLASS: the number of buckets that the hash of a group falls into.
_BUCKETS = 2**27 - 1


def hash_partition(group: str, split: tuple[int, int, int] = DEFAULT_SPLIT) -> str:
    """Returns the partition of a group by the published rule of Speech Commands (Warden, 2018).

    Args:
        group: the group; for `WORD/SPEAKER_nohash_N.wav` the speaker.
        split: percentages of training, validation and testing, 100 together.

    Returns:
        `training`, `validation` or `testing`; the same whatever other groups there are.
    """
    return str(hash_partitions([group], split)[0])


def hash_partitions(groups: Sequence[str], split: tuple[int, int, int] = DEFAULT_SPLIT) -> NDArray[np.str_]:
    """Returns `hash_partition` of each group."""
    return np.array(PARTITIONS)[_hash_numbers(groups, split)]


def _hash_numbers(groups: Sequence[str], split: tuple[int, int, int]) -> NDArray[np.int32]:
    """Returns for each group the number of its partition in `PARTITIONS`."""
    # usedforsecurity: the digest spreads groups evenly, it protects nothing.
    ends = b"".join([hashlib.sha1(group.encode(), usedforsecurity=False).digest()[-4:] for group in groups])
    # The buckets are a power of two, so the digest's last bits say which it is.
    percent = (np.frombuffer(ends, ">u4") & _BUCKETS) * (100.0 / _BUCKETS)
    _, validation, testing = split
    numbers = [PARTITIONS.index(name) for name in (VALIDATION, TESTING, TRAINING)]
    chosen = np.select([percent < validation, percent < validation + testing], numbers[:2], numbers[2])
    return chosen.astype(np.int32)


def _hashed(groups: pa.ChunkedArray, split: tuple[int, int, int]) -> pa.ChunkedArray:
    """Returns the partitions of groups by their hashes, each group of a dictionary hashed once."""

    def of(part: pa.Array) -> pa.Array:
        is_few = pa.types.is_dictionary(part.type)
        numbers = pa.array(_hash_numbers((part.dictionary if is_few else part).to_pylist(), split))
        return pa.DictionaryArray.from_arrays(numbers.take(part.indices) if is_few else numbers, pa.array(PARTITIONS))

    return pa.chunked_array(map(of, groups.chunks)) if pa.types.is_dictionary(groups.type) else in_parts(groups, of)


def parse_split(text: str) -> tuple[int, int, int]:
    """Reads `80/10/10`; raises `UsageError` where it is not three percentages that make 100."""
    parts = text.split("/")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts) or sum(map(int, parts)) != 100:
        raise UsageError(f"--split is three whole percentages training/validation/testing that make 100, not {text!r}")
    training, validation, testing = map(int, parts)
    return training, validation, testing


def parse_partitions(text: str) -> tuple[str, ...]:
    """Reads a comma list of partitions, each by its name or an alias."""
    names = tuple(dict.fromkeys(ALIASES.get(part.strip(), part.strip()) for part in text.split(",") if part.strip()))
    if not names:
        raise UsageError(f"a list of partitions names one at least, e.g. training,validation; not {text!r}")
    return names


def read_partition(value: str) -> str | None:
    """Returns the partition that a value of a table or a part of a path means, None where it means none.

    Case does not count: `Train` is training; `Dev` and `valid` are validation, `eval` is testing; `1`, `01`, `fold1`,
    `fold_1`, `Fold 1` are `fold-1`.
    """
    name = value.strip().lower()
    fold = _FOLD_VALUE.fullmatch(name)
    if fold:
        return f"{_FOLD}{int(fold[1])}"
    name = ALIASES.get(name, name)
    return name if name in PARTITIONS else None


def both_tested(values: Iterable[str]) -> tuple[str, str] | None:
    """Returns the first value that means an evaluation and the first that means a test, where there are both.

    Collections that have both differ in which of them is to be tested on.
    """
    tested = [value for value in values if read_partition(value) == TESTING]
    is_evaluation = [value.strip().lower() in _EVALUATIONS for value in tested]
    if all(is_evaluation) or not any(is_evaluation):
        return None
    return tested[is_evaluation.index(True)], tested[is_evaluation.index(False)]


def partition_order(partitions: Iterable[str]) -> tuple[str, ...]:
    """Returns the partitions of a set in their order: training, validation, testing, then folds by number.

    Without folds these are always all three, with folds only those that are there.
    """
    present = set(partitions)
    folds = sorted(present - set(PARTITIONS), key=lambda name: int(name.removeprefix(_FOLD)))
    return (*(name for name in PARTITIONS if name in present), *folds) if folds else PARTITIONS


def assign(
    clips: pa.Table,
    root: str,
    group: str | None,
    split: tuple[int, int, int] | None,
    lists: Mapping[str, str] | None = None,
) -> tuple[pa.Table, list[str]]:
    """Gives each clip its group and its partition.

    The group is what `group` says, else the table's column where it has a value, else what `groups_of` finds. The
    partition is the hash of the group where `split` is given; else that of official lists in the root, of the table's
    column or the names, or the hash of the group, whichever there is first.

    Args:
        clips: table with a column path, and columns group and partition where the source names them.
        root: where paths begin.
        group: see `groups_of`.
        split: percentages, or None where none were given.
        lists: the `official_lists` of the root, where they are known.

    Returns:
        The table with the columns group and partition, and what there is to say about the lists and `group`.

    Raises:
        UsageError: the lists cannot be used, see `features.sources.official_lists.read_lists`, or a clip's partition
            is not one.
    """
    groups = groups_of(clips["path"], group, root)
    if group is None and "group" in clips.column_names:
        groups = pc.coalesce(clips["group"], groups)
    groups = _in_little_memory(groups, clips["path"])
    named = numbered(clips["partition"]) if split is None and "partition" in clips.column_names else None
    notes = list[str]()
    lists = {} if split is not None else official_lists(root) if lists is None else lists
    if lists:
        listed, notes = read_lists(root, lists, clips["path"])
        entries = pc.index_in(clips["path"], value_set=pa.array(listed, pa.string())).fill_null(len(listed))
        partitions = numbered(pa.array([*listed.values(), TRAINING])).take(entries)
        if named is not None and any(pc.unique(named).to_pylist()):
            names = " and ".join(lists.values())
            notes.append(f"the partitions are those of the lists in {root}, not those that the table's column or the "
                         f"names have; move {names} away to have these")  # fmt: skip
    elif named is not None:
        partitions = _named_partitions(clips["path"], named)
    else:
        partitions = _hashed(groups, split or DEFAULT_SPLIT)
    decided_by = overruling(clips, root, split, lists)
    if group is not None and decided_by:
        notes.append(f"--group moves no clip to another partition, since {decided_by} decide; add {SPLIT_OPTION} to "
                     "divide the groups anew")  # fmt: skip
    clips = clips.drop_columns([name for name in ("group", "partition") if name in clips.column_names])
    return clips.append_column("group", groups).append_column("partition", partitions), notes


def overruling(clips: pa.Table, root: str, split: tuple[int, int, int] | None, lists: Mapping[str, str]) -> str | None:
    """Returns what decides the partitions in place of the groups, None where the groups do; see `assign`."""
    if split is not None:
        return None
    if lists:
        return f"{' and '.join(lists.values())} in {root}"
    return "the table's column or the names" if "partition" in clips.column_names else None


def _in_little_memory(groups: pa.ChunkedArray, paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns groups as `numbered` where half of them or more have been seen before, else as they are."""
    if groups is paths:
        return groups
    few = numbered(groups)
    return few if len(few) and 2 * len(few.chunk(0).dictionary) <= len(few) else groups


def _named_partitions(paths: pa.ChunkedArray, named: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns the partitions that names mean; raises `UsageError` for one that means none, or where two are tested."""
    values = pc.unique(named).to_pylist()
    _check_tested(sorted(value for value in values if value))
    meant = {value: read_partition(value or "") for value in values}
    if None in meant.values():
        none = pa.array([value for value, meaning in meant.items() if meaning is None], pa.string())
        wrong = pc.is_in(named, value_set=none)
        first = pc.index(wrong, True).as_py()
        raise UsageError(f"a partition is {', '.join(PARTITIONS)} or a fold such as fold-1, but --label-pattern finds "
                         f"{named[first].as_py()!r} in {paths[first]}; change it, or give --split")  # fmt: skip
    places = pc.index_in(named, value_set=pa.array(values, pa.string()))
    return numbered(pa.array(meant.values(), pa.string()).take(places))


def _check_tested(values: Sequence[str]) -> None:
    both = both_tested(values)
    if both:
        others = "|".join(re.escape(value) for value in values if value != both[0])
        raise UsageError(
            f"--label-pattern finds the partitions {both[0]!r} and {both[1]!r}, and either may be what "
            f"is tested; let it find one of them, as (?P<partition>{others}) does, or give --split"
        )


def official_lists(root: str) -> dict[str, str]:
    """Returns the names of the official lists that lie in a root, by the partition that they list."""
    places = (join(root, name) for name in OFFICIAL_LISTS.values())
    there = (map_ahead if is_uri(root) else map)(_is_file, places)
    return {partition: name for (partition, name), is_there in zip(OFFICIAL_LISTS.items(), there, strict=True)
            if is_there}  # fmt: skip


def lists_of(source: Source) -> dict[str, str]:
    """Returns the `official_lists` of a source's root, which is asked for them once."""
    if source.lists is None:
        source.lists = official_lists(source.root)
    return source.lists


def _is_file(place: str) -> bool:
    if not is_uri(place):
        return os.path.isfile(place)
    try:
        filesystem_of(place).status(place)
    except (FileNotFoundError, PermissionError):
        return False
    return True


def count(clips: pa.Table) -> dict[str, dict[str, int]]:
    """Counts clips by class and partition: {label: {partition: clips}}, both sorted."""
    table = clips.group_by(["label", "partition"]).aggregate([([], "count_all")])
    counts: dict[str, dict[str, int]] = {label: {} for label in sorted(pc.unique(clips["label"]).to_pylist())}
    order = partition_order(table["partition"].to_pylist())
    for row in sorted(table.to_pylist(), key=lambda row: order.index(row["partition"])):
        counts[row["label"]][row["partition"]] = row["count_all"]
    return counts


def count_table(clips: pa.Table) -> list[str]:
    """Returns the lines of a table of clips by class and partition, with the sums below it."""
    counts, names = count(clips), partition_order(clips["partition"].to_pylist())
    totals = {name: sum(by_partition.get(name, 0) for by_partition in counts.values()) for name in names}
    title, *labels = name_column(["class", *counts, "all"])
    rows = [label + "".join(f"{numbers.get(name, 0):>12,}" for name in names)
            for label, numbers in zip(labels, [*counts.values(), totals], strict=True)]  # fmt: skip
    return [title + "".join(f"{name:>12}" for name in names), *rows]


def without_clips(counts: Mapping[str, Mapping[str, int]], partitions: Iterable[str]) -> list[str]:
    """Returns the labels of which none of some partitions has a clip, of what `count` counts."""
    return [label for label, numbers in counts.items() if not any(numbers.get(name) for name in partitions)]


def train_options(names: list[str]) -> str:
    """Returns the options by which a set of folds is trained on, the last fold left for testing; else nothing."""
    if names[0] == TRAINING or len(names) == 1:
        return ""
    return f" --train-on {','.join(names[:-1])} --test-on {names[-1]}"
