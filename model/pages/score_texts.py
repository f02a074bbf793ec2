"""What the page of a scoring says in sentences: what is counted, drawn and left out."""

from collections.abc import Mapping
from typing import Any

from features.runtime.quantities import counted, duration_text, sound_text
from model.pages.score_figures import ScoreFigures

_CLOSE_HZ = 48_000


def score_texts(figures: ScoreFigures, summary: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the sentences of the page by their names in its template.

    Args:
        figures: of the table's lines.
        summary: the figures of the page.
        data: what its scripts read.
    """
    return {
        "hours": sound_text(summary["hours"] * 3600).removesuffix(" of audio"),
        "explained": _explained(figures, summary),
        "timelines_text": _timelines_text(figures, data),
        "activity_text": _activity_text(data["activity"]),
        "sample_text": _sample_text(summary),
        "notes": _notes(figures, summary, data),
    }


def _explained(figures: ScoreFigures, summary: Mapping[str, Any]) -> str:
    said = "" if summary["hours_known"] or not figures.num_lines else (
        "Sound is counted to the end of each recording's last line, as nothing beside the table says how long the "
        "recordings are. "
    )  # fmt: skip
    if figures.lengths:
        length, hop = (counts.most_common(1)[0][0] if counts else None for counts in (figures.lengths, figures.hops))
        said += f"A line is a window, most often of {duration_text(length or 0)}"
        said += f", one every {duration_text(hop)}. " if hop else ". "
    return said + "An event is neighbouring windows of one label: they touch or overlap."


def _timelines_text(figures: ScoreFigures, data: Mapping[str, Any]) -> str:
    drawn, count = len(data["timelines"]), figures.num_recordings
    if not drawn:
        return "No recording has a line."
    if drawn == count:
        who = "Every recording with a line, that with the most events first."
    else:
        who = f"The {counted(drawn, 'recording')} of {count:,} with the most events of a probability from 0.5 on."
    return f"{who} A click on a time line plays from there; so do Enter and the arrow keys where it has the focus."


def _activity_text(activity: Mapping[str, Any] | None) -> str:
    if activity is None:
        return ""
    said = "Events by the hour in which they begin, as the recorders' clocks have it"
    said += ", and by month. " if activity["byMonth"] else ", and by date. "
    if activity["together"]:
        said += "All labels are counted together, as there are too many of them for a page. "
    if len(activity["thresholds"]) < 101:
        steps = ", ".join(f"{place / 100:.2f}" for place in activity["thresholds"][:4])
        said += (
            f"They are counted at thresholds of {steps}{' …' if len(activity['thresholds']) > 4 else ''}, and shown "
        )
        said += "at the next one below that which is set. "
    return said + "An hour without a number has no line."


def _sample_text(summary: Mapping[str, Any]) -> str:
    if not summary["cards"]:
        return "There is no event to check."
    if summary["cards"] == summary["events"]:
        which = f"All {counted(summary['cards'], 'event')}"
    else:
        which = (
            f"{summary['cards']:,} of {counted(summary['events'], 'event')}, drawn by a hash: equally many of each "
            "label and band of probability, as far as there are"
        )
    return f"{which}. What is to be judged of each is its most probable window."


def _notes(figures: ScoreFigures, summary: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    """Returns what the page adds up, draws and leaves out, a sentence each."""
    lines = data["timelines"]
    notes = []
    if figures.num_lines:
        notes.append(
            f"All {counted(figures.num_lines, 'line')} are counted, by label at each hundredth of a probability, so "
            "that the numbers follow label and threshold exactly."
        )
    if figures.num_recordings > len(lines):
        listed = len(figures.listed)
        notes.append(
            f"Of {counted(figures.num_recordings, 'recording')} with lines {len(lines):,} have a time line and "
            f"{listed:,} are listed in numbers; the others are in the sums alone."
        )
    if whole := [line for line in lines if line["joined"]]:
        notes.append(
            f"{counted(len(whole), 'time line')} of many lines show, of those of a label within a thousandth of the "
            "recording, the most probable."
        )
    if summary["timelines_heard_whole"] < len(lines):
        notes.append(
            f"{summary['timelines_heard_whole']:,} of {counted(len(lines), 'time line')} can be heard whole, the "
            "shortest recordings first; of others there are some windows, as the page would be too large else."
        )
    heard = "Sounds are the mean of a recording's channels at its own rate"
    if any(line.get("rate", 0) > _CLOSE_HZ for line in lines):
        heard += ", and of those above 48 kHz without what lies above 24 kHz"
    notes.append(f"{heard}. A model that takes one channel, or a lower rate, heard less.")
    if summary["cards_heard"] < summary["cards"]:
        notes.append(
            f"{summary['cards'] - summary['cards_heard']:,} of {counted(summary['cards'], 'window')} of the sample "
            "cannot be heard; each says why."
        )
    if 0 < figures.activity.known < figures.num_lines:
        notes.append(f"{counted(figures.num_lines - figures.activity.known, 'line')} have no time of day.")
    return notes
