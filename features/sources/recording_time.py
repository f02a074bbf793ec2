"""When a recording began: by its header, by its name, or by a pattern that finds the time in its path."""

import posixpath
import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from features.audio.timestamp import make_time, read_offset
from features.errors import AMBIGUOUS_TIME, NONEXISTENT_TIME, TIMES_DISAGREE, UsageError

PATTERN, HEADER, NAME, UNKNOWN = "pattern", "header", "name", "unknown"
SOURCES = (PATTERN, HEADER, NAME, UNKNOWN)
"""What a time is taken from, the first before the others."""
_GROUPS = ("year", "month", "day", "hour", "minute", "second", "fraction", "zone")
_NEEDED = frozenset(_GROUPS[:5])
# A date and a time of day with their seconds, which may be absent after a T alone. Recorders put `_` between them, `$`
# where their clock was set by GPS (Song Meter SM2 and SM3), `T`, `-`, a space or nothing. An offset, behind `_` too
# (Swift), has its minutes: hours alone are read after a T, by ISO 8601, elsewhere `-05` is rather the number of a part.
_IN_NAMES = re.compile(
    r"(?<![0-9])(?P<year>19[7-9][0-9]|20[0-9]{2})(?P<dash>[-_.]?)(?P<month>0[1-9]|1[0-2])(?P=dash)"
    r"(?P<day>0[1-9]|[12][0-9]|3[01])(?:_?(?P<iso>T)|__|[-_$ ])?"
    r"(?P<hour>[01][0-9]|2[0-3])(?P<colon>[-:_.]?)(?P<minute>[0-5][0-9])"
    r"(?:(?P=colon)(?P<second>[0-5][0-9])(?:[.,](?P<fraction>[0-9]{1,9}))?|(?(iso)|(?!)))"
    r"(?:_?(?P<zone>Z(?![A-Za-z])|[+-](?:0[0-9]|1[0-4]):?(?:00|15|30|45)|(?(iso)[+-](?:0[0-9]|1[0-4])|(?!))))?(?![0-9])"
)
# The names of AudioMoths before firmware 1.2: seconds since 1970. They had clocks from 2016 on; of digits alone a name
# is as well a number that somebody gave.
_HEXADECIMAL = re.compile(r"(?=[0-9]*[A-F])[5-7][0-9A-F]{7}")
_EARLIEST_HEXADECIMAL = 0x5685C180  # 2016-01-01
_SAME_TIME = timedelta(seconds=1)  # names have whole seconds


@dataclass(frozen=True)
class TimeRules:
    """What says when a recording began beside its header and its name.

    Attributes:
        pattern: what finds the time in a path; it stands before header and name.
        zone: of times that have none of their own.
    """

    pattern: re.Pattern[str] | None = None
    zone: tzinfo | None = None


class Start(NamedTuple):
    """When a recording began.

    Attributes:
        time: aware where its zone is known; None where no time is known.
        source: what it was taken from, one of `SOURCES`.
        warnings: codes of warnings, each with what was met.
    """

    time: datetime | None
    source: str
    warnings: tuple[tuple[str, str], ...] = ()


def find_start(path: str, header: datetime | None, rules: TimeRules) -> Start:
    """Returns when a recording began.

    Args:
        path: of the recording, relative to the root, with `/`.
        header: the time that its header has.
        rules: what else says so.
    """
    found = {
        PATTERN: None if rules.pattern is None else time_by_pattern(path, rules.pattern),
        HEADER: header,
        NAME: time_in_name(posixpath.basename(path)),
    }
    times = [(source, time) for source, time in found.items() if time is not None]
    if not times:
        return Start(None, UNKNOWN)
    source, time = times[0]
    warnings: list[tuple[str, str]] = []
    if not all(_agree(time, other) for _, other in times[1:]):
        said = ", ".join(f"its {each} says {other.isoformat(' ')}" for each, other in times)
        warnings.append((TIMES_DISAGREE, f"{said}; the first is taken"))
    if time.tzinfo is not None or rules.zone is None:
        return Start(time, source, tuple(warnings))
    meant, warning = localize(time, rules.zone)
    if warning is not None:
        warnings.append(warning)
    return Start(meant, source if meant else UNKNOWN, tuple(warnings))


def _agree(one: datetime, other: datetime) -> bool:
    """Returns whether two times may be the same; where one has no zone, it is as well in that of the other."""
    if one.tzinfo is None or other.tzinfo is None:
        one, other = one.replace(tzinfo=None), other.replace(tzinfo=None)
    return abs(one - other) <= _SAME_TIME


def localize(time: datetime, zone: tzinfo) -> tuple[datetime | None, tuple[str, str] | None]:
    """Gives a time without a zone its zone.

    Returns:
        The time: the first of two, where clocks were set back; None where they were set forward over it. And a warning,
        code and text, for either.
    """
    first, second = time.replace(tzinfo=zone), time.replace(tzinfo=zone, fold=1)
    if first.utcoffset() == second.utcoffset():
        return first, None
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == time:
        return first, (AMBIGUOUS_TIME, f"{time} was twice in {zone}, as clocks were set back; the first is taken")
    return None, (NONEXISTENT_TIME, f"{time} was never in {zone}, as clocks were set forward; it has no start time")


def time_in_name(name: str) -> datetime | None:
    """Returns the time that the name of a file carries; aware where it has an offset, None where there is none.

    It is the first that is written as a date and a time, with their seconds, anywhere in the name: that of AudioMoth
    and Song Meter, and ISO 8601 in both of its forms. Or the name is the seconds since 1970, hexadecimal, in UTC.
    """
    stem = posixpath.splitext(name)[0]
    for match in _IN_NAMES.finditer(stem):
        if (time := make_time(match.groupdict())) is not None:
            return time
    if _HEXADECIMAL.fullmatch(stem) and (seconds := int(stem, 16)) >= _EARLIEST_HEXADECIMAL:
        return datetime.fromtimestamp(seconds, UTC)
    return None


def read_pattern(text: str) -> re.Pattern[str]:
    """Returns what finds the time in a path; raises `UsageError` where a text is no such regular expression."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(
            f"--time-pattern is a regular expression, and {shlex.quote(text)} is not one: {error}"
        ) from error
    names = set(pattern.groupindex)
    if not names >= _NEEDED or not names <= set(_GROUPS):
        raise UsageError(
            "--time-pattern has the named groups (?P<year>…), month, day, hour and minute, and second, fraction and "
            f"zone where names have them, no others; not {shlex.quote(text)}"
        )
    return pattern


def time_by_pattern(path: str, pattern: re.Pattern[str]) -> datetime | None:
    """Returns the time that a pattern finds in a path: None where it finds none, or what it finds is none."""
    match = pattern.search(path)
    return None if match is None else make_time(match.groupdict())


def read_zone(text: str) -> tzinfo:
    """Returns the zone that a text names: `Europe/Berlin`, `UTC`, `+02:00`; raises `UsageError` where it names none."""
    if (offset := read_offset(text)) is not None:
        return offset
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    known = zoneinfo.available_timezones()
    if not known:
        raise UsageError(f"--timezone {text} needs the time zone database, which this system does not have; install it "
                         "(pip install tzdata), or give an offset such as +02:00")  # fmt: skip
    import difflib

    last = {name.rpartition("/")[2].casefold(): name for name in sorted(known)}
    near = difflib.get_close_matches(text.rpartition("/")[2].replace(" ", "_").casefold(), last, n=1)
    meant = f"; {last[near[0]]} is near" if near else ""
    raise UsageError(f"--timezone is the name of a time zone, such as Europe/Berlin, or an offset such as +02:00, and "
                     f"there is no {text!r}{meant}")  # fmt: skip
