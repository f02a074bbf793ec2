"""The windows of a recording, one after the other, as scoring has them where nothing else is said."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# A last window is this part of a whole one at least.
_SHORTEST_PART = 20


@dataclass(frozen=True)
class WindowGrid:
    """Windows of one length, one after the other.

    Attributes:
        samples: of a window, at the rate of the spec.
        rate_hz: of the spec.
    """

    samples: int
    rate_hz: int

    @property
    def seconds(self) -> float:
        """The length of a window."""
        return self.samples / self.rate_hz

    def windows(self, frames: int, rate_hz: int) -> Iterator[tuple[int, int]]:
        """Yields the first frame of each window of a recording and the one behind its last.

        What remains behind the last whole window is one more, where it has a twentieth of it at least; a recording has
        one at least.

        Args:
            frames: of the recording.
            rate_hz: of its sound.
        """
        number = 0
        while True:
            begin, end = self._edge(number, rate_hz), self._edge(number + 1, rate_hz)
            left = frames - begin
            is_short = end > frames and (2 * left * self.rate_hz < rate_hz
                                         or left < round(self.seconds / _SHORTEST_PART * rate_hz, 6))  # fmt: skip
            if number and (left <= 0 or is_short):
                return
            yield begin, min(end, frames)
            number += 1

    def overlaps(
        self, begin: int, end: int, windows: Sequence[tuple[int, int]], rate_hz: int
    ) -> Iterator[tuple[int, int]]:
        """Yields the numbers of the windows that an annotation lies in, and how many frames of it each has.

        Args:
            begin: its first frame.
            end: the one behind its last; the same for a point, which lies in one window, with no frame.
            windows: of the recording.
            rate_hz: of its sound.
        """
        nearby = max(0, begin * self.rate_hz // (self.samples * rate_hz) - 1)
        for number in range(nearby, len(windows)):
            first, last = windows[number]
            if first >= end and first > begin:
                return
            overlap = min(end, last) - max(begin, first)
            if overlap > 0 or (begin == end and first <= begin < last):
                yield number, max(0, overlap)

    def _edge(self, number: int, rate_hz: int) -> int:
        return number * self.samples * rate_hz // self.rate_hz
