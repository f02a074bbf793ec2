"""What all pictures share: colours, axes of sounds and features, and how a picture is written.

The colour-blind can distinguish the colours, which survive printing. Nothing here imports matplotlib before a figure is
made: commands load it only when a picture is requested.
"""

import io
import itertools
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError
from features.frontend.embedding_spec import EMBEDDING
from features.frontend.mel import hz_to_mel
from features.frontend.spec import FeatureSpec
from features.io.atomic import write_file
from features.io.local_copy import check_file_place
from features.pictures.fonts import choose_fonts
from features.pictures.signal_summary import Trace
from features.runtime.visible import isolated, num_columns, visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The palette of Okabe and Ito (2008); yellow, which paper swallows, is left out.
BLUE, ORANGE, GREEN, PINK, SKY, AMBER, BLACK = PALETTE = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000",
)  # fmt: skip
MAP = "cividis"
# Magnitudes are drawn as logarithms; so much keeps silence finite.
EPSILON = 1e-6
TICK_POINTS = 7
LABEL_POINTS = 8
POINT = 1 / 72  # in inches
CHARACTER = 0.62 * POINT  # mean width of a character at a size of one point
# Quieter than this below the loudest is drawn as silence, as the eye would otherwise see noise alone.
DRAWN_DECIBELS = 80.0
_SILENCE_DECIBELS = 20.0 * np.log10(EPSILON)

_DOTS_PER_INCH = 110
_MEL_TICKS_HZ = np.array([125, 250, 500, 1000, 2000, 4000, 8000, 16_000])
# The first MFCC, a sum over all bands, is a hundred times the others: below this the axis is linear, above logarithmic.
_LINEAR_MFCC = 10.0


def check_picture(option: str, path: str) -> None:
    """Raises `UsageError` where no picture can be written to what a command's option names."""
    if not path.lower().endswith(".png"):
        raise UsageError(f"{option} is a picture whose name ends in .png, not {path}")
    check_file_place(option, path)


def new_figure(width: float, height: float, **options: Any) -> "Figure":
    """Returns an empty figure of a size in inches; options go to matplotlib."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), **options)


def save(figure: "Figure", path: str | Path) -> None:
    """Writes a figure as PNG, the same bytes for the same numbers."""
    choose_fonts(figure, os.fspath(path))
    content = io.BytesIO()
    with warnings.catch_warnings():
        # Of marks without a shape, which fonts may lack.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(content, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": "soundmill"})
    write_file(path, content.getvalue())


def plain(text: str, most: int | None = None) -> str:
    """Returns a name as pictures show it: no formula, no line break, its middle left out beyond `most` columns."""
    text = visible(text)
    if most is not None and num_columns(text) > most:
        head, tail = _beginning(text, most - most // 2), _beginning(text[::-1], most // 2 - 1)
        text = f"{head}\N{HORIZONTAL ELLIPSIS}{tail[::-1]}"
    return isolated(text).replace("$", r"\$")


def _beginning(text: str, most: int) -> str:
    """Returns as much of a text as has `most` columns."""
    widths = itertools.accumulate(map(num_columns, text))
    return text[: sum(width <= most for width in widths)]


def decibels(amplitude: NDArray[np.floating]) -> NDArray[np.floating]:
    """Returns amplitudes in decibels below full scale, silence at -120."""
    return np.asarray(20.0 * np.log10(amplitude + EPSILON))


def draw_waveform(axes: Any, trace: Trace, channel: int = 0, colour: str = BLUE) -> None:
    """Draws one channel of a sound over time, on an axis from its smallest to its largest sample."""
    times = (np.arange(len(trace.low)) + 0.5) * trace.column_seconds
    low, high = trace.low[:, channel], trace.high[:, channel]
    axes.fill_between(times, low, high, color=colour, lw=0.7)
    # A digit more than the peak, so that silence is a line and not an empty axis.
    reach = max(1.05 * float(max(-low.min(), high.max())), 1e-4)
    axes.set_ylim(-reach, reach)
    axes.set_xlim(0, trace.seconds)
    axes.set_xlabel("time (s)", fontsize=LABEL_POINTS)
    axes.set_ylabel("amplitude", fontsize=TICK_POINTS)
    axes.tick_params(labelsize=TICK_POINTS)


def draw_spectrogram(axes: Any, trace: Trace, loudest: float | None = None) -> Any:
    """Draws the spectrogram of a sound in decibels, from 0 Hz to half its sample rate.

    Args:
        axes: where.
        trace: the sound.
        loudest: where the colours end in decibels, the loudest of this sound where None.

    Returns:
        The image, for a colour bar.
    """
    image = decibels(trace.spectrum).T
    top = float(image.max()) if loudest is None else loudest
    top = max(top, _SILENCE_DECIBELS + DRAWN_DECIBELS)  # silence is dark, not as bright as the loudest
    drawn = axes.imshow(
        image, origin="lower", aspect="auto", cmap=MAP, vmin=top - DRAWN_DECIBELS, vmax=top,
        extent=(0, len(trace.spectrum) * trace.spectrum_column_seconds, 0, trace.rate_hz / 2),
    )  # fmt: skip
    axes.set_xlim(0, trace.seconds)
    axes.set_xlabel("time (s)", fontsize=LABEL_POINTS)
    axes.set_ylabel("frequency (Hz)", fontsize=LABEL_POINTS)
    axes.tick_params(labelsize=TICK_POINTS)
    return drawn


def shown_values(features: NDArray[np.floating], spec: FeatureSpec) -> NDArray[np.floating]:
    """Returns features as they are drawn: magnitudes as logarithms, the others, which are logarithms, as they are."""
    values = features.astype(np.float32)
    return np.log(values + EPSILON) if spec.front_end == "stft" else values


def draw_features(axes: Any, features: NDArray[np.floating], spec: FeatureSpec) -> None:
    """Draws the features of one clip: an image over time, low frequencies at the bottom, or bars where they are pooled.

    Args:
        axes: where.
        features: shape spec.shape.
        spec: the front end.
    """
    values = shown_values(features, spec)
    if values.ndim == 1:
        _draw_bands(axes, values, spec)
    else:
        _draw_frames(axes, values, spec)
    axes.tick_params(labelsize=TICK_POINTS)


def _draw_frames(axes: Any, values: NDArray[np.floating], spec: FeatureSpec) -> None:
    image = values.T  # (bands, frames)
    top = spec.sample_rate_hz / 2 if spec.front_end == "stft" else spec.num_bands - 0.5
    bottom = 0.0 if spec.front_end == "stft" else -0.5
    # The first MFCC would take all the colours for itself.
    coloured = image[1:] if spec.front_end == "mfcc" and len(image) > 1 else image
    is_embedding = spec.front_end == EMBEDDING
    # Of a network each window is drawn from its start to that of the next, and not smeared into it.
    end = len(values) * spec.hop_samples / spec.sample_rate_hz if is_embedding else spec.clip_seconds
    axes.imshow(
        image, origin="lower", aspect="auto", cmap=MAP, vmin=coloured.min(), vmax=coloured.max(),
        extent=(0, end, bottom, top), interpolation="nearest" if is_embedding else None,
    )  # fmt: skip
    axes.set_xlim(0, spec.clip_seconds)
    axes.set_xlabel("time (s)", fontsize=LABEL_POINTS)
    axes.set_ylabel(_bands_label(spec), fontsize=LABEL_POINTS)
    if spec.front_end == "log_mel":
        axes.set_yticks(*mel_ticks(spec))


def _draw_bands(axes: Any, values: NDArray[np.floating], spec: FeatureSpec) -> None:
    bands = np.arange(len(values))
    if spec.front_end == EMBEDDING:
        axes.plot(bands, values, color=BLUE, lw=0.6)
        axes.set_ylabel("largest value" if spec.pool == "max" else "mean value", fontsize=LABEL_POINTS)
        axes.grid(alpha=0.3)
    elif spec.front_end == "mfcc":
        axes.bar(bands, values, color=BLUE, width=0.8)
        axes.axhline(0, color="black", lw=0.6)
        axes.set_yscale("symlog", linthresh=_LINEAR_MFCC)
        axes.set_ylabel("mean value", fontsize=LABEL_POINTS)
    else:
        places = bands if spec.fft_samples is None or spec.mel_bands else bands * spec.sample_rate_hz / spec.fft_samples
        axes.plot(places, values, color=BLUE, lw=1)
        axes.set_ylabel("log of the mean" if spec.front_end == "stft" else "mean value", fontsize=LABEL_POINTS)
        axes.grid(alpha=0.3)
    axes.set_xlabel(_bands_label(spec), fontsize=LABEL_POINTS)
    if spec.front_end == "log_mel":
        axes.set_xticks(*mel_ticks(spec))


def _bands_label(spec: FeatureSpec) -> str:
    labels = {
        "stft": "frequency (Hz)",
        "log_mel": f"Hz, {spec.num_bands} mel bands",
        "mfcc": "MFCC (coefficient)",
        EMBEDDING: "number of the value",
    }
    return labels[spec.front_end]


def mel_places(hz: NDArray[np.float64], spec: FeatureSpec) -> NDArray[np.float64]:
    """Returns where frequencies lie on an axis of mel bands, on which the middle of the first is 0."""
    bank = spec.mel_filter_bank or ""
    low, high = hz_to_mel(np.array([spec.mel_low_hz or 0.0, spec.mel_high_hz or 0.0]), bank)
    places: NDArray[np.float64] = (hz_to_mel(hz, bank) - low) / (high - low) * (spec.num_bands + 1) - 1
    return places


def mel_ticks(
    spec: FeatureSpec, first: float = 0.0, last: float | None = None
) -> tuple[NDArray[np.float64], list[str]]:
    """Returns where round frequencies lie on an axis of mel bands, and their labels.

    Args:
        spec: the front end.
        first: place on the axis below which there are none.
        last: place above which there are none; the last band where None.
    """
    places = mel_places(_MEL_TICKS_HZ.astype(float), spec)
    last = spec.num_bands - 1 if last is None else last
    # From the top, where bands are wide: labels closer than a tenth of the axis would overlap.
    kept: list[int] = []
    for tick in reversed(range(len(places))):
        apart = not kept or places[kept[-1]] - places[tick] >= (last - first + 1) / 10
        if apart and first <= places[tick] <= last:
            kept.append(tick)
    return places[kept], [f"{hz:g}" for hz in _MEL_TICKS_HZ[kept]]
