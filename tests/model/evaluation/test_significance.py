import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test

from model.evaluation.significance import CHI_SQUARE, EXACT, group_sign_test, mcnemar, paired_test


@pytest.mark.parametrize(
    ("won", "lost", "expected"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 0.0625),
        (2, 10, 0.03857421875),
        (12, 12, 1.0),
        (24, 0, 2**-23),
        # From 25 on: (|won - lost| - 1)^2 / (won + lost) is 24^2 / 25, 4^2 / 25, 61^2 / 180 and 0, with 1 degree.
        (25, 0, 1.5866563039511885e-06),
        (15, 10, 0.42371079716679),
        (121, 59, 5.450094825427e-06),
        (40, 40, 1.0),
    ],
)
def test_mcnemar_of_known_tables(won, lost, expected):
    assert mcnemar(won, lost) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(lost, won) == mcnemar(won, lost)


@given(st.integers(0, 24), st.data())
def test_few_discordant_clips_take_the_binomial_test_of_scipy(discordant, data):
    won = data.draw(st.integers(0, discordant))
    expected = binomtest(won, discordant).pvalue if discordant else 1.0
    assert mcnemar(won, discordant - won) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_group_test_is_the_permutation_test_of_scipy(seed):
    differences = np.random.default_rng(seed).integers(-3, 5, 9)
    expected = permutation_test(
        (differences, np.zeros_like(differences)),
        lambda mine, theirs, axis: (mine - theirs).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert group_sign_test(differences) == pytest.approx(expected.pvalue, abs=1e-12)


@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=24))
def test_groups_of_one_clip_each_take_mcnemars_exact_test(differences):
    won, lost = differences.count(1), differences.count(-1)
    assert group_sign_test(np.array(differences, np.int64)) == pytest.approx(mcnemar(won, lost), rel=1e-9)


def test_groups_whose_clips_agree_are_less_evidence_than_their_clips():
    # Five speakers, ten clips each, all won: of 32 choices of signs, two are as far from 0.
    assert group_sign_test(np.full(5, 10)) == pytest.approx(2 / 32)
    assert mcnemar(50, 0) < 1e-10


@pytest.mark.parametrize(("groups", "expected"), [(40, 2**-39), (100, 1e-15), (2_000, 1e-15)])
def test_what_the_transform_cannot_resolve_is_given_as_the_least_that_it_can(groups, expected):
    assert group_sign_test(np.ones(groups, np.int64)) == pytest.approx(expected, rel=1e-3)


def test_wins_and_losses_are_counted_by_clip_and_by_group():
    mine = np.array([1, 1, 1, 0, 1, 0, 0], bool)
    other = np.array([0, 0, 1, 1, 0, 0, 1], bool)
    test = paired_test(mine, other, np.array([0, 0, 0, 0, 1, 2, 3]))
    assert (test.won, test.lost, test.groups, test.method) == (3, 2, 3, EXACT)
    assert test.clip_p == 1.0
    # The groups' differences are 1, 1, 0 and -1: six of eight choices of signs are as far from 0 as 1, the rest are 3.
    assert test.group_p == pytest.approx(1.0)
    swapped = paired_test(other, mine, np.array([0, 0, 0, 0, 1, 2, 3]))
    assert (swapped.won, swapped.lost, swapped.group_p) == (2, 3, pytest.approx(test.group_p))


def test_many_discordant_clips_take_the_chi_square_distribution():
    mine, other = np.arange(40) < 30, np.arange(40) >= 30
    assert paired_test(mine, other, np.arange(40)).method == CHI_SQUARE
