"""How far long work has come: a rate and the time left."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Optional

from features.runtime.log import LOG
from features.runtime.quantities import rate_text, sound_text, sound_unit

if TYPE_CHECKING:
    from features.runtime.bar import Bar

# Work that ends sooner needs no bar, and does not wait for what draws one to be loaded.
_FIRST_BAR_SECONDS = 0.5
_BAR_SECONDS = 0.2
# In a log: soon, so that one sees that it runs, and then so seldom that a day of it can be read.
_FIRST_LOG_SECONDS = 10.0
_LOG_SECONDS = 30.0
_DUMB_TERMINALS = ("dumb", "unknown")  # as rich has it: they cannot move the cursor


class Progress:
    """A bar with a rate and the time left on a terminal; plain lines now and then in a log."""

    _drawn: Optional["Progress"] = None  # the one whose bar is on the terminal

    def __init__(self, name: str, total: float, unit: str) -> None:
        """Starts the clock.

        Args:
            name: of the work.
            total: how many units there are.
            unit: what is counted, in the plural.
        """
        self._name, self._total, self._unit = name, total, unit
        self._started = time.monotonic()
        self._has_bar = sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in _DUMB_TERMINALS
        self._due = self._started + (_FIRST_BAR_SECONDS if self._has_bar else _FIRST_LOG_SECONDS)
        self._bar: Bar | None = None

    @property
    def is_due(self) -> bool:
        """Whether `update` would say something now: what is told to it may take long to find out."""
        return time.monotonic() >= self._due

    def update(self, done: float, note: str = "") -> None:
        """Notes that `done` units are finished; draws only as often as a person can read.

        Args:
            done: units that are finished.
            note: what follows the time left, from its comma or space on.
        """
        if not self.is_due:
            return
        now = time.monotonic()
        rate = done / max(now - self._started, 1e-9)
        left = f", {_duration((self._total - done) / rate)} left" if rate else ""
        text = f"{self._amounts(done, rate)}{left}{note}"
        if not self._has_bar:
            LOG.info("%s: %s", self._name, text)
            self._due = now + _LOG_SECONDS
            return
        with contextlib.suppress(OSError):  # a closed terminal does not end a run
            if self._bar is None:
                # Loading it takes a tenth of a second: only where a bar is drawn.
                from features.runtime.bar import Bar

                Progress._drawn, self._bar = self, Bar(self._name, self._total)
            self._bar.draw(done, text)
        self._due = time.monotonic() + _BAR_SECONDS  # after the first drawing, which loads what draws

    def _amounts(self, done: float, rate: float) -> str:
        """Returns how much is done, of how much, and at which rate a second."""
        return f"{done:,.0f} of {self._total:,.0f} {self._unit}, {rate_text(rate)} a second"

    def close(self) -> None:
        """Clears the bar."""
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.clear()
            Progress._drawn = self._bar = None


class AudioProgress(Progress):
    """The same of sound: what is counted is seconds of it; the rate is in times real time."""

    def __init__(self, name: str, total_seconds: float) -> None:
        """Starts the clock.

        Args:
            name: of the work.
            total_seconds: how long all of the sound is.
        """
        super().__init__(name, total_seconds, sound_text(total_seconds))
        self._unit_seconds = sound_unit(total_seconds)[0]

    def _amounts(self, done: float, rate: float) -> str:
        return f"{done / self._unit_seconds:,.1f} of {self._unit}, {rate_text(rate)} times real time"


@contextlib.contextmanager
def clearing_bars() -> Iterator[None]:
    """Clears a bar that the block has left on the terminal, as where an error or Ctrl-C ended it."""
    try:
        yield
    finally:
        if Progress._drawn is not None:
            Progress._drawn.close()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
