"""Recordings as windows of the clip length, at equal distances.

Each window is resampled by itself, so its values follow from its own samples, wherever the reading of the file began.
Where the spec has no clip length, a file is one window, whole. Else what remains behind its last whole window may be
one more; the first window of a recording always stays.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.audio.decode import AudioInfo, AudioSource
from features.errors import ClipError, Reason, UsageError
from features.frontend.blocks import BlockReader
from features.frontend.clip import NO_SAMPLES, check_room
from features.frontend.spec import FeatureSpec
from features.frontend.waveform import Mono, fit_mono, fit_monos, source_frames, to_mono
from features.io.filesystem import is_uri

PAD, DROP, OVERLAP = TAILS = ("pad", "drop", "overlap")
"""What becomes of the remainder: it is padded or left out, or a last window ends where the recording does."""

# Of a long recording, so many samples of all channels are read at a time, and so many windows at most.
_READ_SAMPLES = 2**22
_READ_WINDOWS = 64
# Of a file whose samples lie there as they are, so few that they stay in the cache of a core until they are used.
_PLAIN_SAMPLES = 2**17
# By two, soxr designs one filter for both.
_FITTED_TOGETHER = 2
# Where nothing else is said, a last window is this part of a whole one at least.
_SHORTEST_PART = 20


@dataclass(frozen=True)
class Windowing:
    """Where the windows of a recording begin, and what becomes of the remainder behind its last whole one.

    Attributes:
        hop_samples: from the start of a window to that of the next, in samples of the spec's rate; None for a window.
        tail: one of `TAILS`.
        least_seconds: with `PAD`, a last window of several that is shorter is left out.
    """

    hop_samples: int | None = None
    tail: str = PAD
    least_seconds: float = 0.0


EVERY_WINDOW = Windowing()
"""One after the other, and none left out."""


class Window(NamedTuple):
    """A window of a recording.

    Attributes:
        waveform: as `fit` gives it.
        start_seconds: where it begins.
        end_seconds: where it really ends.
        whole: whether it has all the samples that the header promises.
        cancelled: whether its channels cancel each other in their mean.
    """

    waveform: NDArray[np.float32]
    start_seconds: float
    end_seconds: float
    whole: bool
    cancelled: bool


def windowing_of(
    spec: FeatureSpec, hop_seconds: float | None = None, tail: str = PAD, min_window_seconds: float | None = None
) -> Windowing:
    """Returns the windowing that options ask for.

    Args:
        spec: the front end.
        hop_seconds: from the start of a window to that of the next, which is rounded to samples of the spec's rate;
            None for a window.
        tail: one of `TAILS`.
        min_window_seconds: how long the last of several windows is at least; None for a twentieth of a window.

    Raises:
        UsageError: one of them is not what it may be, or has no meaning for the spec or beside the others.
    """
    if tail not in TAILS:
        raise UsageError(f"--tail is one of {', '.join(TAILS)}, not {tail!r}")
    if spec.clip_samples is None and (hop_seconds is not None or tail != PAD):
        given = f"--tail {tail}" if hop_seconds is None else f"--hop-seconds {hop_seconds:g}"
        raise UsageError(f"{given} is for models whose spec has a clip length; this one takes each recording whole, as "
                         "one window: leave the option out")  # fmt: skip
    if tail != PAD and min_window_seconds is not None:
        raise UsageError(f"--min-window-seconds is for --tail {PAD}; with --tail {tail} no last window is shorter than "
                         "the others: leave one of the two out")  # fmt: skip
    least_seconds = _least_seconds(min_window_seconds, spec) if tail == PAD else 0.0
    if hop_seconds is None:
        return Windowing(None, tail, least_seconds)
    if not 0 < hop_seconds < math.inf:
        raise UsageError(f"--hop-seconds is above 0, not {hop_seconds:g}")
    hop_samples = max(1, round(hop_seconds * spec.sample_rate_hz))
    return Windowing(None if hop_samples == spec.clip_samples else hop_samples, tail, least_seconds)


def _least_seconds(requested: float | None, spec: FeatureSpec) -> float:
    length = math.inf if spec.clip_seconds is None else spec.clip_seconds
    if requested is None:
        return 0.0 if spec.clip_seconds is None else length / _SHORTEST_PART
    if not 0 <= requested <= length or requested == math.inf:
        limit = "at least 0" if spec.clip_seconds is None else f"from 0 to {length:g} s, the length of a window"
        raise UsageError(f"the least length of a last window, --min-window-seconds, is {limit}, not {requested:g}")
    return float(requested)


@dataclass(frozen=True)
class _Places:
    """Where the windows of a recording lie, in frames.

    Attributes:
        info: what `probe` said of it.
        spec: the front end.
        windowing: where windows begin, and which last one is kept.
    """

    info: AudioInfo
    spec: FeatureSpec
    windowing: Windowing

    @property
    def hop_samples(self) -> int:
        """From a window to the next, at the spec's rate; without a clip length, more than the recording has."""
        length = self.spec.clip_samples
        if length is None:
            return max(1, self.info.frames * self.spec.sample_rate_hz)
        return self.windowing.hop_samples or length

    @cached_property
    def whole(self) -> int:
        """How many windows on the grid lie within the recording."""
        if self.spec.clip_samples is None:
            return 1
        rate_hz = self.info.rate_hz
        room = (self.info.frames + 1) * self.spec.sample_rate_hz - 1 - self.spec.clip_samples * rate_hz
        return max(0, room // (self.hop_samples * rate_hz) + 1)

    @cached_property
    def count(self) -> int:
        """How many windows the recording has."""
        whole, frames, tail = self.whole, self.info.frames, self.windowing.tail
        if whole == 0:
            return 1
        begin, end = self._on_grid(whole)
        left = frames - max(begin, self._on_grid(whole - 1)[1])
        # Of less than half a sample at the spec's rate none is left.
        if left <= 0 or 2 * left * self.spec.sample_rate_hz < self.info.rate_hz or tail == DROP:
            return whole
        return whole if tail == PAD and self.is_short(frames - begin, end - begin) else whole + 1

    def is_short(self, frames: int, of: int) -> bool:
        """Returns whether a window behind the first, of which this many frames are there, is left out."""
        if frames == 0 or frames >= of:
            return frames == 0
        # Rounded, since 0.07 * 100 is more than 7.
        return self.windowing.tail == DROP or frames < round(self.windowing.least_seconds * self.info.rate_hz, 6)

    def span(self, number: int) -> tuple[int, int]:
        """Returns the first frame of a window and the one behind its last, which may lie behind the recording's."""
        begin, end = self._on_grid(number)
        if self.windowing.tail == OVERLAP and 0 < self.whole == number:
            moved = self.info.frames - source_frames(self.spec.clip_samples or 0, self.spec, self.info.rate_hz)
            return max(moved, self._on_grid(number - 1)[0]), self.info.frames
        return begin, end

    def _on_grid(self, number: int) -> tuple[int, int]:
        if self.spec.clip_samples is None:
            return number * self.info.frames, (number + 1) * self.info.frames
        begin = number * self.hop_samples
        return (source_frames(begin, self.spec, self.info.rate_hz),
                source_frames(begin + self.spec.clip_samples, self.spec, self.info.rate_hz))  # fmt: skip


def num_windows(info: AudioInfo, spec: FeatureSpec, windowing: Windowing = EVERY_WINDOW) -> int:
    """Returns how many windows a file has: those that lie within it, and at most one for what remains behind them.

    A remainder that is less than half a sample at the spec's rate is none: no sample is left of it. A file has one
    window at least; without a clip length, one.

    Args:
        info: what `probe` said of the file.
        spec: the front end.
        windowing: where windows begin, and which last one is kept.
    """
    return _Places(info, spec, windowing).count


def window_waveforms(
    source: AudioSource,
    info: AudioInfo,
    spec: FeatureSpec,
    first: int,
    count: int,
    windowing: Windowing = EVERY_WINDOW,
) -> Iterator[Window]:
    """Decodes windows that follow one another and fits each by itself; window 0 of a short clip is that clip.

    Args:
        source: path or content of the file.
        info: what `probe` said of it.
        spec: the front end.
        first: number of the first window.
        count: number of windows.
        windowing: as in `num_windows`.

    Yields:
        The windows, but those after the first of the file that hold no sample or too few, as it was cut off or is
        damaged there.

    Raises:
        ClipError: a window cannot be used, or nothing is left of the first one of the file.
    """
    check_room(info.frames, info, spec)
    places = _Places(info, spec, windowing)
    reader = block_reader(source, info, spec, windowing, places.span(first + count - 1)[1])
    waiting: list[_Unfitted] = []
    for number in range(first, first + count):
        begin, end = places.span(number)
        samples, lacks = reader.read(begin, end)
        if len(samples) == 0 and number == 0:
            if not info.frames:
                raise ClipError("decode", Reason.EMPTY, NO_SAMPLES)
            promised = f"the header promises {info.frames} samples and none can be read"
            raise ClipError("decode", Reason.DAMAGED, promised)
        if number and places.is_short(len(samples), end - begin):
            continue
        whole = begin + len(samples) == min(end, info.frames) and not lacks
        waiting.append((begin, begin + len(samples), whole, to_mono(samples, spec.channels)))
        if len(waiting) == _FITTED_TOGETHER:
            yield from _fitted(waiting, info.rate_hz, spec)
            waiting.clear()
    yield from _fitted(waiting, info.rate_hz, spec)


_Unfitted = tuple[int, int, bool, Mono]  # first frame of a window, the one behind its last, whether it is whole


def _fitted(windows: list[_Unfitted], rate_hz: int, spec: FeatureSpec) -> Iterator[Window]:
    fitted = fit_monos([mono for *_, mono in windows], rate_hz, spec)
    for (begin, end, whole, mono), waveform in zip(windows, fitted, strict=True):
        if not isinstance(waveform, ClipError):
            yield Window(waveform, begin / rate_hz, end / rate_hz, whole, mono.cancelled)
        elif whole or begin == 0 or waveform.reason != Reason.TOO_SHORT:  # what a damage left may be too short for one
            raise waveform


def block_reader(
    source: AudioSource, info: AudioInfo, spec: FeatureSpec, windowing: Windowing, last_frame: int
) -> BlockReader:
    """Returns what reads any stretch of a recording with the samples that its windows have there, to the bit.

    Args:
        source: path or content of the file.
        info: what `probe` said of it.
        spec: the front end.
        windowing: as in `num_windows`.
        last_frame: behind the last frame that will be asked for.
    """
    step = _Places(info, spec, windowing).hop_samples
    if spec.clip_samples and step >= 2 * spec.clip_samples:  # what lies between the windows need not be decoded
        return BlockReader(source, info, spec, spec.clip_samples, last_frame)
    step_frames = source_frames(step, spec, info.rate_hz) if spec.clip_samples else info.frames
    at_hand = info.pcm_offset is not None and not (isinstance(source, str) and is_uri(source))
    most = _PLAIN_SAMPLES if at_hand else _READ_SAMPLES
    per_read = max(1, min(_READ_WINDOWS, most // max(1, step_frames * info.channels)))
    return BlockReader(source, info, spec, per_read * step, last_frame)


def waveform_windows(
    samples: NDArray[np.float32], rate_hz: int, spec: FeatureSpec, windowing: Windowing = EVERY_WINDOW
) -> Iterator[Window]:
    """Cuts samples in memory into the windows that a file of them has, each fitted by itself.

    Args:
        samples: float32 of shape (frames, channels), one frame at least, all finite.
        rate_hz: their rate.
        spec: the front end.
        windowing: as in `num_windows`.

    Raises:
        ClipError: a window cannot be used.
    """
    places = _Places(AudioInfo(len(samples), samples.shape[1], rate_hz), spec, windowing)
    for number in range(places.count):
        begin, end = places.span(number)
        end = min(end, len(samples))
        mono = to_mono(samples[begin:end], spec.channels)
        yield Window(fit_mono(mono, rate_hz, spec), begin / rate_hz, end / rate_hz, True, mono.cancelled)
