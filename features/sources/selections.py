"""Tables of selections as Raven writes them, whose rows and times are not what they seem.

Raven writes a selection once for each view of the sound that is open, by default a waveform and a spectrogram. Where
several files were opened as one sound, it counts `Begin Time (s)` from the beginning of the first file; where a
selection lies in its own file is `File Offset (s)`, a measurement that has to be chosen.
"""

import math
from collections.abc import Collection, Mapping

from features.errors import UsageError
from features.sources.table_rows import Rows

_NUMBER, _VIEW, _BEGIN, _OFFSET = "Selection", "View", "Begin Time (s)", "File Offset (s)"
COLUMNS = (_NUMBER, _VIEW, _BEGIN, _OFFSET)
"""Columns to read where they are there."""

_OF_THE_SOUND = (_BEGIN, "End Time (s)")
_FILES = ("Begin File", "Begin Path")
_SAME_SECONDS = 1e-3


def once_a_selection(rows: Rows, taken: Collection[str]) -> tuple[Rows, list[str]]:
    """Returns the rows with each selection once, and what there is to say about it.

    Rows that differ in their view and have the number and all that is read from them in common are one selection.

    Args:
        rows: of a table, with those of `COLUMNS` that it has.
        taken: names of the columns that say what a clip is; where the view is one of them, no row is another's.
    """
    if _NUMBER not in rows.values or _VIEW not in rows.values or _VIEW in taken:
        return rows, []
    others = [values for column, values in rows.values.items() if column != _VIEW]
    views: dict[tuple[str, ...], set[str]] = {}
    kept = []
    for row, (view, *values) in enumerate(zip(rows.values[_VIEW], *others, strict=True)):
        seen = views.setdefault(tuple(values), set())
        if not seen or view in seen:  # what is twice in one view is there twice
            kept.append(row)
        seen.add(view)
    repeated = len(rows.numbers) - len(kept)
    if not repeated:
        return rows, []
    return rows.select(kept), [f"{rows.name} has {repeated:,} selections once more in another view; each counts once"]


def check_times(rows: Rows, used: Mapping[str, str]) -> None:
    """Raises `UsageError` where times of a sound of several files would be taken for times of the files.

    Args:
        rows: of a table, with those of `COLUMNS` that it has.
        used: the column of each role.
    """
    named = [used[role] for role in ("start", "end") if used.get(role) in _OF_THE_SOUND]
    if not named or used.get("path") not in _FILES or not {_BEGIN, _OFFSET} <= rows.values.keys():
        return
    for row, (begin, offset) in enumerate(zip(rows.values[_BEGIN], rows.values[_OFFSET], strict=True)):
        if abs(_seconds(begin) - _seconds(offset)) > _SAME_SECONDS:
            raise UsageError(
                f"{rows.where(row)}: {' and '.join(map(repr, named))} count from the beginning of the first of several "
                f"files that were one sound to Raven: {_BEGIN!r} is {begin!r} and {_OFFSET!r} is {offset!r}; give "
                f"--start-column '{_OFFSET}' --duration-column 'Delta Time (s)' in their place"
            )


def _seconds(text: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return math.nan  # what is no number is said of the row that it stands in
