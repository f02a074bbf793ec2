from datetime import UTC, datetime, timedelta

import pytest

from features.audio.recorder_header import RecorderHeader
from features.audio.timestamp import make_time, read_offset, read_timestamp
from features.sources.recording_time import time_in_name
from tests.features.audio.test_recorder_header import comment, said, wav

TIMESTAMPS = [
    "2020-05-01T19:22:00",
    "2020-05-01 19:22:00",
    "2020-05-01T19:22:00Z",
    "2020-05-01T19:22:00.123",
    "2020-05-01T19:22:00.123456",
    "2020-05-01T19:22:00+02:00",
    "2020-05-01T19:22:00-0500",
    "2020-05-01T19:22:00-05",
    "2020-05-01T19:22:00.500+05:30",
    "2020-10-17 13:05:00+1:00",
]
NAMES = [
    "20200501_192200.WAV",
    "5CE5A3A0.WAV",
    "SMM03873_20220719_000000.wav",
    "SBT-6-76-18_0+1_0_20160621_080000.wav",
    "OWL_123456_2022-07-19_T00-00-00.WAV",
    "SwiftOne_20220719_000000_-0400.wav",
    "S4A01234_20200501_192200_000.wav",
]
COMMENTS = [
    "Recorded at 19:22:55 14/12/2020 (UTC-5) by AudioMoth 24 at medium gain while battery was 4.0V",
    "Recorded at 10:00:00 15/05/2021 (UTC) by AudioMoth 24 at gain setting 2 while battery state was 4.0V",
    "Recorded at 10:00:00 15/05/2021 (UTC+11) by AudioMoth 24 at medium gain while battery was 4.0V",
]


def test_times_are_what_guano_py_reads(guano):
    expected = guano("timestamps", lambda theirs: [theirs.parse_timestamp(text) for text in TIMESTAMPS])
    assert [read_timestamp(text).isoformat() for text in TIMESTAMPS] == expected.tolist()


def test_names_and_comments_are_read_as_opensoundscape_reads_them(aru_metadata_parser):
    names = aru_metadata_parser(
        "names", lambda theirs: [theirs.parse.parse_aru_file_start_time(name) for name in NAMES]
    )
    assert [time_in_name(name).isoformat() for name in NAMES] == names.tolist()
    comments = aru_metadata_parser(
        "comments", lambda theirs: [theirs.parse._parse_audiomoth_comment_dt(text) for text in COMMENTS]
    )
    assert [said(wav(comment(text))).time.isoformat() for text in COMMENTS] == comments.tolist()


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("Z", 0), ("+2", 120), ("+02", 120), ("-0330", -210), ("+1:00", 60), ("+14:00", 840), ("+5: 5", 305)],
)  # fmt: skip
def test_offsets(text, minutes):
    assert read_offset(text).utcoffset(None) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "+", "2", "+15:00", "+02:60", "+002", "UTC", "+02:00:00"])
def test_what_is_no_offset(text):
    assert read_offset(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2020-05-01",
        "2020-13-01T00:00",
        "2020-05-01T24:00:00",
        "2020-05-01T19:22+99",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_what_is_no_time(text):
    assert read_timestamp(text) is None
    assert said(wav(comment(text))) == RecorderHeader()


def test_years_of_two_digits_and_fractions():
    fields = {"month": "1", "day": "2", "hour": "3", "minute": None}
    assert [make_time({**fields, "year": year}).year for year in ("00", "68", "69", "99")] == [2000, 2068, 1969, 1999]
    assert make_time({**fields, "year": "2020", "fraction": "1234567", "zone": "Z"}) == datetime(
        2020, 1, 2, 3, 0, 0, 123_456, UTC
    )
