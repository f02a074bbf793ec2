from collections import Counter

import numpy as np
import pytest

from features.store.manifest import load_manifest
from model.training.label_plan import LabelPlan
from model.training.labelled_set import LabelledSet
from model.training.rows import Rows, batches, epoch_order, steps
from model.training.settings import LabelSettings
from model.training.silence import Silence, cycle
from tests.model.conftest import SMALL_SPEC

FORMATS = ("tfrecord", "parquet")
# Each window is a number of its own, that no clip has.
WINDOWS = -1.0 - np.arange(5, dtype=np.float32)


def noise_windows() -> Silence:
    features = np.tile(WINDOWS[:, None, None], (1, *SMALL_SPEC.shape))
    return Silence(features, [f"tap.wav@{number}" for number in range(len(WINDOWS))], SMALL_SPEC)


def open_rows(folder, silence=False, is_balanced=False, in_memory=True, within=None, **settings) -> Rows:
    manifest, plan = load_manifest(folder), LabelPlan(LabelSettings(**settings))
    noise = {"training": noise_windows()} if silence else {}
    labelled = LabelledSet(folder, manifest, plan.classes(manifest.classes), plan, noise)
    return labelled.to_learn_from(("training",), within, is_balanced, in_memory)


def of_epoch(rows: Rows, epoch: int, seed: int = 0, buffer_rows: int = 20) -> tuple[list[bytes], list[str]]:
    """Features and class of each row of an epoch, in its order."""
    parts = list(batches(rows, 8, seed, epoch, buffer_rows))
    assert len(parts) == steps(rows, 8)
    features, ids = (np.concatenate(part) for part in zip(*parts, strict=True))
    return [row.tobytes() for row in features], [rows.classes[number] for number in ids]


def plain_order(rows_by_shard, buffer_rows, seed, epoch):
    """What the order of an epoch has always been, written down once more."""
    generator = np.random.default_rng([seed, epoch])
    members = []
    shards = generator.permutation(len(rows_by_shard)).tolist()
    for place, shard in enumerate(shards):
        members.append(shard)
        if sum(rows_by_shard[member] for member in members) >= buffer_rows or place + 1 == len(shards):
            pairs = [(number, row) for number, member in enumerate(members) for row in range(rows_by_shard[member])]
            yield members, generator.permutation(np.array(pairs))
            members = []


@pytest.mark.parametrize("seed", [0, 7])
def test_an_epoch_in_which_nothing_is_drawn_has_the_order_it_always_had(seed):
    sizes = [5, 3, 8, 1, 4, 4, 1024, 2]
    for epoch in range(3):
        found = list(epoch_order(sizes, 9, seed, epoch))
        expected = list(plain_order(sizes, 9, seed, epoch))
        assert [group.shards for group in found] == [members for members, _ in expected]
        for group, (_, order) in zip(found, expected, strict=True):
            np.testing.assert_array_equal(group.order, order)
            assert group.silence == (0, 0)


def test_an_epoch_has_all_kept_clips_once_and_a_share_of_the_others_drawn_anew(small_shards):
    rows = open_rows(small_shards["tfrecord"], classes=("high", "low"), unknown_share=0.2)
    counts = load_manifest(small_shards["tfrecord"]).counts["classes"]
    kept = sum(counts[label]["training"] for label in ("high", "low"))
    unknown, epochs = round(0.2 * kept), 12
    seen = []
    for epoch in range(epochs):
        features, names = of_epoch(rows, epoch)
        assert Counter(names) == {"high": counts["high"]["training"], "low": counts["low"]["training"],
                                  "_unknown_": unknown}  # fmt: skip
        assert [names.count(name) for name in rows.classes] == rows.class_counts().tolist()
        assert len(set(features)) == len(features) == len(rows) == kept + unknown
        seen.append({row for row, name in zip(features, names, strict=True) if name == "_unknown_"})
    assert len({frozenset(part) for part in seen}) == epochs
    assert len(set.union(*seen)) > 2 * unknown


@pytest.mark.parametrize("options", [
    {"classes": ("high",), "unknown_share": 0.3},
    {"classes": ("high",), "unknown": ("low",), "silence_share": 0.5, "silence": True},
    {"is_balanced": True, "silence_share": 0.2, "silence": True},
])  # fmt: skip
def test_the_draw_follows_from_seed_and_epoch_alone(small_shards, options):
    first = open_rows(small_shards["tfrecord"], **options)
    of_epoch(first, 0)
    expected = of_epoch(first, 1)
    assert of_epoch(open_rows(small_shards["parquet"], in_memory=False, **options), 1) == expected
    assert of_epoch(first, 2) != expected
    assert of_epoch(first, 1, seed=1) != expected


@pytest.mark.parametrize("buffer_rows", [1, 20, 1000])
def test_windows_of_silence_come_among_the_clips_each_at_a_level_of_its_own(small_shards, buffer_rows):
    rows = open_rows(small_shards["tfrecord"], silence=True, silence_share=0.25)
    clips = load_manifest(small_shards["tfrecord"]).rows(["training"])
    features, names = of_epoch(rows, 0, buffer_rows=buffer_rows)
    places = np.flatnonzero([name == "_silence_" for name in names])
    assert len(places) == round(0.25 * clips)
    assert len(names) == len(rows) == clips + len(places)
    levels = np.array([np.frombuffer(features[place], np.float32) for place in places])
    assert (levels == levels[:, :1]).all(), "a window is one of those that were given, louder or softer"
    assert 0 < np.count_nonzero(levels[:, 0] == 0) < len(places) / 2, "digital silence is among them"
    assert len(set(levels[:, 0].tolist())) > len(places) / 2
    halves = [np.count_nonzero(places < len(names) / 2), np.count_nonzero(places >= len(names) / 2)]
    assert min(halves) > len(places) / 4, "they are spread over the epoch"


def test_balanced_classes_come_equally_often_whatever_their_size(small_shards):
    manifest = load_manifest(small_shards["tfrecord"])
    everything = open_rows(small_shards["tfrecord"], is_balanced=True)
    uneven = {shard.name: np.arange(shard.rows) for shard in manifest.shards(["training"])[:4]}  # 27 rows
    for rows in (everything, open_rows(small_shards["tfrecord"], is_balanced=True, within=uneven)):
        classes = len(rows.classes)
        times = Counter()
        for epoch in range(6):
            features, names = of_epoch(rows, epoch)
            counts = Counter(names)
            assert len(names) == len(rows) == sum(rows.num_rows(shard) for shard in rows.shards)
            assert max(counts.values()) - min(counts.values()) <= 1
            assert len(counts) == classes
            times.update(zip(features, names, strict=True))
        for name in rows.classes:
            of_class = [count for (_, label), count in times.items() if label == name]
            assert sum(of_class) == pytest.approx(6 * len(rows) / classes, abs=6)


def test_balance_makes_unknown_and_silence_as_frequent_as_a_word(small_shards):
    rows = open_rows(small_shards["tfrecord"], silence=True, is_balanced=True, classes=("high",), silence_share=0.1)
    counts = Counter(of_epoch(rows, 3)[1])
    assert set(counts) == {"high", "_silence_", "_unknown_"}
    assert max(counts.values()) - min(counts.values()) <= 1


def test_labels_that_are_not_used_are_in_no_epoch(small_shards):
    rows = open_rows(small_shards["tfrecord"], classes=("high",), unknown=("low",), unknown_share=100.0)
    counts = load_manifest(small_shards["tfrecord"]).counts["classes"]
    assert Counter(of_epoch(rows, 0)[1]) == {"high": counts["high"]["training"], "_unknown_": counts["low"]["training"]}


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_number_comes_again_only_when_all_have_come(size):
    for count in (0, 1, size - 1, size, size + 1, 3 * size + 1):
        times = np.bincount(cycle(size, count, np.random.default_rng(count)), minlength=size)
        assert times.sum() == count
        assert times.max() - times.min() <= 1
    assert len(cycle(0, 0, np.random.default_rng(0))) == 0
