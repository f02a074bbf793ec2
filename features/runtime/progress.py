"""How far long work has come: a rate and the time left."""

import sys
import time

from features.runtime.log import LOG

_BAR_CELLS = 24

_TERMINAL_SECONDS = 0.2

_LOG_SECONDS = 10.0


class Progress:
    """A line with a rate and the time left: redrawn on a terminal, plain lines now and then in a log."""

    def __init__(self, name: str, total: int, unit: str) -> None:
        """Starts the clock.

        Args:
            name: what is going on.
            total: how many units there are.
            unit: what is counted, in the plural.
        """
        self._name, self._total, self._unit = name, total, unit
        self._started = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._drawn = False

    def update(self, done: int, note: str = "") -> None:
        """Says that `done` units are finished; draws only as often as somebody can read."""
        now = time.monotonic()
        if now - self._shown < (_TERMINAL_SECONDS if self._terminal else _LOG_SECONDS):
            return
        self._shown = now
        rate = done / max(now - self._started, 1e-9)
        left = f", {_duration((self._total - done) / rate)} left" if rate else ""
        text = f"{self._name}: {done:,} of {self._total:,} {self._unit}, {rate:,.0f} a second{left}{note}"
        if self._terminal:
            filled = _BAR_CELLS * done // max(self._total, 1)
            print(f"\r\x1b[K[{'#' * filled}{'.' * (_BAR_CELLS - filled)}] {text}", end="", file=sys.stderr, flush=True)
            self._drawn = True
        else:
            LOG.info("%s", text)

    def close(self) -> None:
        """Clears the line on a terminal."""
        if self._drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._drawn = False


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
