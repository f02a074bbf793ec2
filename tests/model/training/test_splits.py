"""Splits for cross-validation: every row in one, no group in two, classes spread evenly."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import UsageError
from features.sources.folder import scan
from features.sources.groups import groups_of
from features.store.manifest import load_manifest
from model.training.splits import assign_splits, check_groups, count_groups, split_rows
from tests.conftest import clips_table

CLIPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 11)), min_size=1, max_size=60)


@given(CLIPS, st.data(), st.integers(0, 3))
def test_groups_stay_whole_and_no_split_is_empty(clips, data, seed):
    labels, groups = [f"class {label}" for label, _ in clips], [f"group {group}" for _, group in clips]
    splits = data.draw(st.integers(1, len(set(groups))))
    numbers = assign_splits(labels, groups, splits, seed)
    assert set(numbers.tolist()) == set(range(splits))
    assert len(set(zip(groups, numbers.tolist(), strict=True))) == len(set(groups))


@given(CLIPS, st.integers(0, 3), st.randoms())
def test_the_division_does_not_depend_on_the_order_of_the_clips(clips, seed, random):
    splits = min(3, len({group for _, group in clips}))

    def split_of(clips) -> dict[int, int]:
        numbers = assign_splits([str(label) for label, _ in clips], [str(group) for _, group in clips], splits, seed)
        return {group: number for (_, group), number in zip(clips, numbers.tolist(), strict=True)}

    shuffled = list(clips)
    random.shuffle(shuffled)
    assert split_of(shuffled) == split_of(clips)


@given(st.lists(st.integers(0, 4), min_size=5, max_size=80), st.integers(2, 5))
def test_where_each_clip_is_a_group_classes_differ_by_one_clip_at_most(labels, splits):
    numbers = assign_splits([str(label) for label in labels], [str(place) for place in range(len(labels))], splits, 0)
    for label in set(labels):
        inside = Counter(number for other, number in zip(labels, numbers.tolist(), strict=True) if other == label)
        counts = [inside[number] for number in range(splits)]
        assert max(counts) - min(counts) <= 1


def test_another_seed_is_another_division():
    labels, groups = ["a", "b"] * 50, [str(place // 2) for place in range(100)]
    first, again, other = (assign_splits(labels, groups, 5, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.data
def test_classes_of_real_recordings_are_spread_evenly(data):
    clips = scan(str(data / "speech_commands_8words"), labelled=True).clips
    labels = clips["label"].to_pylist()
    groups = groups_of(clips["path"].combine_chunks(), None, "").to_pylist()
    numbers = assign_splits(labels, groups, 5, 0)
    for label, total in Counter(labels).items():
        inside = Counter(numbers[[other == label for other in labels]].tolist())
        assert all(abs(inside[number] / total - 0.2) < 0.003 for number in range(5)), (label, inside)


def test_rows_of_a_set_are_divided_by_group(feature_set):
    manifest = load_manifest(feature_set)
    partitions = ("training", "validation", "testing")
    assert count_groups(feature_set, manifest, partitions) == 40
    clips = clips_table(feature_set, manifest).to_pylist()
    group = {(clip["shard"], clip["row"]): clip["group"] for clip in clips}
    parts = [
        [(shard, row) for shard, rows in part.items() for row in rows.tolist()]
        for part in split_rows(feature_set, manifest, partitions, 4, 0)
    ]
    assert sorted(pair for part in parts for pair in part) == sorted(group)
    assert [len({group[pair] for pair in part}) for part in parts] == [10, 10, 10, 10]


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        ("aabb", "0101", r"at most the number of groups.*set has 2, not 3"),
        ("aabbc", "01230", r"all clips of 'c' in set are of the group '0'"),
        ("abc", "012", r"all clips of 'a' in set are of the group '0'"),
    ],
)
def test_what_cannot_be_divided_by_group_is_refused(labels, groups, message):
    with pytest.raises(UsageError, match=message):
        check_groups(labels, groups, 3, "set")
