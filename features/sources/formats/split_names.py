"""Partitions that names of files and folders say, by the rule of Hugging Face's `datasets`.

A name says a partition where a part of it does, the parts being between `-`, `.`, `_`, spaces and digits:
`train-clean-100`, `cuts_dev`. Case counts, as it does there.
"""

import re
from collections.abc import Mapping, Sequence

from features.errors import UsageError
from features.sources.partition import TESTING, TRAINING, VALIDATION

_WORDS = {
    **dict.fromkeys(("train", "training"), TRAINING),
    **dict.fromkeys(("validation", "valid", "dev", "val"), VALIDATION),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), TESTING),
}
_BETWEEN = re.compile(r"[-._ 0-9]+")


def split_of_name(name: str) -> str | None:
    """Returns the partition that a name says, None where it says none.

    Raises:
        UsageError: it says several.
    """
    said = {_WORDS[part] for part in _BETWEEN.split(name) if part in _WORDS}
    if len(said) > 1:
        raise UsageError(f"the name {name!r} says several partitions, {' and '.join(sorted(said))}; rename it")
    return next(iter(said), None)


def split_of_folders(folders: Sequence[str]) -> str | None:
    """Returns the partition that the names of the folders of a path say, the first that says one; None without any."""
    return next(filter(None, map(split_of_name, folders)), None)


def splits_of_files(names: Sequence[str]) -> Mapping[str, str]:
    """Returns the partition of each of several files of one data set, by their names; empty where none says one.

    Raises:
        UsageError: some say one and others none.
    """
    said = {name: split_of_name(name) for name in names}
    splits = {name: partition for name, partition in said.items() if partition is not None}
    if len(set(splits.values())) < 2:
        return {}
    if without := [name for name in names if name not in splits]:
        raise UsageError(f"the names of some manifests say a partition, such as {next(iter(splits))}, and that of "
                         f"{without[0]} "
                         "says none; rename it, give one manifest as --input, or give --split")  # fmt: skip
    return splits
