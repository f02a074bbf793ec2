"""The clips of a model page that can be seen and heard: which they are, and their cards."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.audio.recording import probe_at
from features.errors import ClipError, SoundmillError
from features.frontend.spec import FeatureSpec
from features.pictures.drawing import shown_values
from features.pictures.examples import source_waveform
from features.runtime.progress import Progress
from features.sources.paths import clip_file, unescape_path
from model.evaluation.predictions import Predictions
from model.pages.card import MOST_TOP, card
from model.pages.tested_clips import TestedClips

MOST_MISTAKES = 500
"""So many mistakes are shown where nothing else is asked for."""

_A_CELL = 3
# Beside each ten mistakes that may be shown: of the right ones the least sure, and of others so many for their cells.
_RIGHT_SHARE, _CELLS_SHARE = 0.2, 0.2
# A page much larger than this opens slowly; what more there is has no card.
_MOST_CHARACTERS = 60_000_000
_LONGEST_SECONDS = 600.0
_OF_A_RATE = 1e-6  # by which a quotient of frames and seconds may miss a whole number of Hz
_SPECTRA = ("stft", "log_mel")


@dataclass(frozen=True)
class Cards:
    """Clips as a page has them.

    Attributes:
        numbers: of the clips, in the order in which they are looked at.
        content: the card of each, ready for JSON.
    """

    numbers: list[int]
    content: list[dict[str, Any]]

    def places(self) -> dict[int, int]:
        """Returns the place of the card of each clip that has one, by the clip's number."""
        return {number: place for place, number in enumerate(self.numbers)}


def to_check_first(predictions: Predictions, classes: Sequence[str]) -> list[int]:
    """Returns the numbers of all clips, those first whose labels are the most likely to be wrong.

    Mistakes come before all others, and of both those to whose label the network gives the least probability: the
    order by self-confidence of Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset
    Labels" (2021). Of equals the surer ones come first, then those whose path's bytes do.
    """
    true = predictions.class_ids(list(classes))
    known = np.flatnonzero((true >= 0) & (true < predictions.probabilities.shape[1]))
    of_label = np.zeros(len(true), np.float32)  # which it stays where the network lacks the class
    of_label[known] = predictions.probabilities[known, true[known]]
    surest, correct = predictions.probabilities.max(axis=1), predictions.correct(list(classes))

    def place(number: int) -> tuple[bool, float, float, bytes]:
        path = unescape_path(predictions.paths[number])
        return bool(correct[number]), float(of_label[number]), -float(surest[number]), path

    return sorted(range(len(true)), key=place)


def choose_clips(
    predictions: Predictions, classes: Sequence[str], most_mistakes: int, compared: Sequence[int] = ()
) -> list[int]:
    """Returns the numbers of the clips that are shown, in the order of `to_check_first`: the mistakes come first.

    Behind them come a few clips of each cell of the confusion matrix that has none yet, as far as there is room, and
    the right ones that were the least sure.

    Args:
        predictions: of all clips.
        classes: as their true labels are numbered.
        most_mistakes: so many mistakes at most but for those of the cells.
        compared: numbers of clips that are shown besides, since another model says something else of them.
    """
    order = to_check_first(predictions, classes)
    true, predicted = predictions.class_ids(list(classes)), predictions.predicted
    num_wrong = int((predicted != true).sum())
    chosen = order[:num_wrong][:most_mistakes]
    right = order[num_wrong:][: round(_RIGHT_SHARE * most_mistakes)]
    in_cell: dict[tuple[int, int], int] = {}
    ranks: list[tuple[int, int, int]] = []
    taken = set(chosen) | set(right)
    for number in order:
        cell = int(true[number]), int(predicted[number])
        if number not in taken:
            ranks.append((in_cell.get(cell, 0), len(ranks), number))
        in_cell[cell] = in_cell.get(cell, 0) + 1
    # Each cell's first before any second, so that where there are many cells as many as can be have one.
    room = max(round(_CELLS_SHARE * most_mistakes), 1)
    others = [number for rank, _, number in sorted(ranks) if rank < _A_CELL][:room]
    place = {number: place for place, number in enumerate(order)}
    return sorted({*chosen, *right, *others, *compared}, key=place.__getitem__)


def make_cards(clips: TestedClips, numbers: Sequence[int]) -> Cards:
    """Makes the cards of some clips, until the page is as large as it may be: the last ones may be left out.

    Raises:
        RunError: a shard of an early format is missing or damaged.
    """
    spec, predictions = clips.manifest.spec, clips.predictions
    rows = clips.rows(numbers)
    drawn = clips.features_of(numbers) if is_drawn(spec) else {}
    names = np.array(clips.classes, dtype=object)
    fold_of = {part.first: part.name for part in clips.parts}
    made: list[dict[str, Any]] = []
    characters = 0
    progress = Progress("pictures and sounds of", len(numbers), "clips")
    for number, row in zip(numbers, rows, strict=True):
        probabilities = predictions.probabilities[number]
        order = np.argsort(-probabilities, kind="stable")[:MOST_TOP]
        waveform = None if row["shard"] is None else source_waveform(row, clips.manifest)
        silent = why_silent(row, waveform, spec)
        start = _start_seconds(row, clips.manifest.source.get("root", ""), waveform is not None)
        content = card(
            row["path"],
            (start or 0.0, (start or 0.0) + (row["seconds"] or 0.0)),
            predictions.true[number] if row["label"] is None else row["label"],
            list(zip(names[order].tolist(), probabilities[order].tolist(), strict=True)),
            None if silent else waveform,
            spec.sample_rate_hz,
            shown_values(drawn[number], spec) if number in drawn else None,
        )
        content["true"] = predictions.true[number]
        content["group"] = row["group"] if row["group"] != row["path"] else None
        content["partition"] = row["partition"]
        if clips.is_cross_validated:
            content["fold"] = fold_of[max(first for first in fold_of if first <= number)]
        if silent:
            content["silent"] = silent
        if row["shard"] is None or start is None:
            content["unmarked"] = True  # review.csv could not name it
        characters += sum(len(content.get(name) or "") for name in ("sound", "image", "envelope"))
        if characters > _MOST_CHARACTERS and made:
            break
        made.append(content)
        progress.update(len(made))
    progress.close()
    return Cards(list(numbers[: len(made)]), made)


def is_drawn(spec: FeatureSpec) -> bool:
    """Returns whether features of a spec are drawn as they are: spectra over time; else a spectrogram of the sound."""
    return spec.front_end in _SPECTRA and len(spec.shape) == 2


def why_silent(row: dict[str, Any], waveform: NDArray[np.float32] | None, spec: FeatureSpec) -> str | None:
    """Returns why a clip cannot be heard, None where it can."""
    if row["shard"] is None:
        return "A window of the background noise of the training; its sound is not kept."
    if waveform is None:
        return "The recording is not there any more, or has changed."
    seconds = len(waveform) / spec.sample_rate_hz
    if seconds > _LONGEST_SECONDS:
        return f"It lasts {seconds / 60:.0f} minutes, which is more than a page holds."
    return None


def _start_seconds(row: dict[str, Any], root: str, is_there: bool) -> float | None:
    """Returns where a clip begins in its file; None where its rate is not known any more.

    Args:
        row: of the clip.
        root: of the source.
        is_there: whether the file is there as it was featurized.
    """
    if not row["start"]:
        return 0.0
    if not is_there:
        # All that is known: its frames as they were requested, one of which the file may not have had.
        known = row["duration"] and row["seconds"] and "truncated" not in (row["warning"] or "")
        rate_hz = row["duration"] / row["seconds"] if known else math.nan
        return float(row["start"] / round(rate_hz)) if abs(rate_hz - np.round(rate_hz)) < _OF_A_RATE else None
    try:
        return float(row["start"] / probe_at(clip_file(root, row["path"])).rate_hz)
    except (OSError, ClipError, SoundmillError):
        return None
