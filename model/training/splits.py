"""Divides rows into splits for cross-validation: groups stay whole, classes are spread evenly."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import UsageError
from features.io.entry import AnyPath
from features.store.manifest import Manifest
from model.training.holdout import Selection, clips_of, selection_of


def split_rows(
    folder: AnyPath, manifest: Manifest, partitions: Sequence[str], splits: int, seed: int
) -> list[Selection]:
    """Divides the rows of some partitions into splits.

    Args:
        folder: the feature set.
        manifest: its state.
        partitions: whose rows are divided.
        splits: number of splits.
        seed: of the order in which groups that are alike are dealt.

    Returns:
        The rows of each split. The division follows from the labels, the groups and the seed alone.

    Raises:
        UsageError: there are fewer groups than splits, or a class would be in one split alone.
        RunError: the clips table cannot be read, or is not the one that was committed.
    """
    clips = clips_of(folder, manifest, partitions, ["label", "group"])
    labels, groups = clips["label"].to_pylist(), clips["group"].to_pylist()
    where = f"{', '.join(partitions)} of {folder}"
    check_groups(labels, groups, splits, where)
    numbers = assign_splits(labels, groups, splits, seed)
    _check_classes(labels, numbers, where)
    return [selection_of(clips.filter(pa.array(numbers == number))) for number in range(splits)]


def count_groups(folder: AnyPath, manifest: Manifest, partitions: Sequence[str]) -> int:
    """Returns the number of groups of some partitions; raises `RunError` where the clips table cannot be read."""
    return len(clips_of(folder, manifest, partitions, ["group"])["group"].unique())


def assign_splits(labels: Sequence[str], groups: Sequence[str], splits: int, seed: int) -> NDArray[np.int64]:
    """Returns the split of each clip: a greedy division in which groups stay whole and classes are spread evenly.

    The idea is that of scikit-learn's StratifiedGroupKFold: groups are dealt from the one that can do most harm to the
    balance on, each to the split in which the shares of the classes then vary least, among equals to the one with the
    fewest clips. An empty split can be no worse than another, so that none stays empty.

    Args:
        labels: of the clips.
        groups: of the clips; no fewer different ones than splits.
        splits: number of splits.
        seed: of the order among groups that are alike.

    Returns:
        Numbers from 0, int64 of shape (clips,); the same for any order of the clips.
    """
    class_names, label_ids = np.unique(np.array(labels), return_inverse=True)
    group_names, group_ids = np.unique(np.array(groups), return_inverse=True)
    counts = np.zeros((len(group_names), len(class_names)))
    np.add.at(counts, (group_ids, label_ids), 1)
    shares = counts / counts.sum(axis=0)
    # The sum over splits of the squared shares is least where they are even; a group adds 2 s.g + g.g to it.
    order = np.random.default_rng(seed).permutation(len(group_names))
    order = order[np.argsort(-(shares[order] ** 2).sum(axis=1), kind="stable")]
    held, clips = np.zeros((splits, len(class_names))), np.zeros(splits)
    split_of = np.empty(len(group_names), dtype=np.int64)
    for group in order.tolist():
        growth = np.round(held @ shares[group], 12)  # sums of equal shares differ in their last digits
        chosen = int(np.lexsort((clips, growth))[0])
        held[chosen] += shares[group]
        clips[chosen] += counts[group].sum()
        split_of[group] = chosen
    return split_of[group_ids]


def check_groups(labels: Sequence[str], groups: Sequence[str], splits: int, where: str) -> None:
    """Raises `UsageError` where the clips of `where` cannot be divided into so many splits by group."""
    number = len(set(groups))
    if number < splits:
        raise UsageError(
            f"--splits is at most the number of groups, since a group is not divided: {where} has {number:,}, not "
            f"{splits:,}; featurize with another --group, or take fewer splits"
        )
    groups_by_class: dict[str, set[str]] = {}
    for label, group in zip(labels, groups, strict=True):
        groups_by_class.setdefault(label, set()).add(group)
    for label, inside in sorted(groups_by_class.items()):
        if len(inside) == 1:
            raise UsageError(
                f"a class takes two groups at least, one to test on and one to learn from: all clips of {label!r} in "
                f"{where} are of the group {inside.pop()!r}; featurize with another --group, or without this class"
            )


def _check_classes(labels: Sequence[str], numbers: NDArray[np.int64], where: str) -> None:
    for label in sorted(set(labels)):
        inside = np.unique(numbers[np.array([other == label for other in labels])])
        if len(inside) == 1:
            raise UsageError(
                f"the groups of {where} are so uneven that split {inside[0] + 1} alone has clips of {label!r}, and "
                "nothing is left to learn them from; take more splits, or featurize with another --group"
            )
