"""Who is trained on and who is tested on: groups, and the partition that each belongs to."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import UsageError
from features.sources import BACKGROUND_FOLDER, clip_file, escape_path

TRAINING, VALIDATION, TESTING = PARTITIONS = ("training", "validation", "testing")
ALIASES = {"train": TRAINING, "val": VALIDATION, "dev": VALIDATION, "test": TESTING}
OFFICIAL_LISTS = {VALIDATION: "validation_list.txt", TESTING: "testing_list.txt"}
DEFAULT_SPLIT = (80, 10, 10)

_SPEAKER_MARK = "_nohash_"
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
    # usedforsecurity: the digest spreads groups evenly, it protects nothing.
    digest = int(hashlib.sha1(group.encode(), usedforsecurity=False).hexdigest(), 16)
    percent = (digest % (_BUCKETS + 1)) * (100.0 / _BUCKETS)
    _, validation, testing = split
    if percent < validation:
        return VALIDATION
    return TESTING if percent < validation + testing else TRAINING


def parse_split(text: str) -> tuple[int, int, int]:
    """Reads `80/10/10`; raises `UsageError` where it is not three percentages that make 100."""
    parts = text.split("/")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts) or sum(map(int, parts)) != 100:
        raise UsageError(f"--split is three whole percentages training/validation/testing that make 100, not {text!r}")
    training, validation, testing = map(int, parts)
    return training, validation, testing


def parse_partitions(text: str) -> tuple[str, ...]:
    """Reads a comma list of partitions; `train`, `val`, `dev` and `test` are aliases."""
    names = tuple(dict.fromkeys(ALIASES.get(part.strip(), part.strip()) for part in text.split(",") if part.strip()))
    if not names:
        raise UsageError(f"a list of partitions names one at least, e.g. training,validation; not {text!r}")
    return names


def group_rule(rule: str | None, root: str) -> Callable[[str], str]:
    """Returns the function from a clip's path to its group.

    Args:
        rule: None for the speaker before `_nohash_` where names have it, else the path; `path`; `content` for the
            hash of the file's content; or a regular expression, whose first group (or whole match) counts.
        root: where paths begin.

    Raises:
        UsageError: the regular expression is none. The function itself raises it for a path without a match.
    """
    if rule is None:
        return _speaker
    if rule == "path":
        return str
    if rule == "content":
        return lambda path: _content_group(root, path)
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise UsageError(f"--group is path, content or a regular expression, and {rule!r} is none: {error}") from error

    def match(path: str) -> str:
        hit = pattern.search(path)
        group = hit and (hit[1] if pattern.groups else hit[0])
        if not group:
            raise UsageError(f"--group {rule!r} finds a group in every path, but not in {path}")
        return group

    return match


def _speaker(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.partition(_SPEAKER_MARK)[0] if _SPEAKER_MARK in name else path


def _content_group(root: str, path: str) -> str:
    try:
        with open(clip_file(root, path), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return path  # it cannot be read: its reject follows when it is decoded


def assign(
    clips: pa.Table, root: str, group: str | None, split: tuple[int, int, int] | None
) -> tuple[pa.Table, list[str]]:
    """Adds the columns group and partition.

    Official lists beside the classes decide unless `split` is given; without either the hash of the group does.

    Args:
        clips: table with a column path.
        root: where paths begin.
        group: see `group_rule`.
        split: percentages, or None where none were asked for.

    Returns:
        The table, and what there is to say about the lists.

    Raises:
        UsageError: a clip is in both lists.
    """
    paths = clips["path"].to_pylist()
    rule = group_rule(group, root)
    groups = [rule(path) for path in paths]
    listed, notes = read_lists(root, set(paths)) if split is None else (None, [])
    if listed is not None:
        partitions = [listed.get(path, TRAINING) for path in paths]
    else:
        by_group = {name: hash_partition(name, split or DEFAULT_SPLIT) for name in set(groups)}
        partitions = [by_group[name] for name in groups]
    clips = clips.append_column("group", pa.array(groups, pa.string()))
    return clips.append_column("partition", pa.array(partitions, pa.string())), notes


def read_lists(root: str, paths: set[str]) -> tuple[dict[str, str] | None, list[str]]:
    """Reads `validation_list.txt` and `testing_list.txt`.

    Returns:
        Partition by path, None where neither list is there; and notes that name missing and double entries.
    """
    listed: dict[str, str] = {}
    notes: list[str] = []
    any_list = False
    for partition, name in OFFICIAL_LISTS.items():
        file = Path(root) / name
        if not file.is_file():
            continue
        any_list = True
        entries = [escape_path(line.strip()) for line in file.read_bytes().splitlines() if line.strip()]
        entries = [entry for entry in entries if not entry.startswith(f"{BACKGROUND_FOLDER}/")]
        double = sorted(entry for entry, count in Counter(entries).items() if count > 1)
        missing = sorted(set(entries) - paths)
        both = sorted(set(entries) & listed.keys())
        if both:
            raise UsageError(f"a clip is in one partition, but {_some(both)} in {' and '.join(OFFICIAL_LISTS.values())}"
                             f" of {root}; take it out of one, or give --split")  # fmt: skip
        if double:
            notes.append(f"{name} names {len(double)} entries more than once: {_some(double)}")
        if missing:
            notes.append(f"{name} names {len(missing)} files that are not there: {_some(missing)}")
        listed.update(dict.fromkeys(entries, partition))
    return (listed if any_list else None), notes


def count(clips: pa.Table) -> dict[str, dict[str, int]]:
    """Counts clips by class and partition: {label: {partition: clips}}, both sorted."""
    table = clips.group_by(["label", "partition"]).aggregate([([], "count_all")])
    counts: dict[str, dict[str, int]] = {label: {} for label in sorted(pc.unique(clips["label"]).to_pylist())}
    for row in sorted(table.to_pylist(), key=lambda row: PARTITIONS.index(row["partition"])):
        counts[row["label"]][row["partition"]] = row["count_all"]
    return counts


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
