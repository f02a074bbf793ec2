import struct
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.audio.file_view import buffered_reader
from features.audio.recorder_header import (
    RecorderHeader,
    read_recorder_header,
    read_recorder_headers,
    recorder_header,
)
from features.io.filesystem import filesystem_of
from tests.object_store.upload import upload

EVENING = datetime(2020, 5, 1, 19, 22)
BY_AUDIOMOTH = "by AudioMoth 243B1F055D54CC7D at medium gain while battery was 4.0V"


def chunk(name, content, length=None):
    length = len(content) if length is None else length
    return name + struct.pack("<I", length) + content + b"\0" * (len(content) % 2)


def wav(*others, sound=b"\0\0" * 40, before=b""):
    chunks = before + chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)) + chunk(b"data", sound)
    chunks += b"".join(others)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def comment(text, length=384):
    inner = chunk(b"IART", b"AudioMoth 243B1F055D54CC7D\0\0") + chunk(b"ICMT", text.encode().ljust(length, b"\0"))
    return chunk(b"LIST", b"INFO" + inner)


def guano(text):
    return chunk(b"guan", text.encode())


def wamd(**fields):
    numbers = {"version": 0, "time": 5, "gps": 6, "notes": 10, "inside": 21, "outside": 22, "padding": 0xFFFF}
    texts = [(numbers[name], text.encode()) for name, text in fields.items()]
    return chunk(b"wamd", b"".join(struct.pack("<HI", number, len(text)) + text for number, text in texts))


def bext(date, time, reference=0):
    content = b"a description".ljust(256, b"\0") + b"a recorder".ljust(64, b"\0") + date.encode() + time.encode()
    return chunk(b"bext", content + struct.pack("<QH", reference, 1) + bytes(254))


def said(content):
    asked = []

    def read(place, size):
        asked.append(size)
        return content[place : place + size]

    found = recorder_header(read, len(content))
    assert sum(asked) < 70_000 and len(asked) < 200
    return found


def zone(hours, minutes=0):
    return timezone(timedelta(hours=hours, minutes=minutes))


@pytest.mark.parametrize(
    ("text", "time", "temperature_c"),
    [
        # what each firmware makes of it, from 1.0 on
        ("Recorded at 19:22:00 01/05/2020 by AudioMoth 0FE081F80FE081F0 at gain setting 2 while battery state was \0"
         "4.30V", EVENING.replace(tzinfo=UTC), None),
        ("Recorded at 19:22:00 01/05/2020 (UTC) by AudioMoth 0FE081F80FE081F0 at gain setting 2 while battery state "
         "was > 5.0V", EVENING.replace(tzinfo=UTC), None),
        ("Recorded at 19:22:00 01/05/2020 (UTC+1) by AudioMoth 0FE081F80FE081F0 at gain setting 2 while battery state "
         "was less than 3.6V. Recording cancelled before completion due to low battery.",
         EVENING.replace(tzinfo=zone(1)), None),
        (f"Recorded at 19:22:00 01/05/2020 (UTC-11) {BY_AUDIOMOTH}", EVENING.replace(tzinfo=zone(-11)), None),
        (f"Recorded at 19:22:00 01/05/2020 (UTC+5:30) {BY_AUDIOMOTH}", EVENING.replace(tzinfo=zone(5, 30)), None),
        (f"Recorded at 19:22:00 01/05/2020 (UTC-3:30) {BY_AUDIOMOTH}", EVENING.replace(tzinfo=zone(-3, -30)), None),
        (f"Recorded at 19:22:00 01/05/2020 (UTC-0:30) {BY_AUDIOMOTH}", EVENING.replace(tzinfo=zone(0, -30)), None),
        (f"Recorded at 19:22:00 01/05/2020 (UTC+2) {BY_AUDIOMOTH} and temperature was 21.3C.",
         EVENING.replace(tzinfo=zone(2)), 21.3),
        ("Recorded at 19:22:00 01/05/2020 (UTC) during deployment 0123456789ABCDEF using external microphone at medium "
         "gain while battery was greater than 4.9V and temperature was -0.4C. Amplitude threshold was 512.",
         EVENING.replace(tzinfo=UTC), -0.4),
        (f"Recorded at 19:22:00.125 01/05/2020 (UTC) {BY_AUDIOMOTH} and temperature was 0.0C.",
         EVENING.replace(microsecond=125_000, tzinfo=UTC), 0.0),
        ('opso_metadata{"comment": "Recorded at 19:22:00 01/05/2020 (UTC) by AudioMoth 24 and temperature was 7.5C.", '
         '"recording_start_time": "2020-05-01T19:22:30+00:00"}', EVENING.replace(second=30, tzinfo=UTC), 7.5),
        ('opso_metadata{"comment": "Recorded at 19:22:00 01/05/2020 (UTC) by AudioMoth 24', EVENING.replace(tzinfo=UTC),
         None),
        ("Recorded at 19:22:00 01/05/2020 with a telephone", None, None),
        ("Recorded at 19:22:00 31/02/2020 (UTC) by AudioMoth", None, None),
        ("", None, None),
    ],
)  # fmt: skip
def test_a_comment_of_audiomoth(text, time, temperature_c):
    expected = RecorderHeader(time, temperature_c=temperature_c)
    for content in (wav(comment(text)), wav(before=comment(text)), wav(comment(text, length=0))):
        assert said(content) == expected
        assert (expected.time and expected.time.utcoffset()) == (time and said(content).time.utcoffset())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GUANO|Version:1.0\nMake:Wildlife Acoustics, Inc.\nTimestamp:2020-05-01 19:22:00+1:00\n"
         "Loc Position:54.75656 -1.59106\nTemperature Int:21.25\nSamplerate:24000",
         RecorderHeader(EVENING.replace(tzinfo=zone(1)), 54.75656, -1.59106, 21.25)),
        ("GUANO|Version: 1.0\r\nTimestamp: 2020-05-01T19:22:00.500\r\nTemperature Int: 30\r\nTemperature Ext: -1.5\r\n",
         RecorderHeader(EVENING.replace(microsecond=500_000), None, None, -1.5)),
        ("GUANO|Version:1.0\nTimestamp:2020-05-01T19:22:00Z\nLoc Position:-1.2 -179.75\0\0",
         RecorderHeader(EVENING.replace(tzinfo=UTC), -1.2, -179.75)),
        ("GUANO|Version:1.0\nTimestamp:2020-05-01\nLoc Position:91 0\nTemperature Ext:warm\nno colon",
         RecorderHeader()),
        ("", RecorderHeader()),
    ],
)  # fmt: skip
def test_guano(text, expected):
    assert said(wav(guano(text))) == said(wav(before=guano(text))) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"version": "\1\0", "time": "2020-05-01 19:22:00-05:00", "gps": "WGS84, 41.713889, N, 121.508333, W , 4200",
          "inside": "30.50C", "outside": "21.50C"},
         RecorderHeader(EVENING.replace(tzinfo=zone(-5)), 41.713889, -121.508333, 21.5)),
        ({"time": "2020-05-01 19:22:00.125", "gps": "WGS84,41.713889,S,21.508333,E", "inside": "30.50C"},
         RecorderHeader(EVENING.replace(microsecond=125_000), -41.713889, 21.508333, 30.5)),
        ({"notes": "x" * 99, "time": "2020-05-01 19:22:00", "gps": "WGS84,42.346973,-76.48760,(null)",
          "padding": "\0"},
         RecorderHeader(EVENING, 42.346973, -76.4876)),
        ({"time": "2020-05-01", "gps": "", "outside": "C"}, RecorderHeader()),
    ],
)  # fmt: skip
def test_wamd(fields, expected):
    assert said(wav(wamd(**fields))) == expected


@pytest.mark.parametrize("date", ["2020-05-01", "2020:05:01", "2020_05_01", "2020/05/01", "2020.05.01", "2020 05 01"])
def test_broadcast_wave(date):
    assert said(wav(before=bext(date, "19:22:00"))) == RecorderHeader(EVENING)
    # Logic counts samples from an hour on: its reference is no time of day.
    assert said(wav(before=bext(date, "19-22-00", reference=173_616_000))) == RecorderHeader(EVENING)


@pytest.mark.parametrize(
    ("date", "time"), [("2011-05-0\0", "14:48:2\0"), ("\0" * 10, "\0" * 8), ("0000-00-00", "00:00:00")]
)
def test_a_broadcast_wave_without_a_time(date, time):
    assert said(wav(before=bext(date, time))) == RecorderHeader()


def test_chunks_fill_each_other_in_their_order():
    others = [
        bext("2020-05-04", "00:00:00"),
        comment(f"Recorded at 00:00:00 03/05/2020 (UTC) {BY_AUDIOMOTH} and temperature was 21.3C."),
        wamd(time="2020-05-02 00:00:00", gps="WGS84,1.5,2.5"),
        guano("GUANO|Version:1.0\nTimestamp:2020-05-01T19:22:00"),
    ]
    assert said(wav(*others)) == RecorderHeader(EVENING, 1.5, 2.5, 21.3)
    assert said(wav(*others[:3])) == RecorderHeader(datetime(2020, 5, 2), 1.5, 2.5, 21.3)
    assert said(wav(*others[:2])) == RecorderHeader(datetime(2020, 5, 3, tzinfo=UTC), temperature_c=21.3)
    assert said(wav(*others[:1])) == RecorderHeader(datetime(2020, 5, 4))


def test_a_file_above_4_gib_is_not_read_through():
    sizes = struct.pack("<QQQI", 2**33, 2**33 - 100, 0, 0)
    head = b"RF64" + struct.pack("<I", 2**32 - 1) + b"WAVE" + chunk(b"ds64", sizes)
    head += chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)) + chunk(b"data", b"", 2**32 - 1)
    tail = guano("GUANO|Version:1.0\nTimestamp:2020-05-01T19:22:00")
    end = len(head) + 2**33 - 100

    def read(place, size):
        assert size < 2**17
        return head[place : place + size] if place < end else tail[place - end : place - end + size]

    assert recorder_header(read, end + len(tail)).time == EVENING


@given(content=st.binary(max_size=300), cut=st.integers(0, 2000), place=st.integers(0, 2000), byte=st.integers(0, 255))
@settings(max_examples=100, deadline=None)
def test_what_is_broken_says_nothing_and_raises_nothing(content, cut, place, byte):
    whole = bytearray(wav(
        chunk(b"guan", content), comment(f"Recorded at 19:22:00 01/05/2020 (UTC) {BY_AUDIOMOTH}"),
        chunk(b"wamd", content), chunk(b"bext", content), chunk(b"LIST", b"INFO" + content),
    ))  # fmt: skip
    whole[place % len(whole)] = byte
    said(bytes(whole[:cut]))
    said(bytes(whole))


def test_silence_behind_a_size_of_nothing_is_not_followed():
    broken = wav(sound=b"")[:-8] + chunk(b"data", b"", 0) + bytes(10**6)
    assert said(broken) == RecorderHeader()


@pytest.mark.parametrize("content", [b"", b"RIFF", b"fLaC" + bytes(100), b"RIFF\0\0\0\0WAVE"])
def test_a_file_without_chunks(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    assert read_recorder_header(str(tmp_path / "a.wav")) == RecorderHeader()
    assert read_recorder_header(str(tmp_path / "none.wav")) == read_recorder_header(str(tmp_path)) == RecorderHeader()


def test_objects_of_a_store_are_read_as_files_are(tmp_path, s3, monkeypatch):
    contents = {
        "before.wav": wav(before=comment(f"Recorded at 19:22:00 01/05/2020 (UTC) {BY_AUDIOMOTH}")),
        "behind.wav": wav(guano("GUANO|Version:1.0\nTimestamp:2020-05-01T19:22:00"), sound=bytes(200_000)),
        "none.flac": b"fLaC" + bytes(100),
    }
    for name, content in contents.items():
        (tmp_path / "files" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "files" / name).write_bytes(content)
    names = [*contents, "gone.wav"]
    root = upload(tmp_path / "files", f"{s3.uri}/files")
    store, asked = filesystem_of(root), []
    read_range = type(store).read_range
    monkeypatch.setattr(type(store), "read_range", lambda *call: asked.append(call[1]) or read_range(*call))
    found = list(read_recorder_headers(f"{root}/{name}" for name in names))
    assert found == [read_recorder_header(str(tmp_path / "files" / name)) for name in names]
    assert [header.time is not None for header in found] == [True, True, False, False]
    assert [asked.count(f"{root}/{name}") for name in names] == [1, 2, 1, 1]


@given(
    content=st.binary(max_size=40),
    block_bytes=st.integers(1, 20),
    asked=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 15)), max_size=8),
)
def test_a_block_reader_reads_what_is_there(content, block_bytes, asked):
    read = buffered_reader(lambda place, size: content[place : place + size], block_bytes)
    assert [read(place, size) for place, size in asked] == [content[place : place + size] for place, size in asked]


@pytest.mark.data
def test_real_recorders(data):
    expected = {
        "field_recordings/aru_1min.wav": RecorderHeader(datetime(2018, 5, 4, 9, 32, tzinfo=UTC)),
        "odd_audio/opensoundscape__audiomoth_gps.wav":
            RecorderHeader(datetime(2024, 5, 28, 10, tzinfo=UTC), temperature_c=12.8),
        "odd_audio_2/made__riff_36_data_0.wav":
            RecorderHeader(datetime(2025, 5, 3, 3, 13, tzinfo=UTC), temperature_c=13.1),
        "odd_audio/audiofile__wav_stereo_8bit_44100.wav": RecorderHeader(datetime(2017, 2, 2, 0, 15, 58)),
        "odd_audio/go-audio__bwf.wav": RecorderHeader(),
    }  # fmt: skip
    assert {name: read_recorder_header(str(data / name)) for name in expected} == expected
    recordings = sorted((data / "field_recordings").iterdir())
    assert [path.name for path in recordings if read_recorder_header(str(path)).time] == ["aru_1min.wav"]
