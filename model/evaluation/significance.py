"""Whether two networks differ by more than chance, from the same clips: paired tests, two-sided.

Both tests ask how often networks that are equally good would differ by so much. McNemar's takes clips as independent.
Clips of a group are alike, as those of a speaker: what one network gets right of a speaker it gets right again. The
second test takes groups as independent, and nothing else.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# With fewer discordant clips than this, the chi-square distribution is not near enough to the binomial one.
_LEAST_FOR_CHI_SQUARE = 25
# Smaller sums of probabilities are lost in the rounding of the Fourier transform.
_SMALLEST_SHARE = 1e-15
EXACT, CHI_SQUARE = "exact binomial", "chi-square, continuity-corrected"


@dataclass(frozen=True)
class PairedTest:
    """How a network stands against another on the same clips.

    Attributes:
        won: clips that it alone gets right.
        lost: clips that the other alone gets right.
        clip_p: p-value of McNemar's test, which takes clips as independent.
        method: how that was computed, `EXACT` or `CHI_SQUARE`.
        group_p: p-value of `group_sign_test`, which takes groups as independent.
        groups: number of groups that the two differ on, by which `group_p` is limited: it is 2^(1 - groups) at least.
    """

    won: int
    lost: int
    clip_p: float
    method: str
    group_p: float
    groups: int


def paired_test(correct: NDArray[np.bool_], other: NDArray[np.bool_], groups: NDArray[np.int64]) -> PairedTest:
    """Compares a network with another.

    Args:
        correct: whether the network gets each clip right, (clips,).
        other: the same of the other network.
        groups: number of each clip's group, from 0.
    """
    won, lost = int((correct & ~other).sum()), int((other & ~correct).sum())
    differences = np.bincount(groups, weights=correct.astype(np.float64) - other).astype(np.int64)
    method = EXACT if won + lost < _LEAST_FOR_CHI_SQUARE else CHI_SQUARE
    return PairedTest(
        won, lost, mcnemar(won, lost), method, group_sign_test(differences), int(np.count_nonzero(differences))
    )


def mcnemar(won: int, lost: int) -> float:
    """Returns the p-value of McNemar's test (1947) of the discordant clips.

    Below 25 of them it is that of the exact binomial test; else that of the chi-square distribution with one degree of
    freedom, at (|won - lost| - 1)^2 / (won + lost), with the continuity correction of Edwards (1948).
    """
    from scipy.special import bdtr, chdtrc  # slow to load, and not needed for --help

    discordant = won + lost
    if discordant < _LEAST_FOR_CHI_SQUARE:
        return min(1.0, 2 * float(bdtr(min(won, lost), discordant, 0.5)))
    return float(chdtrc(1, max(0, abs(won - lost) - 1) ** 2 / discordant))


def group_sign_test(differences: NDArray[np.int64]) -> float:
    """Computes the p-value of the permutation test that exchanges the two networks group by group.

    Were they equally good, each group's difference could as well have the other sign. The p-value is the share of all
    choices of signs whose sum is as far from 0 as the one that was met. All of them are counted and none is drawn: the
    sum of independent terms of d or -d has the characteristic function prod cos(d t), from which its distribution
    follows by a Fourier transform. Where every group has one clip, this is McNemar's exact test.

    Args:
        differences: clips won less clips lost in each group, (groups,).

    Returns:
        The p-value; 1e-15 for what is smaller still.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    if not len(sizes):
        return 1.0
    largest = int(sizes @ counts)
    length = 2 * largest + 1
    angles = 2 * np.pi * np.arange(length) / length
    characteristic = np.ones(length)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        characteristic *= np.cos(size * angles) ** count
    shares = np.fft.fft(characteristic).real / length  # of the sums 0, 1, ..., largest, -largest, ..., -1
    sums = np.minimum(np.arange(length), length - np.arange(length))
    share = float(shares[sums >= abs(int(differences.sum()))].sum())
    return min(1.0, max(share, _SMALLEST_SHARE))
