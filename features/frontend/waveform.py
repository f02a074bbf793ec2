"""From samples to the waveform that the front end takes: mono, resampled, of the clip length; arrays, no files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from features.audio.protocol import ClipLength
from features.errors import CHANNELS_CANCEL, ClipError, Reason
from features.frontend.spec import LOUDEST, MEAN, FeatureSpec

_FIRST_SAMPLES = 256
# Channels cancel where their mean has less than this of the energy that it would have if they were unrelated: that is
# 1/n of a channel's for n channels, so of two the mean is 20 dB below a channel then.
_CANCELLED_SHARE = 0.02


class Mono(NamedTuple):
    """What is used of the channels of a clip.

    Attributes:
        waveform: float32 of shape (frames,), at its own rate.
        mixed: whether it is the mean of several channels.
        cancelled: whether these cancel each other in it.
    """

    waveform: NDArray[np.float32]
    mixed: bool
    cancelled: bool


@dataclass(frozen=True)
class DecodedClip:
    """A clip that is to be fitted.

    Attributes:
        mono: float32 of shape (frames,), at its own rate.
        rate_hz: that rate.
        mixed: whether `mono` is the mean of several channels.
        seconds: duration of the clip, of which a spec with a shorter one uses a part.
        truncated: whether its file was cut off, is damaged within the clip or ends before the clip does.
        header_warnings: `wrong_size` where its file holds more or less than its header says and is not known to be cut
            off, `joined` where another recording follows that is not used.
        cancelled: whether several channels cancel each other in `mono`.
        decoder: what read it, as `features.audio.decode.AudioInfo` has it.
    """

    mono: NDArray[np.float32]
    rate_hz: int
    mixed: bool
    seconds: float
    truncated: bool
    header_warnings: tuple[str, ...] = ()
    cancelled: bool = False
    decoder: str = ""


def to_mono(samples: NDArray[np.float32], channels: str | int = MEAN) -> Mono:
    """Makes one channel of several.

    Args:
        samples: float32 of shape (frames, channels).
        channels: which, as a spec says it.

    Raises:
        ClipError: the channel of this number is not there.
    """
    count = samples.shape[1]
    if isinstance(channels, int) and channels > count:
        there = "1 channel" if count == 1 else f"{count} channels"
        raise ClipError("fit", Reason.TOO_FEW_CHANNELS, f"it has {there}, and the spec says channels = {channels}; "
                        'channels = "mean" or "loudest" takes any number')  # fmt: skip
    if count == 1:
        return Mono(samples[:, 0], False, False)
    if channels != MEAN:
        chosen = loudest_channel(samples) if channels == LOUDEST else int(channels) - 1
        return Mono(np.ascontiguousarray(samples[:, chosen]), False, False)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = _mean(samples)
        flat = samples.reshape(-1)
        unrelated = float(np.dot(flat, flat)) / count**2
        return Mono(mean, True, float(np.dot(mean, mean)) < _CANCELLED_SHARE * unrelated)


def _mean(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the mean of the channels: (frames, channels) to (frames,)."""
    if samples.shape[1] != 2:
        return np.asarray(samples.mean(axis=1, dtype=np.float32))
    mean = samples[:, 0] + samples[:, 1]  # the same to the bit, in a fraction of the time
    mean += np.float32(0.0)  # a sum of numpy's is never -0
    mean *= np.float32(0.5)
    return mean


def loudest_channel(samples: NDArray[np.float32]) -> int:
    """Returns the index of the channel of the most energy, the first of equals: (frames, channels) to a number."""
    # In float64, in which those of 16 bits are exact; and row by row, so that equal channels have equal energies.
    return int(np.square(samples, dtype=np.float64).sum(axis=0).argmax())


def resample(waveform: NDArray[np.float32], from_hz: int, to_hz: int, quality: str) -> NDArray[np.float32]:
    """Resamples (samples,) or (samples, channels) with soxr; returns it as it is where the rates are equal."""
    if from_hz == to_hz or waveform.size == 0:
        return waveform
    return np.asarray(soxr.resample(waveform, from_hz, to_hz, quality=quality), dtype=np.float32)


def source_frames(samples: int, spec: FeatureSpec, rate_hz: int) -> int:
    """Returns where, in frames at `rate_hz`, the sample number `samples` of the spec's rate lies, rounded down."""
    return samples * rate_hz // spec.sample_rate_hz


def fit(samples: NDArray[np.float32], rate_hz: int, spec: FeatureSpec) -> NDArray[np.float32]:
    """Brings at most one clip length of samples to the spec: one channel, resampled, zeros at the end.

    Args:
        samples: float32 of shape (frames, channels), no longer than `source_frames` of a clip.
        rate_hz: their rate.
        spec: the front end.

    Returns:
        float32 of shape (spec.clip_samples,); without a clip length, as many samples as the duration takes, rounded
        up, which is how librosa counts them.

    Raises:
        ClipError: the spec's channel is not there; nothing is left at its rate, or less than one frame where nothing is
            padded; or the samples are so large that what comes of them is not finite.
    """
    return fit_mono(to_mono(samples, spec.channels), rate_hz, spec)


def fit_mono(mono: Mono, rate_hz: int, spec: FeatureSpec) -> NDArray[np.float32]:
    """Does what `fit` does with what `to_mono` has made of the samples."""
    [fitted] = fit_monos([mono], rate_hz, spec)
    if isinstance(fitted, ClipError):
        raise fitted
    return fitted


def fit_monos(monos: Sequence[Mono], rate_hz: int, spec: FeatureSpec) -> list[NDArray[np.float32] | ClipError]:
    """Does what `fit_mono` does with several of one rate, each by itself; for each also what that would raise."""
    fitted: list[NDArray[np.float32] | ClipError] = []
    resampled = _resampled([mono.waveform for mono in monos], [rate_hz] * len(monos), spec)
    for mono, waveform in zip(monos, resampled, strict=True):
        try:
            fitted.append(_of_length(waveform, len(mono.waveform), rate_hz, mono.mixed, spec))
        except ClipError as error:
            fitted.append(error)
    return fitted


def _of_length(
    waveform: NDArray[np.float32], frames: int, rate_hz: int, mixed: bool, spec: FeatureSpec
) -> NDArray[np.float32]:
    """Does the rest of `fit` with what was resampled from so many frames, which are means where `mixed` says so."""
    if waveform.size == 0:
        raise ClipError("fit", Reason.TOO_SHORT, f"a length of {frames} at {rate_hz:,} Hz leaves no samples")
    if (mixed or rate_hz != spec.sample_rate_hz) and not _is_finite(waveform):
        raise ClipError("fit", Reason.NOT_FINITE, "its samples are so large that their mixture is not a finite number")
    length = spec.clip_samples
    if length is None:
        length = -(-frames * spec.sample_rate_hz // rate_hz)
        if length < spec.least_samples:
            raise ClipError(
                "fit", Reason.TOO_SHORT, f"{length} samples are less than one window of {spec.least_samples}"
            )
    if waveform.size == length and (waveform.base is None or waveform.base.size == length):  # it keeps no more alive
        return waveform
    fitted = np.zeros(length, dtype=np.float32)
    kept = min(waveform.size, length)
    fitted[:kept] = waveform[:kept]
    return fitted


def _is_finite(waveform: NDArray[np.float32]) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        energy = np.dot(waveform, waveform)
    return bool(np.isfinite(energy) or np.isfinite(waveform).all())


def used_part(frames: int, rate_hz: int, spec: FeatureSpec) -> tuple[int, int]:
    """Returns which part of a clip of this many frames is used: how many are skipped, and how many then taken."""
    return clip_length(spec).part(frames, rate_hz)


def clip_length(spec: FeatureSpec) -> ClipLength:
    """Returns how much of a recording becomes a clip."""
    return ClipLength(spec.clip_samples, spec.sample_rate_hz, spec.crop == "centre")


def fit_clips(clips: Sequence[DecodedClip], spec: FeatureSpec) -> list[tuple[NDArray[np.float32] | ClipError, str]]:
    """Fits clips, each by itself: what they are together changes nothing but the time that it takes.

    Returns:
        For each its waveform as `fit` gives it, or why it cannot be used; and its warnings: `truncated` or `silent`,
        `wrong_size`, `joined`, `channels_cancel`, with `;` between them.
    """
    results: list[tuple[NDArray[np.float32] | ClipError, str]] = []
    resampled = _resampled([clip.mono for clip in clips], [clip.rate_hz for clip in clips], spec)
    for clip, waveform in zip(clips, resampled, strict=True):
        try:
            waveform = _of_length(waveform, clip.mono.size, clip.rate_hz, clip.mixed, spec)
        except ClipError as error:
            results.append((error, ""))
            continue
        # Most sounds have one within their first samples, and the rest need not be looked at.
        sounds = waveform[:_FIRST_SAMPLES].any() or waveform.any()
        warning = "truncated" if clip.truncated else "" if sounds else "silent"
        cancelled = (CHANNELS_CANCEL,) if clip.cancelled else ()
        results.append((waveform, ";".join(filter(None, (warning, *clip.header_warnings, *cancelled)))))
    return results


def _resampled(
    waveforms: Sequence[NDArray[np.float32]], rates_hz: Sequence[int], spec: FeatureSpec
) -> list[NDArray[np.float32]]:
    """Resamples (samples,) each, those of one length and rate in pairs.

    A second of sound takes soxr up to two thirds of its time to design a filter, which the channels of a signal share;
    else each is resampled by itself. More than two together are slower again at some rates.
    """
    results = list(waveforms)
    single: dict[tuple[int, int], int] = {}  # by length and rate the number of one that waits for another
    for number, (waveform, rate_hz) in enumerate(zip(waveforms, rates_hz, strict=True)):
        if rate_hz == spec.sample_rate_hz:
            continue
        other = single.pop((waveform.size, rate_hz), None)
        if other is None:
            single[waveform.size, rate_hz] = number
            continue
        pair = np.stack([results[other], waveform])
        results[other], results[number] = resample(pair.T, rate_hz, spec.sample_rate_hz, spec.resample_quality).T
    for number in single.values():
        results[number] = resample(results[number], rates_hz[number], spec.sample_rate_hz, spec.resample_quality)
    return results
