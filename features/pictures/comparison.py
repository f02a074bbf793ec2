"""One file beside what the front end uses of it: rate, channels, duration and range before and after."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.audio.decode import decode, probe
from features.errors import ClipError, UsageError
from features.frontend.clip import clip_waveform
from features.frontend.spec import LOUDEST, FeatureSpec
from features.frontend.spectrogram import compute_features
from features.frontend.waveform import loudest_channel, used_part
from features.io.filesystem import Location
from features.pictures.signal_summary import Trace, trace_file, trace_waveform

# Of half the sample rate: a part of the spectrum that is narrower, as the lowest 20 Hz, is not worth a word.
_NARROW_SHARE = 0.01


def unused_ranges_hz(spec: FeatureSpec) -> list[tuple[float, float]]:
    """Returns the parts of the spectrum, up to half the sample rate of a spec, that its mel bands leave out."""
    nyquist_hz = spec.sample_rate_hz / 2
    if spec.mel_low_hz is None or spec.mel_high_hz is None:
        return []
    ranges = [(0.0, spec.mel_low_hz), (spec.mel_high_hz, nyquist_hz)]
    return [(low, high) for low, high in ranges if high - low > _NARROW_SHARE * nyquist_hz]


@dataclass(frozen=True)
class Comparison:
    """A file and what becomes of it.

    Attributes:
        path: of the file, as it was given.
        spec: the front end.
        original: all channels at the file's own rate.
        fitted: one channel, after resampling and fitting.
        features: shape spec.shape.
        start: first frame of the original that is used.
        end: the frame after the last that is used.
        warning: `truncated` or `silent`, `wrong_size`, `joined`, `channels_cancel`, with `;` between
            them, or nothing.
        channel: number of the channel that is used, from 1; None for the mean of all.
    """

    path: str
    spec: FeatureSpec
    original: Trace
    fitted: Trace
    features: NDArray[np.floating]
    start: int
    end: int
    warning: str
    channel: int | None

    @property
    def start_seconds(self) -> float:
        """Where the part begins that is used."""
        return self.start / self.original.rate_hz

    @property
    def end_seconds(self) -> float:
        """Where the part ends that is used."""
        return self.end / self.original.rate_hz

    @property
    def cut_seconds(self) -> float:
        """Duration that is not used."""
        return (self.original.samples - (self.end - self.start)) / self.original.rate_hz

    @property
    def padded_seconds(self) -> float:
        """Duration of the zeros at the end of what is used; a sample or less is rounding and counts as none."""
        padded = self.fitted.seconds - (self.end - self.start) / self.original.rate_hz
        return padded if padded > 1 / min(self.original.rate_hz, self.fitted.rate_hz) else 0.0


def compare(path: str, spec: FeatureSpec, networks: Location | None = None) -> Comparison:
    """Decodes a file twice: as it is, and as featurize does.

    Args:
        path: of the file.
        spec: the front end.
        networks: the folder of its network, where it has one.

    Raises:
        UsageError: the file cannot be used, or the network is not there.
    """
    try:
        info = probe(path)
        waveform, _, warning = clip_waveform(path, spec)
        original = trace_file(path, info)
        start, taken = used_part(info.frames, info.rate_hz, spec)
        channel = spec.channels if isinstance(spec.channels, int) else None
        if spec.channels == LOUDEST:
            channel = 1 + loudest_channel(decode(path, info, start, taken))
    except ClipError as error:
        raise UsageError(f"--compare takes a file that can be used, but {path} is rejected: {error.reason}, "
                         f"{error.message}; give another") from error  # fmt: skip
    fitted = trace_waveform(waveform, spec.sample_rate_hz)
    features = compute_features([waveform], spec, networks)[0]
    return Comparison(path, spec, original, fitted, features, start, start + taken, warning, channel)


def comparison_figures(comparison: Comparison) -> dict[str, Any]:
    """Returns the facts ready for JSON."""
    return {
        "path": comparison.path,
        "original": _facts(comparison.original),
        "heard": _facts(comparison.fitted),
        "channel": comparison.channel,
        "start_seconds": comparison.start_seconds,
        "end_seconds": comparison.end_seconds,
        "cut_seconds": comparison.cut_seconds,
        "padded_seconds": comparison.padded_seconds,
        "warning": comparison.warning,
        "features": {
            "shape": list(comparison.features.shape),
            "min": float(comparison.features.min()),
            "max": float(comparison.features.max()),
            "mean": float(comparison.features.mean(dtype=np.float64)),
        },
    }


def _facts(trace: Trace) -> dict[str, Any]:
    return {
        "rate_hz": trace.rate_hz,
        "channels": trace.channels,
        "samples": trace.samples,
        "seconds": trace.seconds,
        "min": trace.minimum,
        "max": trace.maximum,
        "rms": trace.rms,
        "peak_dbfs": 20 * math.log10(trace.peak) if trace.peak else None,
    }


def comparison_lines(comparison: Comparison) -> list[str]:
    """Returns the facts as lines of text."""
    rows: dict[str, Callable[[Trace], str]] = {
        "sample rate": lambda trace: f"{trace.rate_hz:,} Hz",
        "channels": lambda trace: str(trace.channels),
        "samples": lambda trace: f"{trace.samples:,}",
        "duration": lambda trace: f"{trace.seconds:,.4f} s",
        "minimum": lambda trace: f"{trace.minimum:.5f}",
        "maximum": lambda trace: f"{trace.maximum:.5f}",
        "rms": lambda trace: f"{trace.rms:.5f}",
        "peak": lambda trace: level_text(trace.peak),
    }
    features = comparison.features
    lines = [f"{'':12}{'original':>14}{'used':>14}"]
    for name, text in rows.items():
        lines.append(f"{name:12}{text(comparison.original):>14}{text(comparison.fitted):>14}")
    return [
        *lines,
        "",
        f"mixing      {mixing_text(comparison)}",
        f"fitting     {fitting_text(comparison)}",
        *(
            f"not used    {low:,.0f} to {high:,.0f} Hz: mel bands are from {comparison.spec.mel_low_hz:,.0f} to "
            f"{comparison.spec.mel_high_hz:,.0f} Hz"
            for low, high in unused_ranges_hz(comparison.spec)
        ),
        f"features    {comparison.spec.front_end} of shape {features.shape}: min {features.min():.5g}, "
        f"max {features.max():.5g}, mean {features.mean(dtype=np.float64):.5g}",
        *([f"warning     {comparison.warning}"] if comparison.warning else []),
    ]


def level_text(peak: float) -> str:
    """Returns an amplitude in decibels of full scale."""
    return f"{round(20 * math.log10(peak), 1) + 0.0:.1f} dBFS" if peak else "silence"  # + 0.0 makes -0.0 to 0.0


def mixing_text(comparison: Comparison) -> str:
    """Returns what becomes of the channels."""
    channels = comparison.original.channels
    if channels == 1:
        return "one channel, taken as it is"
    if comparison.channel is None:
        return f"the mean of {channels} channels is used"
    loudest = ", the loudest," if comparison.spec.channels == LOUDEST else ""
    return f"channel {comparison.channel} of {channels}{loudest} is used"


def fitting_text(comparison: Comparison) -> str:
    """Returns what is cut and what is padded."""
    total = comparison.original.seconds
    if comparison.cut_seconds:
        part = f"{comparison.start_seconds:.3f} to {comparison.end_seconds:.3f} s"
        text = f"{part} of {total:.3f} s are used, the rest is cut"
    else:
        text = f"all {total:.3f} s are used"
    if comparison.padded_seconds:
        text += f", then {comparison.padded_seconds:.3f} s of zeros"
    return text
