"""The picture of a comparison: the original above what is used of it, and the features that come of that."""

from typing import TYPE_CHECKING, Any

import numpy as np

from features.frontend.presets import preset_name
from features.frontend.spec import FeatureSpec
from features.pictures.comparison import Comparison, fitting_text, level_text, mixing_text, unused_ranges_hz
from features.pictures.drawing import (
    BLUE,
    ORANGE,
    decibels,
    draw_features,
    draw_spectrogram,
    draw_waveform,
    mel_places,
    mel_ticks,
    new_figure,
    plain,
)
from features.pictures.signal_summary import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_CHANNELS = 8
_LONGEST_NAME = 90

# Inches: the figure's width, margins, heights of panels and the room between two.
_WIDTH, _LEFT, _RIGHT, _TOP = 11.0, 0.95, 1.15, 0.75
_CHANNEL, _HEARD, _IMAGE, _GAP, _HEAD, _AXIS = 0.75, 1.0, 1.9, 0.12, 0.35, 0.5


def draw_comparison(comparison: Comparison) -> "Figure":
    """Draws waveforms and spectrograms of the original and of what is used, and the features, one above the other.

    The two share the axis of amplitudes and the colours of levels; what is cut from the original, and what is padded,
    is shaded.
    """
    original, fitted, spec = comparison.original, comparison.fitted, comparison.spec
    drawn = min(original.channels, _MAX_CHANNELS)
    sheet = _Sheet(_TOP + 3 * (_HEAD + _IMAGE + _AXIS) + drawn * (_CHANNEL + _GAP) + _HEARD + _GAP)
    sheet.write(0.3, plain(comparison.path, _LONGEST_NAME), 13)
    sheet.write(0.53, f"{mixing_text(comparison)}; {fitting_text(comparison)}", 9)
    reach = max(1.05 * max(original.peak, fitted.peak), 1e-4)
    loudest = float(max(decibels(original.spectrum).max(), decibels(fitted.spectrum).max()))
    end = max(original.seconds, fitted.seconds)
    cut = [(0.0, comparison.start_seconds), (comparison.end_seconds, original.seconds)]
    cut = [(first, last) for first, last in cut if last > first and comparison.cut_seconds]
    padded = [(fitted.seconds - comparison.padded_seconds, fitted.seconds)] if comparison.padded_seconds else []

    sheet.top += _HEAD
    for channel in range(drawn):
        axes = sheet.axes(_CHANNEL, _GAP)
        if channel == 0:
            more = f", the first {drawn} drawn" if drawn < original.channels else ""
            _head(axes, f"original: {_facts(original)}{more}")
        draw_waveform(axes, original, channel, ORANGE)
        _finish_waveform(axes, _channel_name(channel, original.channels), reach)
        _shade(axes, cut, "" if channel else "cut", end)
    axes = sheet.axes(_IMAGE, _AXIS)
    sheet.colour_bar(axes, draw_spectrogram(axes, original, loudest))
    if original.channels > 1:
        _say(axes, (0.99, 0.95), "root mean square of the channels", ha="right", va="top")
    highest_hz = min(fitted.rate_hz / 2, spec.mel_high_hz or fitted.rate_hz / 2)
    if original.rate_hz / 2 > highest_hz:
        _mark_limit(axes, highest_hz, "above is not used")
    _shade(axes, cut, "", end)

    sheet.top += _HEAD
    axes = sheet.axes(_HEARD, _GAP)
    _head(axes, f"used: {_facts(fitted)}")
    draw_waveform(axes, fitted, 0, BLUE)
    _finish_waveform(axes, "mono", reach)
    _shade(axes, padded, "zeros", fitted.seconds)
    axes = sheet.axes(_IMAGE, _AXIS)
    sheet.colour_bar(axes, draw_spectrogram(axes, fitted, loudest))
    if fitted.rate_hz > original.rate_hz:
        _mark_limit(axes, original.rate_hz / 2, "above the original has nothing")
    for low_hz, high_hz in unused_ranges_hz(spec):
        _mark_unused(axes, low_hz, high_hz, f"{low_hz:,.0f} to {high_hz:,.0f} Hz: in no mel band, not used")
    _shade(axes, padded, "", fitted.seconds)

    sheet.top += _HEAD
    axes = sheet.axes(_IMAGE, _AXIS)
    draw_features(axes, comparison.features, spec)
    if spec.front_end == "log_mel" and not spec.pool:
        _show_unused(axes, spec)
    how = {"mean": "the mean over time", "max": "the largest over time", None: "brighter is larger"}[spec.pool]
    _head(axes, f"features: {preset_name(spec) or 'own spec'}, {spec.front_end} of shape {spec.shape}, {how}")
    return sheet.figure


class _Sheet:
    """A figure that is filled from top to bottom, in inches."""

    def __init__(self, height: float) -> None:
        self.figure = new_figure(_WIDTH, height)
        self.height = height
        self.top = _TOP

    def axes(self, high: float, gap: float) -> Any:
        wide = (_WIDTH - _LEFT - _RIGHT) / _WIDTH
        axes = self.figure.add_axes((_LEFT / _WIDTH, 1 - (self.top + high) / self.height, wide, high / self.height))
        self.top += high + gap
        return axes

    def write(self, top: float, text: str, points: int) -> None:
        self.figure.text(_LEFT / _WIDTH, 1 - top / self.height, text, fontsize=points)

    def colour_bar(self, axes: Any, image: Any) -> None:
        place = axes.get_position()
        bar = self.figure.add_axes((place.x1 + 0.015, place.y0, 0.012, place.height))
        self.figure.colorbar(image, cax=bar)
        bar.set_ylabel("dB of a full-scale sine", fontsize=8)
        bar.tick_params(labelsize=7)


def _head(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=10)


def _facts(trace: Trace) -> str:
    channels = "mono" if trace.channels == 1 else f"{trace.channels} channels"
    return (
        f"{trace.rate_hz:,} Hz, {channels}, {trace.seconds:,.3f} s, {trace.minimum:.3f} to {trace.maximum:.3f}, "
        f"rms {trace.rms:.4f}, peak {level_text(trace.peak)}"
    )


def _channel_name(channel: int, channels: int) -> str:
    if channels == 1:
        return "mono"
    side = f"({('left', 'right')[channel]})" if channels == 2 else f"of {channels}"
    return f"channel {channel + 1}\n{side}"


def _finish_waveform(axes: Any, name: str, reach: float) -> None:
    axes.set_ylim(-reach, reach)
    axes.set_xlabel("")
    axes.set_ylabel(name, fontsize=8)
    axes.tick_params(labelbottom=False)


def _shade(axes: Any, spans: list[tuple[float, float]], name: str, end: float) -> None:
    for first, last in spans:
        axes.axvspan(first, last, facecolor="0.6", alpha=0.45, lw=0)
        axes.axvline(first if first else last, color="black", lw=0.8)
        # A word where it has the room.
        if name and last - first > 0.06 * end:
            axes.text((first + last) / 2, 0.97, name, transform=axes.get_xaxis_transform(), ha="center", va="top",
                      fontsize=8)  # fmt: skip
    axes.set_xlim(0, end)


def _mark_unused(axes: Any, low: float, high: float, text: str) -> None:
    """Hatches a part of the axis of frequencies, with a word where it has the room."""
    axes.axhspan(low, high, facecolor="0.75", edgecolor="0.35", hatch="//", alpha=0.8, lw=0)
    bottom, top = axes.get_ylim()
    if high - low > 0.12 * (top - bottom):
        _say(axes, (0.99, ((low + high) / 2 - bottom) / (top - bottom)), text, ha="right", va="center")


def _show_unused(axes: Any, spec: FeatureSpec) -> None:
    """Continues the axis of mel bands over what they leave out, from 0 Hz to half the sample rate."""
    ranges = unused_ranges_hz(spec)
    if not ranges:
        return
    places = [mel_places(np.array(one), spec) for one in ranges]
    bottom, top = axes.get_ylim()
    # The outermost bands begin half a band before their middle, where the image does.
    spans = [(min(low, bottom), bottom) if low < bottom else (top, max(high, top)) for low, high in places]
    first, last = min(low for low, _ in spans), max(high for _, high in spans)
    axes.set_ylim(min(first, bottom), max(last, top))
    axes.set_yticks(*mel_ticks(spec, min(first, 0.0), max(last, spec.num_bands - 1.0)))
    for (low_hz, high_hz), (low, high) in zip(ranges, spans, strict=True):
        _mark_unused(axes, low, high, f"{low_hz:,.0f} to {high_hz:,.0f} Hz: in no mel band")


def _mark_limit(axes: Any, hz: float, text: str) -> None:
    axes.axhline(hz, color="white", lw=1, ls="--")
    share = hz / axes.get_ylim()[1]
    above = share < 0.8
    _say(axes, (0.01, share + (0.03 if above else -0.03)), f"{hz:,.0f} Hz: {text}", ha="left",
         va="bottom" if above else "top")  # fmt: skip


def _say(axes: Any, place: tuple[float, float], text: str, **alignment: str) -> None:
    box = {"facecolor": "white", "alpha": 0.85, "lw": 0, "pad": 1.5}
    axes.text(*place, text, transform=axes.transAxes, fontsize=8, bbox=box, **alignment)
