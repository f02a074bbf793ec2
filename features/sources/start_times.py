"""The times of day of rows, from when their recordings began: as columns, for millions of rows."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_UNKNOWN = -1


class StartTimes:
    """When recordings began, by their numbers."""

    def __init__(self, starts: Sequence[datetime | None]) -> None:
        """Takes when each recording began: aware where its zone is known, None where no time is."""
        zones: dict[tzinfo | None, int] = {}
        self._began_us = np.zeros(len(starts), np.int64)  # in UTC; of one without a zone by its clock
        self._zones = np.full(len(starts), _UNKNOWN, np.int32)
        for number, start in enumerate(starts):
            if start is not None:
                by_utc = start.replace(tzinfo=None) - (start.utcoffset() or timedelta())
                self._began_us[number] = (by_utc - _EPOCH) // _MICROSECOND
                self._zones[number] = zones.setdefault(start.tzinfo, len(zones))
        self._named = tuple(zones)

    def at(self, recordings: NDArray[np.int64], seconds: NDArray[np.float64]) -> pa.Array:
        """Returns the time at which rows begin, by ISO 8601 to the millisecond.

        Args:
            recordings: number of each row's recording, of shape (rows,).
            seconds: where each row begins in it, of shape (rows,).

        Returns:
            A string a row: with an offset where the zone is known, that of the instant; null where no time is known.
        """
        zones = self._zones[recordings]
        began_ms = (self._began_us[recordings] + np.rint(seconds * 1e6).astype(np.int64) + 500) // 1000
        suffixes = pa.array([""] * len(zones), pa.string())
        for zone in np.unique(zones[zones != _UNKNOWN]).tolist():
            if (named := self._named[zone]) is not None:
                of_zone = zones == zone
                offsets_ms, texts = _offsets(began_ms[of_zone], named)
                began_ms[of_zone] += offsets_ms
                suffixes = pc.replace_with_mask(suffixes, pa.array(of_zone), texts)
        clocks = pa.array(began_ms, mask=zones == _UNKNOWN).cast(pa.timestamp("ms")).cast(pa.string())
        clocks = pc.binary_replace_slice(clocks, 10, 11, "T")  # Arrow writes a space
        return pc.binary_join_element_wise(clocks, suffixes, "")


def _offsets(instants_ms: NDArray[np.int64], zone: tzinfo) -> tuple[NDArray[np.int64], pa.Array]:
    """Returns how far the clocks of a zone are from UTC at some instants: in milliseconds, and as text."""
    minutes, of_rows = np.unique(instants_ms // 60_000, return_inverse=True)  # since 1972 clocks are set at whole ones
    instants = [_EPOCH.replace(tzinfo=UTC) + timedelta(minutes=minute) for minute in minutes.tolist()]
    clocks = [instant.astimezone(zone) for instant in instants]
    offsets_ms = [(clock.utcoffset() or timedelta()) // timedelta(milliseconds=1) for clock in clocks]
    texts = pa.array([clock.isoformat()[19:] for clock in clocks], pa.string())
    return np.array(offsets_ms, np.int64)[of_rows], texts.take(pa.array(of_rows))
