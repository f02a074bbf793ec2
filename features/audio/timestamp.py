"""Times as recorders write them: a date and a time of day, with or without an offset from UTC."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_OFFSET = re.compile(r"([+-])(?:([0-9]{2})([0-9]{2})|([0-9]{1,2})(?:: ?([0-9]{1,2}))?)")
_MOST_OFFSET = timedelta(hours=14)  # of a zone that there is, to the east; to the west it is 12
# ISO 8601, and what recorders make of it: a space for the T, an hour of the offset that has one digit.
_ISO = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})[T ]"
    r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?"
    r"\s*(?P<zone>Z|[+-][0-9:]+)?"
)
_YEARS = range(1900, 2200)  # others are of clocks that were never set, and near what a datetime can hold
_LAST_YEAR_OF_TWO_DIGITS = 2068  # POSIX: 69 to 99 are of the twentieth century


def read_timestamp(text: str) -> datetime | None:
    """Returns the time that a text is, by ISO 8601; aware where it has an offset, None where it is no time."""
    match = _ISO.fullmatch(text.strip())
    return None if match is None else make_time(match.groupdict())


def make_time(fields: Mapping[str, str | None]) -> datetime | None:
    """Returns the time that some texts are.

    Args:
        fields: `year` (of two digits: 1969 to 2068), `month`, `day` and `hour`; where they are there `minute`,
            `second`, `fraction` (the digits behind the point of the second; what is below a microsecond is cut off)
            and `zone`, as `read_offset` reads it.

    Returns:
        The time, aware where it has a zone; None where it is none, as on the 30th of February, or of another year than
        1900 to 2199.
    """
    zone = None
    if text := fields.get("zone"):
        zone = read_offset(text)
        if zone is None:
            return None
    try:
        year, month, day, hour, minute, second = (
            int(fields.get(name) or 0) for name in ("year", "month", "day", "hour", "minute", "second")
        )
        microsecond = int((fields.get("fraction") or "0")[:6].ljust(6, "0"))
        if len(fields["year"] or "") == 2:
            year += 1900 if year + 2000 > _LAST_YEAR_OF_TWO_DIGITS else 2000
        return datetime(year, month, day, hour, minute, second, microsecond, zone) if year in _YEARS else None
    except ValueError:
        return None


def read_offset(text: str) -> tzinfo | None:
    """Returns the zone that an offset from UTC is: `Z`, `+01:00`, `+0100`, `+01` or `+1`; None where it is none."""
    if text in ("Z", "z"):
        return UTC
    match = _OFFSET.fullmatch(text)
    if match is None:
        return None
    hours, minutes = int(match[2] or match[4]), int(match[3] or match[5] or 0)
    offset = timedelta(hours=hours, minutes=minutes)
    if offset > _MOST_OFFSET or minutes >= 60:
        return None
    return timezone(-offset if match[1] == "-" else offset)
