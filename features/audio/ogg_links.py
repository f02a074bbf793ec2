"""The links of a chained Ogg: complete streams, one behind the other, each with headers of its own.

Recorders of stations write them, and so does `cat a.ogg b.ogg`; the format defines that all of them are one recording.
"""

import os

from features.audio.file_view import Reader, find_marks, reader

_PAGE_BYTES = 65_307
_HEADER_BYTES = 27
_LAST_PAGE = 0x04
MOST_PAGE_FRAMES = 255 * 8192
_GOES_ON = 255  # the last segment of a page is so long where its packet goes on in the next
# How the first page of a stream begins. It has no time yet.
_FIRST_PAGE = b"OggS\0\x02"
_TIMELESS = (bytes(8), b"\xff" * 8)

Link = tuple[int, int]
"""Where a link begins and ends."""


def find_links(descriptor: int, size: int) -> tuple[Link, ...]:
    """Finds the links of an open file that begins as an Ogg: one, where it is not chained.

    Streams that lie side by side, as of a film, begin with first pages that follow one another: they are one link.
    Links behind the first that have no sound are left out: a station writes headers anew where nothing follows them.
    """
    read = reader(descriptor)
    begins, behind = [0], 0
    for at in find_marks(read, _FIRST_PAGE, 0, size):
        page = read(at, _HEADER_BYTES + 255)
        if page[6:14] not in _TIMELESS or len(page) < _HEADER_BYTES:
            continue
        if at != behind:
            begins.append(at)
        behind = at + _page_bytes(page)
    links = zip(begins, [*begins[1:], size], strict=True)
    return tuple((begin, end) for begin, end in links if begin == 0 or _has_sound(read, begin, end))


def _has_sound(read: Reader, begin: int, end: int) -> bool:
    """Returns whether a page of a link has a time, or is none."""
    while begin < end:
        page = read(begin, _HEADER_BYTES + 255)
        if page[:4] != b"OggS" or len(page) < _HEADER_BYTES or page[6:14] not in _TIMELESS:
            return True
        begin += _page_bytes(page)
    return False


def goes_on(descriptor: int, end: int) -> bool:
    """Returns whether the last page of a link is not whole, or its last packet goes on behind it.

    Many streams have no page that says it is the last: voice notes, and all that were recorded from a station.
    """
    tail = os.pread(descriptor, min(_PAGE_BYTES, end), max(0, end - _PAGE_BYTES))
    at = tail.rfind(b"OggS")
    page = tail[at:]
    if at < 0 or len(page) < _HEADER_BYTES or len(page) < _HEADER_BYTES + page[26]:
        return True
    whole = _page_bytes(page)
    behind = page[whole:]
    if len(page) < whole or (behind and b"OggS".startswith(behind)):
        return True
    last_segment = page[_HEADER_BYTES + page[26] - 1] if page[26] else 0
    return not page[5] & _LAST_PAGE and last_segment == _GOES_ON


def last_page_frames(descriptor: int, begin: int, end: int) -> int:
    """Returns how many frames the last page of a link has: more than any where no page of sound is before it.

    Returns 0 where its pages do not show it.
    """
    tail = os.pread(descriptor, min(2 * _PAGE_BYTES, end - begin), max(begin, end - 2 * _PAGE_BYTES))
    times: list[tuple[bytes, int]] = []
    at = tail.find(b"OggS")
    while at >= 0:
        page = tail[at : at + _HEADER_BYTES + 255]
        behind = at + _page_bytes(page) if len(page) >= _HEADER_BYTES else len(tail) + 1
        if behind > len(tail):
            break
        if page[6:14] not in _TIMELESS:
            times.append((page[14:18], int.from_bytes(page[6:14], "little")))
        at = tail.find(b"OggS", behind)
    ends = [time for stream, time in times if stream == times[-1][0]]
    if len(ends) == 1:
        return 2**63
    return ends[-1] - ends[-2] if ends and 0 < ends[-1] - ends[-2] <= MOST_PAGE_FRAMES else 0


def _page_bytes(page: bytes) -> int:
    """Returns the length of a page of which at least the header is given."""
    segments = page[_HEADER_BYTES : _HEADER_BYTES + page[26]]
    return _HEADER_BYTES + len(segments) + sum(segments)
