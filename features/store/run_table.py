"""The last runs into a feature set for people, as its run log has them."""

import datetime
import math
from typing import Any

LAST_RUNS = 10
_COUNTS = ("state", "clips", "computed", "copied", "kept", "removed", "rejected")
_UNKNOWN = "-"
_LARGEST = 2**63


def history_lines(runs: list[dict[str, Any]]) -> list[str]:
    """Returns a table of the last runs, the latest last; what a line of the run log does not say is a dash.

    Args:
        runs: lines of the run log, the earliest first.
    """
    if not runs:
        return ["runs        none is recorded"]
    shown = runs[-LAST_RUNS:]
    rows = [("scan begun", *_COUNTS, "seconds", "hit rate"), *map(_row, shown)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    number = f"the last {len(shown)} of {len(runs):,}" if len(runs) > len(shown) else f"{len(runs)}"
    notes = ["", *map(_note, shown)]
    return [f"runs        {number}, the latest last", *(line + note for line, note in zip(lines, notes, strict=True))]


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    counts = [f"{number:,.0f}" if (number := _number(run.get(name))) is not None else _UNKNOWN for name in _COUNTS]
    seconds, rate = _number(run.get("seconds")), _number(run.get("hit_rate"))
    # Rounded down: 100 % says that nothing was computed.
    hits = _UNKNOWN if rate is None else f"{math.floor(rate * 1000) / 10:.1f} %"
    return (_begun(run), *counts, _UNKNOWN if seconds is None else f"{seconds:,.1f}", hits)


def _note(run: dict[str, Any]) -> str:
    """Returns what a run did beside what the columns say."""
    repaired = _number(run.get("repaired"))
    if repaired is None:
        return ""
    return f"  a repair: {repaired:,.0f} {'shard has' if repaired == 1 else 'shards have'} other bytes"


def _begun(run: dict[str, Any]) -> str:
    """Returns when the scan began that found the state, in the time of this place."""
    began_ns = _number(run.get("scan_started_ns"))
    try:
        began = datetime.datetime.fromtimestamp(began_ns / 1e9) if began_ns is not None else None
    except (OverflowError, OSError, ValueError):
        began = None
    return _UNKNOWN if began is None else began.isoformat(" ", "seconds")


def _number(value: Any) -> float | None:
    """Returns a number of the run log, None for anything else: any program may write into it."""
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return value if numeric and abs(value) < _LARGEST else None
