"""From samples to the waveform that the front end takes: mono, resampled, of the clip length; arrays, no files."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from features.errors import ClipError, Reason
from features.frontend.spec import FeatureSpec

_FIRST_SAMPLES = 256


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
    """

    mono: NDArray[np.float32]
    rate_hz: int
    mixed: bool
    seconds: float
    truncated: bool
    header_warnings: tuple[str, ...] = ()


def to_mono(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the mean of the channels: (frames, channels) to (frames,)."""
    if samples.shape[1] == 1:
        return samples[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(samples.mean(axis=1, dtype=np.float32))


def resample(waveform: NDArray[np.float32], from_hz: int, to_hz: int, quality: str) -> NDArray[np.float32]:
    """Resamples (samples,) or (samples, channels) with soxr; returns it as it is where the rates are equal."""
    if from_hz == to_hz or waveform.size == 0:
        return waveform
    return np.asarray(soxr.resample(waveform, from_hz, to_hz, quality=quality), dtype=np.float32)


def source_frames(samples: int, spec: FeatureSpec, rate_hz: int) -> int:
    """Returns where, in frames at `rate_hz`, the sample number `samples` of the spec's rate lies, rounded down."""
    return samples * rate_hz // spec.sample_rate_hz


def fit(samples: NDArray[np.float32], rate_hz: int, spec: FeatureSpec) -> NDArray[np.float32]:
    """Brings at most one clip length of samples to the spec: mean of channels, resampled, zeros at the end.

    Args:
        samples: float32 of shape (frames, channels), no longer than `source_frames` of a clip.
        rate_hz: their rate.
        spec: the front end.

    Returns:
        float32 of shape (spec.clip_samples,); without a clip length, as many samples as the duration takes, rounded
        up, which is how librosa counts them.

    Raises:
        ClipError: nothing is left at the spec's rate, or less than one frame where nothing is padded; or the samples
            are so large that what comes of them is not finite.
    """
    mono = to_mono(samples)
    waveform = resample(mono, rate_hz, spec.sample_rate_hz, spec.resample_quality)
    return _of_length(waveform, len(samples), rate_hz, samples.shape[1] > 1, spec)


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
    if spec.clip_samples is None:
        return 0, frames
    wanted = min(frames, max(1, source_frames(spec.clip_samples, spec, rate_hz)))
    return ((frames - wanted) // 2 if spec.crop == "centre" else 0), wanted


def fit_clips(clips: Sequence[DecodedClip], spec: FeatureSpec) -> list[tuple[NDArray[np.float32] | ClipError, str]]:
    """Fits clips, each by itself: what they are together changes nothing but the time that it takes.

    Returns:
        For each its waveform as `fit` gives it, or why it cannot be used; and its warnings: `truncated` or `silent`,
        `wrong_size`, `joined`, with `;` between them.
    """
    results: list[tuple[NDArray[np.float32] | ClipError, str]] = []
    for clip, resampled in zip(clips, _resampled(clips, spec), strict=True):
        try:
            waveform = _of_length(resampled, clip.mono.size, clip.rate_hz, clip.mixed, spec)
        except ClipError as error:
            results.append((error, ""))
            continue
        # Most sounds have one within their first samples, and the rest need not be looked at.
        sounds = waveform[:_FIRST_SAMPLES].any() or waveform.any()
        warning = "truncated" if clip.truncated else "" if sounds else "silent"
        results.append((waveform, ";".join(filter(None, (warning, *clip.header_warnings)))))
    return results


def _resampled(clips: Sequence[DecodedClip], spec: FeatureSpec) -> list[NDArray[np.float32]]:
    """Resamples clips, those of one length and rate in pairs.

    A second of sound takes soxr up to two thirds of its time to design a filter, which the channels of a signal share;
    else each is resampled by itself. More than two together are slower again at some rates.
    """
    results = [clip.mono for clip in clips]
    single: dict[tuple[int, int], int] = {}  # by length and rate the number of a clip that waits for another
    for number, clip in enumerate(clips):
        if clip.rate_hz == spec.sample_rate_hz:
            continue
        other = single.pop((clip.mono.size, clip.rate_hz), None)
        if other is None:
            single[clip.mono.size, clip.rate_hz] = number
            continue
        pair = np.stack([results[other], clip.mono])
        results[other], results[number] = resample(pair.T, clip.rate_hz, spec.sample_rate_hz, spec.resample_quality).T
    for number in single.values():
        results[number] = resample(results[number], clips[number].rate_hz, spec.sample_rate_hz, spec.resample_quality)
    return results
