"""What the container of a recording says of its own bytes: whether sound is in it, and whether it was cut off."""

import os
import struct
from typing import Literal, NamedTuple

from features.audio.chunks import MOST_PADDING_BYTES, UNKNOWN_SIZE, Layout, another, chunks, find_layout, follow_chunks
from features.audio.endings import behind_id3, ending
from features.audio.file_view import find_marks, plain_reader, reader
from features.audio.flac_stream import read_stream
from features.audio.ogg_links import Link, find_links, goes_on

# Others leave near half or all of what a field can hold, less a header or a block: 0x7FFFF000, 0x80000000, 0xFFFFFFD4.
_NEAR_BYTES = 4096 + 128
_LOOKED_AT_BYTES = 2**20
_WRAPPED = 2**32
_MOST_HEADER_BYTES = 2**24
# How what follows the sound may begin, when it is no chunk of a known length.
_ADDED = (b"ID3", b"TAG", b"APETAGEX", b"<?xml")
_BIG_ENDIAN = (b"RIFX", b"FORM")
# Of these a chunk ds64 says how long file and sound are, by two numbers of 8 bytes that it begins with.
_WITH_SIZES, _SIZES_BYTES = (b"RF64", b"BW64"), 16
_FAMILIAR = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"fLaC", b"OggS", b"caff", b".snd", b"riff", b"ID3")


class _Extent(NamedTuple):
    """Where sound ends: `cut_off` says that it should end later, the others that its header does not know."""

    end: int
    cut_off: bool = False
    wrong: bool = False
    note: str = ""
    joined: str = ""


class Container(NamedTuple):
    """What a container says.

    Attributes:
        end: where its sound ends, no later than the file.
        familiar: whether it begins as a kind of file that libsndfile reads.
        begin: where its sound begins, 0 where that is not known.
        header: what should stand before `begin`, had its writer known where the sound ends; empty where that is so.
        holds_sound: whether it has a format with channels and at least one byte of sound.
        cut_off: whether it promises more bytes than the file has.
        whole: whether its frames show that nothing is missing, whatever a decoder says of frames without sound.
        note: by how much its header and the file disagree, where that is no loss: empty if they do not.
        joined: what follows the sound that is another recording and not used, empty if nothing does.
        links: where those of an Ogg are, which are one recording together; empty for all else.
    """

    end: int
    familiar: bool = False
    begin: int = 0
    header: bytes = b""
    holds_sound: bool = False
    cut_off: bool = False
    whole: bool = False
    note: str = ""
    joined: str = ""
    links: tuple[Link, ...] = ()


def inspect(descriptor: int, size: int) -> Container:
    """Looks at the container of an open file; nothing is decoded, and no size in it is believed.

    Args:
        descriptor: of the file; its position stays.
        size: bytes of the file.

    Returns:
        What it says. Of a FLAC only decoding shows that it was cut off, of an MP3 its frames.
    """
    head = os.pread(descriptor, 64, 0)
    known = Container(size, head.startswith(_FAMILIAR))
    if head[:4] == b"OggS":
        links = find_links(descriptor, size)
        return known._replace(cut_off=any(goes_on(descriptor, end) for _, end in links), links=links)
    if head[:4] == b"fLaC" or head[:3] == b"ID3":
        flac = read_stream(descriptor, behind_id3(head), size)
        if flac is not None:
            note = f"its header says {flac.stated:,} samples a channel, and the file holds {flac.counted:,}"
            return known._replace(
                begin=flac.begin, end=flac.end, header=flac.header, note=note if flac.counted else "",
                joined=not_used(size - flac.end) if flac.end < size else "",
            )  # fmt: skip
    if (end := ending(descriptor, head, size)) is not None:
        return known._replace(cut_off=end.cut_off, whole=end.whole)
    return _of_chunks(descriptor, head, size, known)


def not_used(rest: int) -> str:
    """Says that so many bytes behind the sound are another recording."""
    return f"{rest:,} bytes follow its sound that are another recording, and are not used"


def _of_chunks(descriptor: int, head: bytes, size: int, known: Container) -> Container:
    """Adds what the chunks of a file say, or the header of an AU; nothing to one that has neither."""
    holds_sound, sizes_at = False, 0
    begin, extent = 0, _Extent(size)
    layout = find_layout(head)
    if head[:4] == b".snd" and len(head) >= 24 and int.from_bytes(head[4:8], "big") >= 24:
        begin, length, _, _, channels = struct.unpack_from(">5I", head, 4)
        extent = _extent(descriptor, begin, length, size, None)
        holds_sound = channels > 0 and begin < extent.end
    elif layout is not None:
        formed = False
        for name, at, length in chunks(plain_reader(descriptor), layout, size):
            if name in (b"fmt ", b"COMM", b"desc"):
                formed = _is_possible(os.pread(descriptor, 8, at), name, _order(head[:4]))
            elif name == b"ds64" and length >= _SIZES_BYTES and head[:4] in _WITH_SIZES:
                sizes_at = at
            elif name in (b"data", b"SSND"):
                begin, extent = at, _extent(descriptor, at, length, size, layout)
                holds_sound = formed and at + layout.lead < extent.end
                break
    else:
        return known
    header, note = b"", extent.note
    if note and head[:4] in _BIG_ENDIAN and extent.end - begin > UNKNOWN_SIZE:
        note += ", of which 4 GiB are used, as its format can say no more"
    if extent.wrong and begin <= _MOST_HEADER_BYTES:
        header = _corrected(os.pread(descriptor, begin, 0), extent.end, sizes_at)
    return known._replace(
        begin=begin, end=extent.end, header=header, holds_sound=holds_sound, cut_off=extent.cut_off,
        note=note, joined=extent.joined,
    )  # fmt: skip


def _extent(descriptor: int, at: int, length: int, size: int, layout: Layout | None) -> _Extent:
    """Finds the end of sound that begins at a place and has a length by its header.

    Where the header says less than the file holds, and what follows is neither chunks nor tags nor padding, it is
    sound: of a recorder that died before it wrote the size, or passed the 4 GiB that a size can say.
    """
    stated, lead = at + length, layout.lead if layout else 0
    if stated > size:
        placeholder = length <= UNKNOWN_SIZE + 24 and (
            abs(length - 2**31) <= _NEAR_BYTES or length >= UNKNOWN_SIZE - _NEAR_BYTES
        )
        placeholder |= abs(length - 2**63) <= _NEAR_BYTES or length >= 2**64 - _NEAR_BYTES
        # libsndfile opens no Wave64 of the one kind, and finds no sound in an AU of the other.
        wrong = (placeholder or length >= 2**31) and length != UNKNOWN_SIZE
        if placeholder and (end := _next_wav(descriptor, at, size, layout)) < size:
            return _Extent(end, wrong=True, joined=not_used(size - end))
        return _Extent(size, cut_off=not placeholder, wrong=wrong)
    rest = size - stated
    if rest == 0:
        return _Extent(size)
    if another(descriptor, stated, layout) is not None:
        return _Extent(stated, wrong=True, joined=not_used(rest))
    are_chunks, behind = follow_chunks(descriptor, layout, stated, size) if layout else (False, size)
    if behind < size:
        return _Extent(stated, wrong=True, joined=not_used(size - behind))
    following = os.pread(descriptor, min(rest, _LOOKED_AT_BYTES), stated)
    if rest < _WRAPPED and length > lead and (rest <= MOST_PADDING_BYTES or not following.strip(b"\0")):
        return _Extent(stated)
    if following.startswith(_ADDED) or are_chunks:
        return _Extent(stated)
    joined = ""
    if rest >= _WRAPPED and length > lead:  # what the size says is right, but for multiples of 4 GiB
        end = stated + rest // _WRAPPED * _WRAPPED
    elif (end := _next_wav(descriptor, stated, size, layout)) < size:
        joined = not_used(size - end)
    counted = f"its header says {max(0, length - lead):,} bytes of sound, and the file holds {end - at - lead:,}"
    return _Extent(end, wrong=True, note=counted, joined=joined)


def _next_wav(descriptor: int, at: int, size: int, layout: Layout | None) -> int:
    """Returns where another WAV begins within what has no known end, as after `cat a.wav b.wav`; the size for none.

    Beyond 4 GiB none is looked for: all of the file would be read for what is hardly ever there.
    """
    read = reader(descriptor)
    for place in find_marks(read, b"WAVE", at + 8, size) if layout and size - at < _WRAPPED else ():
        if read(place - 8, 4) in (b"RIFF", b"RIFX", b"RF64"):
            return place - 8
    return size


def _corrected(raw: bytes, end: int, sizes_at: int = 0) -> bytes:
    """Returns the header that a file would have that ends with its sound.

    Args:
        raw: all that comes before the sound.
        end: of the sound.
        sizes_at: place of the sizes of an RF64 that has them.
    """
    kind, whole, sound = raw[:4], end - 8, end - len(raw)
    if kind == b".snd":
        return raw[:8] + min(sound, UNKNOWN_SIZE).to_bytes(4, "big") + raw[12:]
    if kind == b"riff":
        return raw[:16] + end.to_bytes(8, "little") + raw[24:-8] + (sound + 24).to_bytes(8, "little")
    if kind == b"caff":
        return raw[:-8] + sound.to_bytes(8, "big")
    if sizes_at:
        return raw[:sizes_at] + struct.pack("<QQ", whole, sound) + raw[sizes_at + 16 :]
    if kind in (b"RIFF", b"RF64", b"BW64") and whole >= UNKNOWN_SIZE:  # as RF64 it can say it
        sizes = struct.pack("<4sIQQQI", b"ds64", 28, whole + 36, sound, 0, 0)
        return b"RF64\xff\xff\xff\xffWAVE" + sizes + raw[12:-4] + b"\xff" * 4
    whole_field, sound_field = (min(size, UNKNOWN_SIZE).to_bytes(4, _order(kind)) for size in (whole, sound))
    return raw[:4] + whole_field + raw[8:-4] + sound_field


def _order(kind: bytes) -> Literal["big", "little"]:
    return "big" if kind in _BIG_ENDIAN else "little"


def _is_possible(form: bytes, name: bytes, order: Literal["big", "little"]) -> bool:
    """Returns whether a format has channels and a rate, as far as that is easily seen."""
    if name == b"desc":
        return True
    if name == b"COMM":
        return int.from_bytes(form[:2], order) > 0
    return int.from_bytes(form[2:4], order) > 0 and 0 < int.from_bytes(form[4:8], order) < 2**31
