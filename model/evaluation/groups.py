"""How a network does by group: clips of one group, a speaker's say, are alike, and it may fail some groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.evaluation.metrics import wilson_interval

LEAST_CLIPS = 5
"""A group is among the worst with so many clips at least: of fewer, one mistake makes the difference."""
_WORST = 5
_QUANTILE = 0.975


@dataclass(frozen=True)
class GroupScores:
    """The groups of some clips, in the order of their names.

    Attributes:
        names: of the groups.
        clips: int64 of shape (groups,).
        correct: int64 of shape (groups,), those that got their true label.
    """

    names: list[str]
    clips: NDArray[np.int64]
    correct: NDArray[np.int64]

    @classmethod
    def of(cls, groups: Sequence[str], correct: NDArray[np.bool_]) -> "GroupScores":
        """Counts the clips of each group: the group of each clip, and whether it got its true label."""
        names = sorted(set(groups))
        ids = {name: number for number, name in enumerate(names)}
        numbers = np.array([ids[name] for name in groups], dtype=np.int64)
        clips = np.bincount(numbers, minlength=len(names))
        return cls(names, clips, np.bincount(numbers[correct], minlength=len(names)))

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """The accuracy of each group: (groups,)."""
        accuracy: NDArray[np.float64] = self.correct / self.clips
        return accuracy

    def interval(self) -> tuple[float, float]:
        """Returns the 95 % interval of the accuracy on all clips, where groups are independent and their clips are not.

        It is Wilson's for as many independent clips as say as much: the number of clips divided by the design effect,
        which is the variance of the accuracy as a ratio of sums over groups (Cochran, "Sampling Techniques", 1977,
        section 9A) over that of independent clips, and is taken to be 1 at least; and by the square of the ratio of
        Student's quantiles for the groups and for the clips (Korn and Graubard, "Confidence Intervals for Proportions
        with Small Expected Number of Positive Counts Estimated From Survey Data", Survey Methodology 24, 1998). Where
        each clip is a group of its own, it is Wilson's for the clips. Clips that are all right, or all wrong, cannot
        show how alike those of a group are: their design effect is 1.
        """
        from scipy.special import stdtrit  # which takes a fifth of a second to load, and --help does not need

        groups, clips, correct = len(self.names), int(self.clips.sum()), int(self.correct.sum())
        if groups < 2:
            return 0.0, 1.0
        share = correct / clips
        residuals = self.correct - share * self.clips
        variance = groups / (groups - 1) * float((residuals**2).sum()) / clips**2
        independent = share * (1 - share) / (clips - 1)
        effect = max(1.0, variance / independent) if independent else 1.0
        quantiles = stdtrit(clips - 1, _QUANTILE) / stdtrit(groups - 1, _QUANTILE)
        effective = clips / effect * float(quantiles) ** 2
        return wilson_interval(share * effective, effective)

    def spread(self) -> dict[str, Any]:
        """Returns the quartiles of the groups' accuracies, and the worst groups of `LEAST_CLIPS` clips or more."""
        accuracy = self.accuracy
        order = sorted(np.flatnonzero(self.clips >= LEAST_CLIPS).tolist(), key=lambda row: (accuracy[row], row))
        return {
            "quartiles": np.quantile(accuracy, [0.25, 0.5, 0.75]).tolist(),
            "least_clips": LEAST_CLIPS,
            "worst": [
                {
                    "group": self.names[row],
                    "clips": int(self.clips[row]),
                    "correct": int(self.correct[row]),
                    "accuracy": float(accuracy[row]),
                }
                for row in order[:_WORST]
            ],
        }
