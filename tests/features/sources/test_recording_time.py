import re
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import AMBIGUOUS_TIME, NONEXISTENT_TIME, TIMES_DISAGREE, UsageError
from features.sources import recording_time
from features.sources.recording_time import (
    HEADER,
    NAME,
    PATTERN,
    UNKNOWN,
    TimeRules,
    find_start,
    read_pattern,
    read_zone,
    time_by_pattern,
    time_in_name,
)
from features.sources.start_times import StartTimes

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
EVENING = datetime(2020, 5, 1, 19, 22)
# Names as recorders and the programs around them write them, and the time that each carries.
NAMES = {
    # AudioMoth, with the number or a name of the recorder before it, triggered, and as its own programs rename it
    "20200501_192200.WAV": EVENING,
    "20200501_192200T.WAV": EVENING,
    "243B1F055D54CC7D_20200501_192200.WAV": EVENING,
    "20200501_192200_SYNC.WAV": EVENING,
    "5CE5A3A0.WAV": datetime(2019, 5, 22, 19, 31, 44, tzinfo=UTC),
    # Song Meter: SM2, SM3 and SM4 by channel, one with a clock set by GPS, Mini and Micro, triggered ones of bats
    "SM2__0__20200501_192200.wav": EVENING,
    "S4A01234_0+1_20200501_192200.wav": EVENING,
    "ARIZONA-1_20200501$192200.wav": EVENING,
    "2MA01234_20200501_192200.wav": EVENING,
    "SMU01234_20200501_192200_000.wav": EVENING,
    "SITE-20190401_20200501_192200.wav": EVENING,
    # ISO 8601
    "20200501T192200.flac": EVENING,
    "20200501T1922.flac": EVENING,
    "20200501T192200Z.flac": EVENING.replace(tzinfo=UTC),
    "20200501T192200+0200_REC.flac": EVENING.replace(tzinfo=timezone(timedelta(hours=2))),
    "20200501T192200-05.wav": EVENING.replace(tzinfo=timezone(timedelta(hours=-5))),
    "2020-05-01T19:22:00+05:30.wav": EVENING.replace(tzinfo=timezone(timedelta(hours=5, minutes=30))),
    "2020-05-01T19-22-00.250Z.wav": EVENING.replace(microsecond=250_000, tzinfo=UTC),
    "2020-05-01 19:22:00.wav": EVENING,
    "S01_20200501_192200-0400.wav": EVENING.replace(tzinfo=timezone(timedelta(hours=-4))),
    "S01_20200501_192200Z.wav": EVENING.replace(tzinfo=UTC),
    "SwiftOne_20200501_192200_-0400.wav": EVENING.replace(tzinfo=timezone(timedelta(hours=-4))),
    "OWL_123456_2020-05-01_T19-22-00.WAV": EVENING,
    "20200501192200.wav": EVENING,
    "20200501_192200.512.wav": EVENING.replace(microsecond=512_000),
    # what looks like a zone and is none, and what is a day or a number
    "20200501_192200-05.wav": EVENING,
    "20200501_192200-1234.wav": EVENING,
    "20200501_192200Zoo.wav": EVENING,
    "20200230_192200_20200501_192200.wav": EVENING,
    "20200501_1922.wav": None,
    "20200501.WAV": None,
    "60000000.WAV": None,
    "5ce5a3a0.wav": None,
    "5CE5A3A00.WAV": None,
    "20200230_192200.WAV": None,
    "20201301_192200.WAV": None,
    "20200501_242200.WAV": None,
    "120200501_192200.WAV": None,
    "20200501_1922001.WAV": None,
    "dawn_060000.wav": None,
    "": None,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_carry_times(name):
    found = time_in_name(name)
    assert found == NAMES[name]
    assert (found and found.utcoffset()) == (NAMES[name] and NAMES[name].utcoffset())


@given(time=st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31)), minutes=st.sampled_from([-570, 0, 60, 345]))
@settings(max_examples=100, deadline=None)
def test_what_is_written_by_iso_8601_is_read(time, minutes):
    time = time.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert time_in_name(f"unit-7_{time.isoformat(timespec='microseconds')}_0.wav") == time
    assert time_in_name(time.strftime("%Y%m%dT%H%M%S%z.wav")) == time.replace(microsecond=0)
    assert time_in_name(time.strftime("A_%Y%m%d_%H%M%S.wav")) == time.replace(microsecond=0, tzinfo=None)


def test_a_pattern_finds_times_in_paths():
    soundtrap = read_pattern(
        r"\.(?P<year>\d\d)(?P<month>\d\d)(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)"
    )
    assert time_by_pattern("5147.200501192200.wav", soundtrap) == EVENING
    assert time_by_pattern("5147.690501192200.wav", soundtrap) == EVENING.replace(year=1969)
    folders = read_pattern(r"(?P<day>\d+)\.(?P<month>\d+)\.(?P<year>\d+)/(?P<hour>\d+)h(?P<minute>\d+)(?P<zone>Z)?")
    assert time_by_pattern("1.5.2020/19h22.wav", folders) == EVENING
    assert time_by_pattern("1.5.2020/19h22Z.wav", folders) == EVENING.replace(tzinfo=UTC)
    assert time_by_pattern("31.2.2020/19h22.wav", folders) is None
    assert time_by_pattern("night.wav", folders) is None


@pytest.mark.parametrize(
    "text", ["(", r"(?P<year>\d+)", r"\d+", r"(?P<year>.)(?P<month>.)(?P<day>.)(?P<hour>.)(?P<minute>.)(?P<label>.)"]
)
def test_a_pattern_that_gives_no_time_is_refused(text):
    with pytest.raises(UsageError, match="--time-pattern"):
        read_pattern(text)


def test_pattern_stands_before_header_and_header_before_name():
    pattern = read_pattern(r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)/(?P<hour>\d\d)(?P<minute>\d\d)")
    header = datetime(2020, 5, 2, 4, 0, tzinfo=UTC)
    path = "2020-05-03/0500_20200501_192200.wav"
    by_pattern = find_start(path, header, TimeRules(pattern))
    assert (by_pattern.time, by_pattern.source) == (datetime(2020, 5, 3, 5), PATTERN)
    [(code, message)] = by_pattern.warnings
    assert code == TIMES_DISAGREE
    assert message == (
        "its pattern says 2020-05-03 05:00:00, its header says 2020-05-02 04:00:00+00:00, its name says "
        "2020-05-01 19:22:00; the first is taken"
    )
    by_header = find_start(path, header, TimeRules())
    assert (by_header.time, by_header.source) == (header, HEADER)
    assert [code for code, _ in by_header.warnings] == [TIMES_DISAGREE]
    assert find_start("a/20200501_192200.wav", None, TimeRules(pattern)) == (EVENING, NAME, ())
    assert find_start("a/b.wav", None, TimeRules(pattern)) == (None, UNKNOWN, ())


@pytest.mark.parametrize(
    ("name", "header", "agree"),
    [
        ("20200501_192200.WAV", EVENING.replace(tzinfo=timezone(timedelta(hours=2))), True),  # the clock of a zone
        ("20200501_192200.WAV", EVENING + timedelta(seconds=1), True),
        ("20200501_192200.WAV", EVENING + timedelta(seconds=2), False),
        ("20200501T192200Z.WAV", EVENING.replace(tzinfo=timezone(timedelta(hours=2))), False),
        ("20200501T192200Z.WAV", datetime(2020, 5, 1, 21, 22, tzinfo=timezone(timedelta(hours=2))), True),
        ("5CE5A3A0.WAV", datetime(2019, 5, 22, 21, 31, 44, tzinfo=timezone(timedelta(hours=2))), True),
    ],
)
def test_a_name_agrees_with_a_header_in_its_zone(name, header, agree):
    start = find_start(name, header, TimeRules(zone=NEW_YORK))
    assert start.time.replace(tzinfo=header.tzinfo) == header
    assert (not start.warnings) == agree


@pytest.mark.parametrize(
    ("zone", "name", "expected", "warning"),
    [
        ("Europe/Berlin", "20260329_015959", "2026-03-29T01:59:59.000+01:00", None),
        ("Europe/Berlin", "20260329_020000", "", NONEXISTENT_TIME),
        ("Europe/Berlin", "20260329_025959", "", NONEXISTENT_TIME),
        ("Europe/Berlin", "20260329_030000", "2026-03-29T03:00:00.000+02:00", None),
        ("Europe/Berlin", "20261025_015959", "2026-10-25T01:59:59.000+02:00", None),
        ("Europe/Berlin", "20261025_020000", "2026-10-25T02:00:00.000+02:00", AMBIGUOUS_TIME),
        ("Europe/Berlin", "20261025_025959", "2026-10-25T02:59:59.000+02:00", AMBIGUOUS_TIME),
        ("Europe/Berlin", "20261025_030000", "2026-10-25T03:00:00.000+01:00", None),
        ("America/New_York", "20260308_023000", "", NONEXISTENT_TIME),
        ("America/New_York", "20261101_013000", "2026-11-01T01:30:00.000-04:00", AMBIGUOUS_TIME),
        ("Australia/Lord_Howe", "20261004_021500", "", NONEXISTENT_TIME),  # half an hour
        ("+02:00", "20261025_023000", "2026-10-25T02:30:00.000+02:00", None),
        ("-0330", "20260329_023000", "2026-03-29T02:30:00.000-03:30", None),
        ("Europe/Berlin", "20261025T023000Z", "2026-10-25T02:30:00.000+00:00", None),  # has a zone of its own
    ],
)
def test_hours_that_clocks_pass_twice_or_not_at_all(zone, name, expected, warning):
    start = find_start(f"{name}.WAV", None, TimeRules(zone=read_zone(zone)))
    assert rows_of(start.time, [0.0]) == [expected or None]
    assert [code for code, _ in start.warnings] == [warning] * bool(warning)
    assert start.source == (NAME if expected else UNKNOWN)


@pytest.mark.parametrize("text", ["Berlin", "Europe/Berln", "", "../../etc/passwd", "+25:00", "+02:75", "America"])
def test_a_zone_that_there_is_not_is_refused(text):
    with pytest.raises(UsageError, match="--timezone"):
        read_zone(text)
    if "Berl" in text:
        with pytest.raises(UsageError, match="Europe/Berlin is near"):
            read_zone(text)


def test_a_system_without_zones_is_told_how_to_get_them(tmp_path):
    import zoneinfo

    zoneinfo.reset_tzpath([tmp_path])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        if zoneinfo.available_timezones():
            pytest.skip("the package tzdata is installed")
        with pytest.raises(UsageError, match="pip install tzdata"):
            read_zone("Europe/Berlin")
        assert read_zone("+01:00").utcoffset(None) == timedelta(hours=1)
    finally:
        zoneinfo.reset_tzpath()


def rows_of(start, seconds):
    return StartTimes([start]).at(np.zeros(len(seconds), np.int64), np.array(seconds, np.float64)).to_pylist()


def test_rows_after_clocks_are_set_have_the_offset_of_their_instant():
    autumn = datetime(2026, 10, 25, 2, 59, 59, 500_000, tzinfo=BERLIN)
    assert rows_of(autumn, [0, 0.25, 0.5, 3600.5]) == [
        "2026-10-25T02:59:59.500+02:00", "2026-10-25T02:59:59.750+02:00",
        "2026-10-25T02:00:00.000+01:00", "2026-10-25T03:00:00.000+01:00",
    ]  # fmt: skip
    assert rows_of(datetime(2026, 3, 29, 1, 59, 57, tzinfo=BERLIN), [0, 3]) == [
        "2026-03-29T01:59:57.000+01:00", "2026-03-29T03:00:00.000+02:00",
    ]  # fmt: skip
    fixed = datetime(2026, 10, 25, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert rows_of(fixed, [0, 86_400]) == ["2026-10-25T01:30:00.000+02:00", "2026-10-26T01:30:00.000+02:00"]
    assert rows_of(datetime(2026, 12, 31, 23, 59, 59), [0.9994, 0.9996]) == [
        "2026-12-31T23:59:59.999", "2027-01-01T00:00:00.000",
    ]  # fmt: skip


ZONES = [None, UTC, BERLIN, NEW_YORK, ZoneInfo("Australia/Lord_Howe"), timezone(-timedelta(hours=9, minutes=30))]


@given(
    starts=st.lists(
        st.none() | st.tuples(st.datetimes(datetime(1972, 1, 1), datetime(2036, 1, 1)), st.sampled_from(ZONES)),
        min_size=1,
        max_size=5,
    ),
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 10**8)), max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_rows_are_what_datetime_makes_of_them(starts, rows):
    """Rows of many recordings at once, in any order, against one row at a time by `datetime`."""
    times = [None if start is None else start[0].replace(microsecond=0, tzinfo=start[1]) for start in starts]
    recordings = np.array([number % len(times) for number, _ in rows], np.int64)
    seconds = np.array([milliseconds / 1000 for _, milliseconds in rows], np.float64)

    def plain(time, milliseconds):
        if time is None:
            return None
        if time.tzinfo is None:
            return (time + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds")
        instant = time.astimezone(UTC) + timedelta(milliseconds=milliseconds)
        return instant.astimezone(time.tzinfo).isoformat(timespec="milliseconds")

    expected = [plain(times[number % len(times)], milliseconds) for number, milliseconds in rows]
    assert StartTimes(times).at(recordings, seconds).to_pylist() == expected


def test_no_recordings_and_no_rows():
    assert StartTimes([]).at(np.zeros(0, np.int64), np.zeros(0)).to_pylist() == []


def test_the_named_groups_are_those_of_the_message():
    with pytest.raises(UsageError) as refused:
        read_pattern("x")
    assert all(re.search(rf"\b{name}\b", str(refused.value)) for name in recording_time._GROUPS)
