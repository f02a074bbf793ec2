"""Reads the reports of units as they are finished, while others are built: at the end of a run few are left to read."""

import contextlib
import threading
from collections.abc import Sequence

from features.runtime.threads import beside
from features.store.layout import Layout
from features.store.unit_report import Report, read_report

_LOOK_SECONDS = 0.5
# Units are finished about in their order: where so many have no report, none is looked for behind them.
_LOOKED_AT = 8


class ReportsAhead:
    """Reports that were read before all units are finished."""

    def __init__(self, layout: Layout) -> None:
        """Takes the set whose reports these are; nothing is read."""
        self._layout = layout
        self._held: dict[str, Report] = {}

    def reading(self, names: Sequence[str]) -> contextlib.AbstractContextManager[None]:
        """Reads reports in a thread while the block runs.

        Args:
            names: of the units that are built meanwhile, in about the order in which they are finished.
        """

        def read(ended: threading.Event) -> None:
            waiting = list(names)
            while waiting and not ended.wait(_LOOK_SECONDS):
                waiting = self._look(waiting, ended)

        return beside(read, "reports")

    def _look(self, names: Sequence[str], ended: threading.Event) -> list[str]:
        """Reads what is there of the reports of some units; returns the names of the others."""
        left: list[str] = []
        for place, name in enumerate(names):
            if len(left) == _LOOKED_AT or ended.is_set():
                return [*left, *names[place:]]
            try:
                self._held[name] = read_report(self._layout, name)
            except Exception:  # it is not there yet, or whoever asks for it is told why it cannot be read
                left.append(name)
        return left

    def take(self, name: str) -> Report:
        """Returns a report, which is read if it has not been, or is another one now; raises what `read_report` does."""
        held = self._held.pop(name, None)
        if held is not None and held.version == self._layout.files.status(self._layout.report(name)).version:
            return held
        return read_report(self._layout, name)
