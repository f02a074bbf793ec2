"""The lines of windows: their most probable classes, what is less probable than a threshold left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features.errors import UsageError
from model.labels.window_rows import WindowRows


@dataclass(frozen=True)
class LabelRules:
    """Which lines a window has.

    Attributes:
        classes: in the order of the network's outputs.
        top: labels a window, the most probable first; with more than one, lines have their rank.
        thresholds: of each class; a label of the `top` that is less probable is left out. None for no threshold.
        probabilities: whether a line has the probability of every class beside its label's.
    """

    classes: Sequence[str]
    top: int = 1
    thresholds: Sequence[float] | None = None
    probabilities: bool = False

    @property
    def schema(self) -> pa.Schema:
        """The columns of the lines."""
        columns = {
            "path": pa.string(),
            "start_seconds": pa.float64(),
            "end_seconds": pa.float64(),
            "label": pa.string(),
            "probability": pa.float64(),
        }
        if self.top > 1:
            columns["rank"] = pa.int32()
        if self.probabilities:
            columns |= {f"probability_{label}": pa.float64() for label in self.classes}
        return pa.schema(columns)


def check_top(top: int, classes: Sequence[str], kind: str = "classes") -> None:
    """Raises `UsageError` where a network with these classes, named by a word, cannot give so many per window."""
    if not 1 <= top <= len(classes):
        raise UsageError(f"--top is 1 to {len(classes)}, the number of {kind}, not {top}")


def labels_table(rows: WindowRows, rules: LabelRules) -> pa.Table:
    """Returns the lines of windows, in their order, then by rank.

    Returns:
        Table of `rules.schema`. Numbers are not rounded: with six digits they are those of the CSV.
    """
    windows, top = len(rows), rules.top
    if top == 1:
        best = rows.probabilities.argmax(axis=1) if windows else np.empty(0, np.int64)
        highest = rows.probabilities[np.arange(windows), best]
    else:
        ranked = np.argsort(-rows.probabilities, axis=1, kind="stable")[:, :top]
        highest = np.take_along_axis(rows.probabilities, ranked, axis=1).reshape(-1)
        best = ranked.reshape(-1)
    of_window = np.repeat(np.arange(windows), top)
    rank = np.tile(np.arange(1, top + 1, dtype=np.int32), windows)
    if rules.thresholds is not None:
        wanted = highest >= np.asarray(rules.thresholds, np.float64)[best]
        of_window, rank, best, highest = of_window[wanted], rank[wanted], best[wanted], highest[wanted]
    columns = [
        _words(rows.recordings[of_window], rows.paths),
        pa.array(rows.start_seconds[of_window]),
        pa.array(rows.end_seconds[of_window]),
        _words(best, rules.classes),
        pa.array(highest.astype(np.float64)),
    ]
    if top > 1:
        columns.append(pa.array(rank))
    if rules.probabilities:
        columns += [pa.array(column) for column in rows.probabilities[of_window].T.astype(np.float64)]
    return pa.table(columns, schema=rules.schema)


def _words(numbers: np.typing.NDArray[np.int64], words: Sequence[str]) -> pa.Array:
    return pa.array(list(words), pa.string()).take(pa.array(numbers))
