"""The picture of a feature set: a few clips of each class, clips by class, and how long they are."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from features.frontend.embedding_spec import EMBEDDING
from features.frontend.presets import preset_name
from features.frontend.spec import FeatureSpec
from features.pictures.drawing import (
    BLUE,
    CHARACTER,
    PALETTE,
    POINT,
    TICK_POINTS,
    draw_features,
    draw_spectrogram,
    draw_waveform,
    new_figure,
    plain,
    shown_values,
)
from features.pictures.examples import MAX_CLASSES, Example, shown_classes
from features.runtime.quantities import duration_text
from features.runtime.visible import num_columns
from features.store.summary import Description

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 6
_LONGEST_NAME = 24
_LONGEST_PATH = 34
_LONGEST_FOLDER = 50
_HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")
_MIN_BINS, _MAX_BINS = 5, 40
# Fewer bars would be wider than they are high.
_LEAST_BARS = 8
# Beyond this ratio of the largest to the smallest bar, the small ones are seen on a logarithmic axis only.
_LINEAR_RATIO = 100

# Inches: margins, the width of a panel and the gaps between panels.
_LEFT, _RIGHT, _TOP = 0.85, 0.25, 0.75
_WIDTH, _GAP, _ROW_GAP, _HEAD, _TICKS, _LABEL = 2.2, 0.3, 0.22, 0.56, 0.25, 0.2
_WAVEFORM, _IMAGE, _BARS = 0.5, 1.15, 1.0
_AXIS_LABEL, _CHARTS, _LEAST_ROOM = 0.45, 2.6, 0.5


def draw_overview(description: Description, examples: Sequence[Example]) -> "Figure":
    """Draws the examples, six a row, above clips by class and a histogram of durations."""
    manifest, labels = description.manifest, shown_classes(description)
    spec = manifest.spec
    sounds = any(example.trace for example in examples)
    parts = _parts(sounds, _is_spectrogram(spec), pooled=len(spec.shape) == 1)
    cell_height = _HEAD + sum(height + gap for _, height, gap in parts) + _ROW_GAP
    grid_height = -(-len(examples) // _COLUMNS) * cell_height + _AXIS_LABEL
    names = [plain(label, _LONGEST_NAME) for label in labels]
    # Names stand upright where there are many, so their length is what the axis needs below it.
    name_points = 8 if len(labels) <= 30 else 7
    room = _LEAST_ROOM + max(map(num_columns, names)) * name_points * CHARACTER
    width = _LEFT + _COLUMNS * (_WIDTH + _GAP) - _GAP + _RIGHT
    height = _TOP + grid_height + _HEAD + _CHARTS + room
    figure = new_figure(width, height)

    def axes_at(left: float, top: float, wide: float, high: float) -> Any:
        return figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height))

    reach = _common_reach(examples, spec)
    for place, example in enumerate(examples):
        left = _LEFT + place % _COLUMNS * (_WIDTH + _GAP)
        top = _TOP + place // _COLUMNS * cell_height + _HEAD
        panels = {}
        for name, high, gap in parts:
            panels[name] = axes_at(left, top, _WIDTH, high)
            top += high + gap
        _draw_example(panels, example, description)
        if reach is not None:
            panels["features"].set_ylim(*reach)
        _label_panels(panels, first=place % _COLUMNS == 0, last=place + _COLUMNS >= len(examples))
    charts_top, wide = _TOP + grid_height + _HEAD, width - _LEFT - _RIGHT
    _draw_counts(axes_at(_LEFT, charts_top, 0.64 * wide, _CHARTS), description, labels, names, name_points)
    _draw_durations(axes_at(_LEFT + 0.71 * wide, charts_top, 0.29 * wide, _CHARTS), description)
    clips, classes = manifest.counts["clips"], len(manifest.classes)
    facts = (
        f"{clips:,} clips in {classes:,} {'class' if classes == 1 else 'classes'}, "
        f"{duration_text(description.seconds)}, {preset_name(spec) or 'own'} features of shape {spec.shape}"
    )
    title = f"{plain(str(description.layout.root), _LONGEST_FOLDER)}: {facts}"
    figure.text(_LEFT / width, 1 - 0.3 / height, title, fontsize=13)
    figure.text(_LEFT / width, 1 - 0.55 / height, _note(description, examples), fontsize=9)
    return figure


def _common_reach(examples: Sequence[Example], spec: FeatureSpec) -> tuple[float, float] | None:
    """Returns the ends of one axis for the pooled features of all clips, None where features are images."""
    if len(spec.shape) > 1 or not examples:
        return None
    values = np.stack([shown_values(example.features, spec) for example in examples])
    low, high = float(values.min()), float(values.max())
    room = 0.05 * (high - low) + 1e-6
    return low - room, high + room


def _is_spectrogram(spec: FeatureSpec) -> bool:
    """Returns whether features show a sound over time, so that no other spectrogram of it is needed."""
    return len(spec.shape) > 1 and spec.front_end != EMBEDDING


def _parts(sounds: bool, is_spectrogram: bool, pooled: bool) -> list[tuple[str, float, float]]:
    """Returns the panels of a clip from top to bottom: name, height, and the gap below it."""
    waveform = [("waveform", _WAVEFORM, 0.06)] if sounds else []
    spectrogram = [("spectrogram", _IMAGE, _TICKS + _LABEL)] if sounds and not is_spectrogram else []
    return [*waveform, *spectrogram, ("features", _BARS if pooled else _IMAGE, _TICKS)]


def _draw_example(panels: dict[str, Any], example: Example, description: Description) -> None:
    draw_features(panels["features"], example.features, description.manifest.spec)
    facts = f"{duration_text(example.seconds)}, {example.partition}"
    if example.trace is not None:
        facts += f", peak {example.trace.peak:.2g}"
        draw_waveform(panels["waveform"], example.trace)
        if "spectrogram" in panels:
            draw_spectrogram(panels["spectrogram"], example.trace)
    else:
        for panel in (panels[name] for name in panels if name != "features"):
            panel.set_xticks([])
            panel.set_yticks([])
            panel.text(0.5, 0.5, "the source is gone", transform=panel.transAxes, ha="center", va="center", fontsize=8)
    top = next(iter(panels.values()))
    head = top.get_position().y1
    offset = POINT / top.figure.get_figheight()
    left = top.get_position().x0
    top.figure.text(left, head + 25 * offset, plain(example.label, _LONGEST_NAME), fontsize=9, weight="bold")
    top.figure.text(left, head + 15 * offset, plain(example.path, _LONGEST_PATH), fontsize=TICK_POINTS)
    top.figure.text(left, head + 5 * offset, facts, fontsize=TICK_POINTS)


def _label_panels(panels: dict[str, Any], first: bool, last: bool) -> None:
    """Leaves axis labels at the left and at the bottom of the grid, and tick labels where they differ."""
    for name, panel in panels.items():
        if name == "waveform":
            panel.set_yticks([])
            panel.tick_params(labelbottom=False)
        if not first:
            panel.set_ylabel("")
            panel.tick_params(labelleft=False)
        if name == "waveform" or (name == "features" and not last):
            panel.set_xlabel("")


def _draw_counts(axes: Any, description: Description, labels: list[str], names: list[str], points: int) -> None:
    partitions = [name for name, shards in description.manifest.partitions.items() if shards]
    below = np.zeros(len(labels))
    for place, name in enumerate(partitions):
        counts = np.array([description.cell([label], [name])[0] for label in labels])
        colour, hatch = _bar_style(place)
        axes.bar(
            range(len(labels)), counts, bottom=below, width=0.8, label=name, lw=0.4, edgecolor="white",
            color=colour, hatch=hatch,
        )  # fmt: skip
        below += counts
    slot = axes.get_position().width * axes.figure.get_figwidth() / max(len(labels), _LEAST_BARS)
    upright = max(map(num_columns, names)) * points * CHARACTER > 0.9 * slot
    axes.set_xticks(range(len(labels)), names, rotation=90 if upright else 0, fontsize=points)
    middle, span = (len(labels) - 1) / 2, max(len(labels), _LEAST_BARS)
    axes.set_xlim(middle - span / 2, middle + span / 2)
    axes.set_ylim(0, below.max() * 1.22)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel("clips")
    axes.set_title(f"clips by class{_largest(description)}", fontsize=10)
    axes.legend(fontsize=8, ncols=min(len(partitions), 6), loc="upper center")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)


def _bar_style(place: int) -> tuple[str, str]:
    """Returns colour and hatch of a partition; each round of the colours has the hatches one further on."""
    rounds = place // len(PALETTE)
    return PALETTE[place % len(PALETTE)], _HATCHES[(place + rounds) % len(_HATCHES)]


def _draw_durations(axes: Any, description: Description) -> None:
    seconds = description.clip_seconds
    counts, edges = np.histogram(seconds, bins=min(_MAX_BINS, max(_MIN_BINS, 2 * math.isqrt(len(seconds)))))
    axes.stairs(counts, edges, fill=True, color=BLUE)
    filled = counts[counts > 0]
    logarithmic = filled.max() > _LINEAR_RATIO * filled.min()
    if logarithmic:
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.5)
    else:
        axes.yaxis.get_major_locator().set_params(integer=True)
    length = description.manifest.spec.clip_seconds
    if length is not None:
        axes.axvline(length, color="black", ls="--", lw=1, label=f"features take {length:g} s")
        axes.legend(fontsize=8)
    axes.set_xlabel("duration (s)")
    axes.set_ylabel("clips (logarithmic)" if logarithmic else "clips")
    axes.set_title("how long the clips are", fontsize=10)
    axes.grid(alpha=0.3)


def _note(description: Description, examples: Sequence[Example]) -> str:
    gone = sum(example.trace is None for example in examples)
    spec = description.manifest.spec
    note = "Spectrograms are logarithms, brighter is louder"
    if gone == len(examples):
        note = "No waveforms: the sources are gone or have changed, what is shown comes from the shards"
    elif gone:
        note += f"; the sources of {gone} of {len(examples)} clips are gone or have changed, these come from the shards"
    if gone < len(examples):
        note += "; each waveform is drawn to its own peak"
        if not _is_spectrogram(spec):
            pool = {"mean": "mean of its ", "max": "largest of its "}.get(spec.pool or "", "")
            note += f"; spectrograms are of the waveform, below them is the {pool}{spec.front_end}"
    return f"{note}{_largest(description).replace(': ', '; clips of ')}."


def _largest(description: Description) -> str:
    classes = len(description.manifest.classes)
    return f": the {MAX_CLASSES} largest of {classes:,} classes" if classes > MAX_CLASSES else ""
