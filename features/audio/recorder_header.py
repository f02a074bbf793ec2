"""What recorders say in the header of a file beside the sound: when and where it was recorded, and how warm it was.

GUANO is of bat detectors, of Song Meter and AudioMoth: a chunk of lines `Key: value` (github.com/riggsd/guano-spec).
WAMD is Wildlife Acoustics' earlier chunk, of numbered texts (their header wa_meta.h). AudioMoth writes a sentence into
the comment of a LIST chunk. The chunk `bext` is of Broadcast Wave (EBU Tech 3285).
"""

import json
import os
import re
import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from features.audio.chunks import chunks, find_layout
from features.audio.file_view import Reader, buffered_reader, plain_reader
from features.audio.timestamp import make_time, read_timestamp
from features.errors import SoundmillError
from features.io.filesystem import filesystem_of, is_uri
from features.io.parallel import map_ahead
from features.io.regular_file import open_regular

# A header takes one reading where it lies before the sound, and one more where a chunk follows it.
_BLOCK_BYTES = 4096
_OBJECT_BLOCK_BYTES = 2**16  # of an object a request costs more than its bytes
_MOST_CHUNKS = 64
_MOST_BYTES = 2**16  # of a chunk: more is a voice note or a track, behind what is read here
_MOST_PARTS = 256  # of a chunk
_BEXT_DATE, _BEXT_BYTES = 256 + 32 + 32, 256 + 32 + 32 + 10 + 8
_NO_SIZE = 2**63  # of an object: where it ends is seen when it is read

_OF_AUDIOMOTH = re.compile(
    r"Recorded at (?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d+))? "
    r"(?P<day>\d\d)/(?P<month>\d\d)/(?P<year>\d{4}) (?:\(UTC(?P<zone>[+-]\d{1,2}(?:: ?\d{1,2})?)?\)|by AudioMoth)"
)
_AUDIOMOTH_TEMPERATURE = re.compile(r"temperature was (-?\d+(?:\.\d+)?)C")
# opensoundscape writes JSON in its place, with the sentence of the recording and the time of the part of it.
_OF_OPENSOUNDSCAPE = "opso_metadata"
_BEXT_TIME = re.compile(
    r"(?P<year>\d{4})[-_:./ ](?P<month>\d\d)[-_:./ ](?P<day>\d\d)"
    r"(?P<hour>\d\d)[-_:./ ](?P<minute>\d\d)[-_:./ ](?P<second>\d\d)"
)
_WAMD_TIME, _WAMD_PLACE, _WAMD_INSIDE, _WAMD_OUTSIDE = 0x05, 0x06, 0x15, 0x16


class RecorderHeader(NamedTuple):
    """What a recorder says in a header.

    Attributes:
        time: when the recording began, aware where the header has an offset; None where it does not say so.
        latitude: in degrees, to the north; WGS 84.
        longitude: in degrees, to the east.
        temperature_c: in degrees Celsius, of the air where there is a sensor for that, else within the recorder.
    """

    time: datetime | None = None
    latitude: float | None = None
    longitude: float | None = None
    temperature_c: float | None = None


def read_recorder_headers(paths: Iterable[str]) -> Iterator[RecorderHeader]:
    """Yields what the recorder says in each file or object; objects are asked many at once."""
    places = list(paths)
    at_once = map_ahead(read_recorder_header, filter(is_uri, places))
    for path in places:
        yield next(at_once) if is_uri(path) else read_recorder_header(path)


def read_recorder_header(path: str) -> RecorderHeader:
    """Returns what the recorder says in a file or an object: nothing of one that cannot be read."""
    try:
        if is_uri(path):
            store = filesystem_of(path)
            fetch = buffered_reader(lambda place, size: store.read_range(path, place, size), _OBJECT_BLOCK_BYTES)
            return recorder_header(fetch, _NO_SIZE)
        descriptor, status = open_regular(path)
        try:
            return recorder_header(buffered_reader(plain_reader(descriptor), _BLOCK_BYTES), status.st_size)
        finally:
            os.close(descriptor)
    except (OSError, SoundmillError):
        return RecorderHeader()  # whoever decodes it says why


def recorder_header(read: Reader, size: int) -> RecorderHeader:
    """Returns what the recorder says in a file: GUANO before WAMD, that before the comment, that before `bext`.

    Args:
        read: reads the file.
        size: its bytes.
    """
    layout = find_layout(read(0, 48))
    if layout is None:
        return RecorderHeader()
    found: dict[bytes, RecorderHeader] = {}
    for name, at, length in islice(chunks(read, layout, size), _MOST_CHUNKS):
        if not (name.isascii() and name.decode().isprintable()):
            break  # sound, behind a size that is wrong
        if name in _READERS:
            said = _READERS[name](read(at, min(length, _MOST_BYTES)))
            found[name] = _filled(found.get(name, RecorderHeader()), said)
    header = RecorderHeader()
    for name in _READERS:
        header = _filled(header, found.get(name, RecorderHeader()))
    return header


def _filled(header: RecorderHeader, other: RecorderHeader) -> RecorderHeader:
    """Returns a header with what it lacks from another; a place is of one of them."""
    place = header if header.latitude is not None else other
    time = other.time if header.time is None else header.time
    temperature_c = other.temperature_c if header.temperature_c is None else header.temperature_c
    return RecorderHeader(time, place.latitude, place.longitude, temperature_c)


def _guano(chunk: bytes) -> RecorderHeader:
    lines = (line.partition(":") for line in chunk.decode("utf-8", "replace").split("\n"))
    fields = {key.strip("\0 \t\r"): value.strip("\0 \t\r") for key, _, value in lines}
    time = read_timestamp(fields.get("Timestamp", ""))
    temperatures = (_number(fields.get(f"Temperature {where}", "")) for where in ("Ext", "Int"))
    latitude, longitude = _place(fields.get("Loc Position", "").replace(",", " ").split())
    return RecorderHeader(time, latitude, longitude, _first(temperatures))


def _wamd(chunk: bytes) -> RecorderHeader:
    fields: dict[int, str] = {}
    at = 0
    for _ in range(_MOST_PARTS):
        if at + 6 > len(chunk):
            break
        number, length = struct.unpack_from("<HI", chunk, at)
        fields.setdefault(number, chunk[at + 6 : at + 6 + length].decode("utf-8", "replace").strip("\0 "))
        at += 6 + length
    _, *place = map(str.strip, fields.get(_WAMD_PLACE, "").split(","))
    if len(place) >= 4 and place[1] in "NS" and place[3] in "EW":  # WGS84, 41.7, N, 121.5, W: Song Meter
        place = [("-" if place[1] == "S" else "") + place[0], ("-" if place[3] == "W" else "") + place[2]]
    latitude, longitude = _place(place[:2])  # WGS84, 41.7, -121.5: Echo Meter
    temperatures = (_number(fields.get(number, "").rstrip("C ")) for number in (_WAMD_OUTSIDE, _WAMD_INSIDE))
    return RecorderHeader(read_timestamp(fields.get(_WAMD_TIME, "")), latitude, longitude, _first(temperatures))


def _list(chunk: bytes) -> RecorderHeader:
    if chunk[:4] != b"INFO":
        return RecorderHeader()
    at = 4
    for _ in range(_MOST_PARTS):
        if at + 8 > len(chunk):
            break
        name, length = struct.unpack_from("<4sI", chunk, at)
        if name == b"ICMT":
            return _comment(chunk[at + 8 : at + 8 + length].decode("latin-1"))
        at += 8 + length + length % 2
    return RecorderHeader()


def _comment(text: str) -> RecorderHeader:
    match, temperature = _OF_AUDIOMOTH.search(text), _AUDIOMOTH_TEMPERATURE.search(text)
    if match is None:
        return RecorderHeader()
    time = make_time(match.groupdict())
    if time is not None and time.tzinfo is None:
        time = time.replace(tzinfo=UTC)  # firmware 1.0 does not say so, and means it
    if text.startswith(_OF_OPENSOUNDSCAPE):
        time = _time_of_part(text) or time
    return RecorderHeader(time, temperature_c=None if temperature is None else float(temperature[1]))


def _time_of_part(text: str) -> datetime | None:
    try:
        fields, _ = json.JSONDecoder().raw_decode(text.removeprefix(_OF_OPENSOUNDSCAPE))
        return read_timestamp(str(fields["recording_start_time"]))
    except (ValueError, KeyError, RecursionError):
        return None


def _bext(chunk: bytes) -> RecorderHeader:
    # Its reference of samples is no time of day: a workstation counts them from the start of a project.
    match = _BEXT_TIME.fullmatch(chunk[_BEXT_DATE:_BEXT_BYTES].decode("latin-1"))
    return RecorderHeader(None if match is None else make_time(match.groupdict()))


_READERS = {b"guan": _guano, b"wamd": _wamd, b"LIST": _list, b"bext": _bext}


def _place(texts: list[str]) -> tuple[float, float] | tuple[None, None]:
    latitude, longitude = map(_number, texts[:2]) if len(texts) >= 2 else (None, None)
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None, None
    return latitude, longitude


def _first(numbers: Iterable[float | None]) -> float | None:
    return next((number for number in numbers if number is not None), None)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[-+]?[0-9]{1,6}(\.[0-9]{0,18})?", text) else None
