"""Windows of whole recordings, out of a stream that may cut a recording into pieces."""

from dataclasses import replace

import numpy as np

from model.labels.window_rows import WindowRows, concatenate


class WholeRecordings:
    """Takes windows as they come and gives those of recordings that are whole; the last one waits for what follows."""

    def __init__(self) -> None:
        """Begins a stream."""
        self._waiting: list[WindowRows] = []

    def take(self, rows: WindowRows) -> WindowRows:
        """Takes windows and returns those of all recordings, each once, that are whole by now."""
        rows = _by_path(replace(rows, embeddings=None))
        if not len(rows):
            return rows
        if self._waiting and self._waiting[0].paths[0] == rows.paths[0]:
            whole = _part(rows, 0, 0)
            if len(rows.paths) == 1:
                self._waiting.append(rows)
                return whole
            self._waiting.append(_part(rows, 0, 1))
            rows = _part(rows, 1, len(rows.paths))
        before = self.rest()
        self._waiting = [_part(rows, len(rows.paths) - 1, len(rows.paths))]
        whole = _part(rows, 0, len(rows.paths) - 1)
        return whole if before is None else concatenate([before, whole])

    def rest(self) -> WindowRows | None:
        """Returns the windows of the last recording, where there is one, when nothing follows."""
        waiting, self._waiting = self._waiting, []
        return _by_path(concatenate(waiting)) if waiting else None


def _by_path(rows: WindowRows) -> WindowRows:
    """Returns the same windows with each recording once: pieces of one that follow one another are joined."""
    has_windows = np.flatnonzero(rows.counts)
    paths = [rows.paths[number] for number in has_windows.tolist()]
    begins = [number for number, path in enumerate(paths) if number == 0 or path != paths[number - 1]]
    counts = np.add.reduceat(rows.counts[has_windows], begins) if begins else rows.counts[:0]
    return replace(rows, paths=[paths[number] for number in begins], counts=counts)


def _part(rows: WindowRows, first: int, last: int) -> WindowRows:
    """Returns the windows of some recordings that follow one another."""
    begin, end = int(rows.counts[:first].sum()), int(rows.counts[:last].sum())
    return WindowRows(
        paths=rows.paths[first:last],
        counts=rows.counts[first:last],
        start_seconds=rows.start_seconds[begin:end],
        end_seconds=rows.end_seconds[begin:end],
        probabilities=rows.probabilities[begin:end],
    )
