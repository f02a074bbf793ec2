"""The results of labelling: scores, and the lines of the labelled CSV."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from features.errors import Reject, UsageError
from features.io.csv_text import csv_label, csv_lines
from features.sources.paths import csv_path


@dataclass(frozen=True)
class Score:
    """One line of a labelled CSV.

    Attributes:
        path: of the file, escaped.
        start_seconds: where the window begins.
        end_seconds: where it really ends, which for a file's last window may be before a clip length is over.
        label: name of the class.
        probability: that the network gives it.
        rank: 1 for the most probable class of the window, 2 for the next.
    """

    path: str
    start_seconds: float
    end_seconds: float
    label: str
    probability: float
    rank: int


@dataclass(frozen=True)
class Labels:
    """What came of some units.

    Attributes:
        scores: in the order of the units and their windows, then by rank.
        rejects: files that could not be used; none of their windows is among the scores.
        warnings: of units that were labelled all the same, a reject's fields each; a unit may have several.
        scored: number of units that were labelled.
        windows: number of windows labelled of each unit, 0 of a reject.
    """

    scores: list[Score]
    rejects: list[Reject]
    warnings: list[Reject]
    scored: int
    windows: list[int]


def check_top(top: int, classes: Sequence[str]) -> None:
    """Raises `UsageError` where a network with these classes cannot give so many labels per window."""
    if not 1 <= top <= len(classes):
        raise UsageError(f"--top is 1 to {len(classes)}, the number of classes, not {top}")


def csv_header(top: int) -> str:
    """Returns the first line of a labelled CSV; it has a rank where more than one label per window is requested."""
    return "path,start_seconds,end_seconds,label,probability" + (",rank" if top > 1 else "") + "\n"


def score_lines(scores: Iterable[Score], top: int) -> str:
    """Returns the lines of scores: seconds and probabilities with six digits."""
    return csv_lines(
        (
            csv_path(score.path),
            f"{score.start_seconds:.6f}",
            f"{score.end_seconds:.6f}",
            csv_label(score.label),
            f"{score.probability:.6f}",
            *([score.rank] if top > 1 else []),
        )
        for score in scores
    )
