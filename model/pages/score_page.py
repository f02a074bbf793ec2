"""The page of a scoring: what was found, where and when, and a sample of it to check by ear; see `build_score_page`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import ClipError
from features.io.filesystem import place
from features.runtime.progress import Progress
from features.runtime.quantities import counted
from features.sources.paths import csv_path, escape_path
from model.inference.classes import NOT_NAMED
from model.pages.activity import Cells
from model.pages.card import MOST_TOP, card
from model.pages.document import render, write_page
from model.pages.how_scored import HowScored, how_scored
from model.pages.line_events import THRESHOLDS
from model.pages.score_figures import RecordingFigures, ScoreFigures
from model.pages.score_sample import BANDS, SampledEvent, ScoreSample
from model.pages.score_texts import score_texts
from model.pages.scored_recordings import ScoredRecordings
from model.pages.scored_table import ScoredTable
from model.pages.timeline import ByteBudget, timelines

MOST_TIMELINES = 12
MOST_LISTED = 200
MOST_CARDS = 200
_PER_LABEL_AND_BAND = 25
_TIMELINE_BYTES = 6_000_000
_CARD_BYTES = 5_000_000
_FULL_RATE_HZ = 48_000


@dataclass(frozen=True, eq=False)
class _Read:
    """What was read of a table of labels.

    Attributes:
        labels: of the page, sorted.
        numbers: the number of each label of the table among them.
        order: the number of each label of the page among those of the table.
        figures: of its lines.
        sample: events of it.
        counts: events of each label of the table and band.
        others: what the table says of other labels of the sampled windows.
    """

    labels: list[str]
    numbers: NDArray[np.int64]
    order: list[int]
    figures: ScoreFigures
    sample: list[SampledEvent]
    counts: NDArray[np.int64]
    others: Mapping[tuple[str, float], list[tuple[str, float]]]


def write_score_page(labels: str, source: str | None, output: str) -> dict[str, Any]:
    """Writes the page of a scoring, and returns its figures; see `build_score_page`."""
    page, figures = build_score_page(labels, source)
    return figures | {"bytes": write_page(output, page), "output": output}


def build_score_page(labels: str, source: str | None = None) -> tuple[str, dict[str, Any]]:
    """Returns the page of a scoring as the text of a file of HTML, and its figures.

    However many lines there are, the page holds counts by label and threshold, by recording and by hour, the time
    lines of some recordings, and a sample of the events.

    Args:
        labels: the table that score has written, with or without what lies beside it.
        source: what was scored, to be shown and heard; where None, what the manifest beside the table says.

    Raises:
        UsageError: the table is not there, or is no table of labels.
    """
    how = how_scored(labels)
    read = _read(labels)
    figures = read.figures
    sampled_paths = [event.path for event in read.sample]
    recordings = ScoredRecordings(source or how.root, how.states([*sampled_paths, *figures.drawn], source))
    lines = timelines(
        figures.listed[:MOST_TIMELINES], figures.drawn, read.numbers, recordings, ByteBudget(_TIMELINE_BYTES)
    )
    cards = _cards(read, recordings)
    summary = _summary(read, how, lines, cards)
    data = {
        "title": f"Labels of {escape_path(os.fsencode(place(labels).name))}",
        "labels": read.labels,
        "named": [label not in NOT_NAMED for label in read.labels],
        "sums": {name: [_sparse(figures.at_thresholds(name)[number]) for number in read.order]
                 for name in ("lines", "events", "seconds", "recordings")},
        "recordings": _sparse(figures.recordings_of_any),
        "listed": [_listed(recording, read.numbers) for recording in figures.listed],
        "timelines": lines,
        "activity": _activity(figures.activity.cells(), read.numbers),
        "bands": list(BANDS),
        "bandCounts": read.counts[read.order].tolist() if read.order else [],
        "cards": cards,
    }  # fmt: skip
    shown = {
        "summary": summary,
        "settings": how.described(),
        "settings_unknown": how.why_none,
        "rejects": how.rejects,
        "warnings": how.warnings,
        "classes": _classes(read),
        "num_listed": len(figures.listed),
        "activity": data["activity"] is not None,
        "counted": counted,
        **score_texts(figures, summary, data),
    }
    return render("score.html.j2", data, ("score.js",), **shown), summary


def _read(labels: str) -> _Read:
    with ScoredTable(labels) as table:
        figures, sample = ScoreFigures(MOST_LISTED, MOST_TIMELINES), ScoreSample(_PER_LABEL_AND_BAND)
        for lines in table.recordings():
            found = figures.add(lines, table.labels)
            sample.add(found, lines.paths, table.labels)
        chosen = sample.chosen(MOST_CARDS, table.labels)
        windows = [(event.path, event.start_seconds) for event in chosen]
        others = table.other_labels(windows, MOST_TOP) if table.has_others and windows else {}
        order = sorted(range(len(table.labels)), key=table.labels.__getitem__)
        numbers = np.empty(len(order), np.int64)
        numbers[order] = np.arange(len(order))
        names = [table.labels[number] for number in order]
        return _Read(names, numbers, order, figures, chosen, sample.counts, others)


def _cards(read: _Read, recordings: ScoredRecordings) -> list[dict[str, Any]]:
    """Returns the cards of the sample, by label and the most probable band first, as many as there is room for."""
    budget = ByteBudget(_CARD_BYTES)
    made: dict[SampledEvent, dict[str, Any]] = {}
    progress = Progress("sample", len(read.sample), "events")
    for number, event in enumerate(read.sample):
        progress.update(number)
        top = read.others.get((event.path, event.start_seconds)) or [(event.label, event.probability)]
        shown = _card(event, top, recordings)
        if not budget.take(sum(len(shown.get(name, "")) for name in ("sound", "image", "envelope"))):
            break
        made[event] = shown
    progress.close()
    return [made[event] for event in sorted(made, key=lambda event: (event.label, -event.band))]


def _card(event: SampledEvent, top: Sequence[tuple[str, float]], recordings: ScoredRecordings) -> dict[str, Any]:
    seconds = event.start_seconds, event.end_seconds
    extra: dict[str, Any] = {
        "probability": event.probability,
        "band": event.band,
        "eventStart": event.event_start_seconds,
        "eventEnd": event.event_end_seconds,
    }
    try:
        with recordings.open(event.path) as opened:
            waveform = opened.waveform(*seconds)
            return card(event.path, seconds, event.label, top, waveform, opened.info.rate_hz) | extra
    except ClipError as error:
        extra["silent"] = f"{error.reason}: {error.message}"
        return card(event.path, seconds, event.label, top, None, _FULL_RATE_HZ) | extra


def _summary(
    read: _Read, how: HowScored, lines: Sequence[Mapping[str, Any]], cards: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Returns the figures of the whole page, for it and for `--summary`."""
    figures = read.figures
    events = figures.at_thresholds("events")
    rejected = {each["reason"]: each["count"] for each in how.rejects or []}
    warned = {each["reason"]: each["count"] for each in how.warnings or []}
    return {
        "lines": figures.num_lines,
        "files": figures.num_recordings if how.num_files is None else how.num_files,
        "files_with_lines": figures.num_recordings,
        "hours": round((figures.covered_seconds if how.seconds is None else how.seconds) / 3600, 4),
        "hours_known": how.seconds is not None,
        "labels": len(read.labels),
        "events": int(events.sum()),
        "events_at_half": int(events[:, THRESHOLDS >= 0.5].sum()),
        "events_by_label": {label: int(events[number].sum())
                            for label, number in zip(read.labels, read.order, strict=True)},
        "rejected": rejected,
        "warnings": warned,
        "lines_with_time": figures.activity.known,
        "timelines": len(lines),
        "timelines_heard_whole": sum("sound" in line for line in lines),
        "cards": len(cards),
        "cards_heard": sum("sound" in card for card in cards),
    }  # fmt: skip


def _classes(read: _Read) -> list[dict[str, Any]]:
    """Returns the rows of the table of labels, as they are where every line counts."""
    figures = read.figures
    rows = []
    for label, number in zip(read.labels, read.order, strict=True):
        lines = figures.at_thresholds("lines")[number]
        rows.append({
            "label": label,
            "named": label not in NOT_NAMED,
            "lines": int(lines.sum()),
            "events": int(figures.at_thresholds("events")[number].sum()),
            "seconds": round(float(figures.at_thresholds("seconds")[number].sum()), 3),
            "recordings": int(figures.at_thresholds("recordings")[number].sum()),
            "highest": float(figures.highest[number]),
        })  # fmt: skip
    return rows


def _listed(recording: RecordingFigures, numbers: NDArray[np.int64]) -> list[Any]:
    most = -1 if recording.most < 0 else int(numbers[recording.most])
    return [csv_path(recording.path), recording.lines, round(recording.end_seconds, 3), most, _sparse(recording.events)]


def _activity(cells: Cells | None, numbers: NDArray[np.int64]) -> dict[str, Any] | None:
    if cells is None:
        return None
    labels = np.where(cells.labels < 0, cells.labels, numbers[cells.labels])
    return {
        "thresholds": cells.thresholds,
        "dates": cells.dates,
        "byMonth": cells.by_month,
        "together": bool(len(labels) and labels[0] < 0),
        "cells": np.stack([labels, cells.date_numbers, cells.hours, cells.places, cells.counts], axis=1)
        .ravel()
        .tolist(),
        "recorded": cells.recorded.ravel().tolist(),
    }


def _sparse(counts: NDArray[np.number]) -> list[float]:
    """Returns counts at thresholds as JSON has them: all, or where most are 0, pairs of a place and what is there."""
    rounded = [round(float(value), 3) for value in counts]
    values = [int(value) if value.is_integer() else value for value in rounded]
    found = [(number, value) for number, value in enumerate(values) if value]
    return [each for pair in found for each in pair] if 2 * len(found) < len(values) else values
