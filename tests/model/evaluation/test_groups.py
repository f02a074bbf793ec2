import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluation.groups import GroupScores
from model.evaluation.metrics import wilson_interval


def scores(*groups: tuple[int, int]) -> GroupScores:
    """Groups of so many correct clips of so many."""
    names = [f"g{number:03d}" for number in range(len(groups))]
    return GroupScores(names, np.array([clips for _, clips in groups]), np.array([correct for correct, _ in groups]))


def drawn(generator: np.random.Generator, groups: int, clips: int, spread: float) -> GroupScores:
    """Groups whose shares of correct clips are those of a beta distribution of mean 0.8: the larger, the more alike."""
    shares = generator.beta(0.8 / spread, 0.2 / spread, groups)
    return scores(*((int(correct), clips) for correct in generator.binomial(clips, shares)))


def test_the_clips_of_each_group_are_counted():
    found = GroupScores.of(["b", "a", "b", "c", "a", "b"], np.array([True, False, True, True, False, False]))
    assert found.names == ["a", "b", "c"]
    assert (found.clips.tolist(), found.correct.tolist()) == ([2, 3, 1], [0, 2, 1])
    assert found.accuracy.tolist() == [0, 2 / 3, 1]


@given(st.integers(2, 300), st.data())
def test_where_each_clip_is_its_own_group_the_interval_is_wilsons(clips, data):
    correct = data.draw(st.integers(0, clips))
    found = scores(*[(1, 1)] * correct, *[(0, 1)] * (clips - correct)).interval()
    assert found == pytest.approx(wilson_interval(correct, clips), abs=1e-9)


def test_clips_that_are_copies_of_one_another_count_once():
    alone = scores(*[(1, 1)] * 70, *[(0, 1)] * 30).interval()
    ten_times = scores(*[(10, 10)] * 70, *[(0, 10)] * 30).interval()
    assert ten_times == pytest.approx(alone, abs=2e-3)


@given(st.integers(2, 40), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_interval_holds_the_accuracy_and_is_never_narrower_than_wilsons(groups, clips, seed):
    found = drawn(np.random.default_rng(seed), groups, clips, 0.5)
    low, high = found.interval()
    correct, total = int(found.correct.sum()), int(found.clips.sum())
    plain_low, plain_high = wilson_interval(correct, total)
    assert 0 <= low <= correct / total <= high <= 1
    assert low <= plain_low + 1e-12
    assert high >= plain_high - 1e-12


def test_one_group_says_nothing_of_others():
    assert scores((30, 40)).interval() == (0.0, 1.0)


def test_the_width_is_that_of_a_bootstrap_over_groups():
    generator = np.random.default_rng(0)
    found = drawn(generator, 200, 6, 0.5)
    draws = generator.integers(0, 200, (4_000, 200))
    shares = found.correct[draws].sum(axis=1) / found.clips[draws].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    assert found.interval() == pytest.approx((low, high), abs=0.1 * (high - low))


@pytest.mark.parametrize("groups", [10, 40])
def test_nineteen_of_twenty_intervals_hold_the_truth(groups):
    generator = np.random.default_rng(groups)
    intervals = [drawn(generator, groups, 8, 0.3).interval() for _ in range(1_000)]
    held = np.mean([low <= 0.8 <= high for low, high in intervals])
    assert 0.92 <= held <= 0.99
    low, high = wilson_interval(round(0.8 * groups * 8), groups * 8)
    assert np.mean([above - below for below, above in intervals]) > 1.2 * (high - low)


def test_the_worst_groups_have_a_few_clips_at_least():
    found = scores((0, 4), (2, 5), (1, 5), (9, 10), (8, 8), (1, 2), (6, 6), (5, 6), (2, 5))
    spread = found.spread()
    assert [group["group"] for group in spread["worst"]] == ["g002", "g001", "g008", "g007", "g003"]
    assert spread["worst"][0] == {"group": "g002", "clips": 5, "correct": 1, "accuracy": 0.2}
    assert spread["quartiles"] == np.quantile([0, 0.4, 0.2, 0.9, 1, 0.5, 1, 5 / 6, 0.4], [0.25, 0.5, 0.75]).tolist()
    assert scores((1, 1), (0, 4)).spread()["worst"] == []
