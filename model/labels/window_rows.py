"""Windows of recordings as columns: where each begins and ends, and what the network says of it."""

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

_BLOCK_WINDOWS = 4_096


@dataclass(frozen=True, eq=False)
class WindowRows:
    """Windows that follow one another in the order of the output: of some recordings, or a piece of a long one.

    Attributes:
        paths: of the recordings, escaped, in order; in a stream of pieces a recording may go on in the next one.
        counts: how many of the windows are of each, int64 of shape (recordings,).
        start_seconds: where each window begins, float64 of shape (windows,).
        end_seconds: where it really ends, which for a recording's last window may be before a clip length is over.
        probabilities: of each class in the order of the network's outputs, float32 of shape (windows, classes).
        embeddings: what the layer before the last gives, of shape (windows, size), or None.
    """

    paths: Sequence[str]
    counts: NDArray[np.int64]
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]
    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.floating] | None = None

    def __len__(self) -> int:
        """Returns the number of windows."""
        return len(self.start_seconds)

    @property
    def recordings(self) -> NDArray[np.int64]:
        """The number of the recording of each window, int64 of shape (windows,)."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def without(self, paths: Set[str]) -> "WindowRows":
        """Returns the windows of all recordings but some, by their paths."""
        stays = np.array([path not in paths for path in self.paths], np.bool_)
        if stays.all():
            return self
        windows = np.repeat(stays, self.counts)
        return WindowRows(
            paths=[path for path, wanted in zip(self.paths, stays.tolist(), strict=True) if wanted],
            counts=self.counts[stays],
            start_seconds=self.start_seconds[windows],
            end_seconds=self.end_seconds[windows],
            probabilities=self.probabilities[windows],
            embeddings=None if self.embeddings is None else self.embeddings[windows],
        )

    def of_classes(self, numbers: Sequence[int]) -> "WindowRows":
        """Returns the same windows with the probabilities of some classes alone, as they are."""
        return replace(self, probabilities=self.probabilities[:, list(numbers)])

    def by_recording(self) -> Iterator["WindowRows"]:
        """Yields the windows of each recording that has any."""
        first = 0
        for number, count in enumerate(self.counts.tolist()):
            last = first + count
            if count:
                yield WindowRows(
                    paths=self.paths[number : number + 1],
                    counts=self.counts[number : number + 1],
                    start_seconds=self.start_seconds[first:last],
                    end_seconds=self.end_seconds[first:last],
                    probabilities=self.probabilities[first:last],
                    embeddings=None if self.embeddings is None else self.embeddings[first:last],
                )
            first = last


def no_windows(classes: Sequence[str]) -> WindowRows:
    """Returns no window, of a network with these classes."""
    none = np.empty(0, np.float64)
    return WindowRows([], np.empty(0, np.int64), none, none, np.empty((0, len(classes)), np.float32))


def concatenate(pieces: Sequence[WindowRows]) -> WindowRows:
    """Returns the windows of some pieces, one at least, one after the other."""
    if len(pieces) == 1:
        return pieces[0]
    embeddings = [piece.embeddings for piece in pieces if piece.embeddings is not None]
    return WindowRows(
        paths=list(chain.from_iterable(piece.paths for piece in pieces)),
        counts=np.concatenate([piece.counts for piece in pieces]),
        start_seconds=np.concatenate([piece.start_seconds for piece in pieces]),
        end_seconds=np.concatenate([piece.end_seconds for piece in pieces]),
        probabilities=np.concatenate([piece.probabilities for piece in pieces]),
        embeddings=np.concatenate(embeddings) if embeddings else None,
    )


def in_blocks(stream: Iterable[WindowRows]) -> Iterator[WindowRows]:
    """Yields the windows of a stream, many at a time: what is done with some costs little more for many."""
    waiting: list[WindowRows] = []
    for rows in stream:
        waiting.append(rows)
        if sum(map(len, waiting)) >= _BLOCK_WINDOWS:
            yield concatenate(waiting)
            waiting = []
    if waiting:
        yield concatenate(waiting)
