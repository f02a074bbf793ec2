"""Recordings as windows of the clip length, one after the other.

Each window is resampled by itself, so its values follow from its own samples, wherever the reading of the file began.
Where the spec has no clip length, a file is one window, whole. Else its last window is what remains of it, which is
left out where it is too short to be labelled; the first window of a recording always stays.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.audio.decode import AudioInfo, AudioSource, decode_part
from features.errors import ClipError, Reason, UsageError
from features.frontend.clip import NO_SAMPLES, check_room
from features.frontend.spec import FeatureSpec
from features.frontend.waveform import fit_mono, source_frames, to_mono

PAD, DROP, OVERLAP = TAILS = ("pad", "drop", "overlap")
"""What becomes of the remainder of a recording: it is padded or left out, or the last window ends where it does."""

# Of a long recording, so many samples of all channels are read at a time, and so many windows at most.
_READ_SAMPLES = 2**22
_READ_WINDOWS = 64
# A day: a longer hop is a slip of the keyboard.
_MOST_HOP_SECONDS = 86_400
# Where nothing else is said, a last window is this part of a whole one at least.
_SHORTEST_PART = 20


@dataclass(frozen=True)
class Windowing:
    """Where the windows of a recording begin, and what becomes of the remainder after its whole ones.

    Attributes:
        hop_samples: from the start of a window to that of the next, in samples of the spec's rate; None for a window.
        tail: one of `TAILS`.
        least_seconds: with `PAD`, a remainder that is shorter, and not the first window, is left out.
    """

    hop_samples: int | None = None
    tail: str = PAD
    least_seconds: float = 0.0


_EVERY_WINDOW = Windowing()


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
        hop_seconds: from the start of a window to that of the next, rounded to samples of the spec's rate; None for a
            window.
        tail: one of `TAILS`.
        min_window_seconds: how long a remainder is at least; None for a twentieth of a window.

    Raises:
        UsageError: one of them is not what it may be, or a spec without a clip length has no such windows.
    """
    if tail not in TAILS:
        raise UsageError(f"--tail is one of {', '.join(TAILS)}, not {tail!r}")
    if spec.clip_samples is None and (hop_seconds is not None or tail != PAD):
        given = f"--tail {tail}" if hop_seconds is None else f"--hop-seconds {hop_seconds:g}"
        raise UsageError(f"{given} is of windows, and the model's spec has no clip length: it takes each recording as "
                         "one window, whole; leave the option out")  # fmt: skip
    if tail != PAD and min_window_seconds is not None:
        raise UsageError(f"--min-window-seconds goes with --tail {PAD}; --tail {tail} leaves no shorter window, so "
                         "give one of the two")  # fmt: skip
    least_seconds = _least_seconds(min_window_seconds, spec) if tail == PAD else 0.0
    if spec.clip_samples is None or hop_seconds is None:
        return Windowing(None, tail, least_seconds)
    if not 0 < hop_seconds <= _MOST_HOP_SECONDS:
        raise UsageError(f"--hop-seconds is above 0 and at most {_MOST_HOP_SECONDS:,}, not {hop_seconds:g}")
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


def num_windows(info: AudioInfo, spec: FeatureSpec, windowing: Windowing = _EVERY_WINDOW) -> int:
    """Returns how many windows of the clip length, one after the other, a file has; the last may be padded.

    A remainder that is less than half a sample at the spec's rate is not a window: no sample is left of it. Without
    a clip length a file is one window.

    Args:
        info: what `probe` said of the file.
        spec: the front end.
        windowing: where they begin, and which last one is kept.
    """
    if spec.clip_samples is None:
        return 1
    count = max(1, -(-info.frames * spec.sample_rate_hz // (spec.clip_samples * info.rate_hz)))
    rest = info.frames - _start_of(count - 1, info, spec)
    is_short = 2 * rest * spec.sample_rate_hz < info.rate_hz or _is_short(rest, count - 1, info, spec, windowing)
    return count - 1 if count > 1 and is_short else count


def _is_short(frames: int, number: int, info: AudioInfo, spec: FeatureSpec, windowing: Windowing) -> bool:
    """Returns whether a window of a file, of which this many frames are there, is a remainder below the least."""
    whole = _start_of(number + 1, info, spec) - _start_of(number, info, spec)
    # Rounded, since 0.07 * 100 is more than 7.
    return frames < whole and frames < round(windowing.least_seconds * info.rate_hz, 6)


def window_waveforms(
    source: AudioSource,
    info: AudioInfo,
    spec: FeatureSpec,
    first: int,
    count: int,
    windowing: Windowing = _EVERY_WINDOW,
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
        The windows, but those after the first of the file that hold no sample or less than the least, as it was cut off
        or is damaged there.

    Raises:
        ClipError: a window cannot be used, or nothing is left of the first one of the file.
    """

    def start_of(number: int) -> int:
        return _start_of(number, info, spec)

    check_room(info.frames, info, spec)
    # Reads begin at the same places of a file wherever a unit of windows does: a decoder may come to other last
    # digits after a jump to another place.
    per_read = max(1, min(_READ_WINDOWS, _READ_SAMPLES // max(1, start_of(1) * info.channels)))
    last = first + count
    for block in range(first - first % per_read, last, per_read):
        end_of_block = min(block + per_read, last)
        try:
            decoded = decode_part(source, info, start_of(block), start_of(end_of_block) - start_of(block))
        except ClipError as error:
            if block == 0 or error.reason != Reason.DAMAGED:
                raise
            continue
        for number in range(max(block, first), end_of_block):
            start, end = start_of(number), start_of(number + 1)
            window, lacks = decoded.part(start - start_of(block), end - start_of(block))
            if len(window) == 0 and number == 0:
                if not info.frames:
                    raise ClipError("decode", Reason.EMPTY, NO_SAMPLES)
                promised = f"the header promises {info.frames} samples and none can be read"
                raise ClipError("decode", Reason.DAMAGED, promised)
            if len(window) == 0 or (number and _is_short(len(window), number, info, spec, windowing)):
                continue
            whole = start + len(window) == min(end, info.frames) and not lacks
            try:
                mono = to_mono(window, spec.channels)
                waveform = fit_mono(mono, info.rate_hz, spec)
            except ClipError as error:  # what a damage left of a window may be too short for one
                if whole or number == 0 or error.reason != Reason.TOO_SHORT:
                    raise
                continue
            yield Window(waveform, start / info.rate_hz, (start + len(window)) / info.rate_hz, whole, mono.cancelled)


def waveform_windows(
    samples: NDArray[np.float32], rate_hz: int, spec: FeatureSpec, windowing: Windowing = _EVERY_WINDOW
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
    info = AudioInfo(len(samples), samples.shape[1], rate_hz)
    for number in range(num_windows(info, spec, windowing)):
        start, end = _start_of(number, info, spec), min(_start_of(number + 1, info, spec), info.frames)
        mono = to_mono(samples[start:end], spec.channels)
        yield Window(fit_mono(mono, rate_hz, spec), start / rate_hz, end / rate_hz, True, mono.cancelled)


def _start_of(number: int, info: AudioInfo, spec: FeatureSpec) -> int:
    """Returns the frame of a file at which its window of this number begins."""
    if spec.clip_samples is None:
        return number * info.frames
    return source_frames(number * spec.clip_samples, spec, info.rate_hz)
