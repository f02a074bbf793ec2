"""Audio that libsndfile does not read, recognised by how it begins: what an ffmpeg may decode."""

import os

from features.audio.endings import behind_id3

# How files begin: (offset, bytes, what it is).
_MARKS = (
    *((4, mark, "MPEG-4 or QuickTime") for mark in (b"ftyp", b"moov", b"mdat", b"wide")),
    *((0, mark, "AAC") for mark in (b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9", b"ADIF")),  # in no container
    (0, b"\x30\x26\xb2\x75", "ASF (WMA)"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (0, b"#!AMR", "AMR"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"TTA1", "TTA"),
    (0, b"tBaK", "TAK"),
    *((0, mark, "Musepack") for mark in (b"MPCK", b"MP+")),
    *((0, mark, "DSD") for mark in (b"DSD ", b"FRM8")),
    (0, b"\x0b\x77", "AC-3"),
    (0, b"\x7f\xfe\x80\x01", "DTS"),
)
# How the first packet of an Ogg begins; of these kinds libsndfile reads some files and not others, or none.
_OGG_PACKETS = ((b"\x7fFLAC", "FLAC in Ogg"), (b"Speex   ", "Speex in Ogg"), (b"OpusHead", "Opus in Ogg"))
_OGG_HEADER_BYTES, _OGG_SEGMENTS_AT = 27, 26
_STREAMINFO_BYTES = b"\0\0\x22"
_FLAC_BITS_AT = 20
_FLAC_BITS = (8, 16, 24)  # that libsndfile reads
_LEAST_FLAC_BITS = 4
_HEAD_BYTES = 64
_MOST_TAGS = 8


def foreign_kind(descriptor: int) -> str:
    """Returns what a file is that libsndfile may refuse although nothing is wrong with it, empty for all else.

    Args:
        descriptor: of the file; its position stays.
    """
    at = behind_tags(descriptor)
    head = os.pread(descriptor, _HEAD_BYTES, at)
    for place, mark, kind in _MARKS:
        if head[place : place + len(mark)] == mark:
            return f"{kind} behind an ID3 tag" if at else kind
    if head[:4] == b"OggS" and len(head) > _OGG_SEGMENTS_AT:
        packet = head[_OGG_HEADER_BYTES + head[_OGG_SEGMENTS_AT] :]
        return next((kind for mark, kind in _OGG_PACKETS if packet.startswith(mark)), "")
    if head[:4] == b"fLaC" and head[5:8] == _STREAMINFO_BYTES and len(head) > _FLAC_BITS_AT + 1:
        # Five bits, less one, across two bytes.
        bits = (int.from_bytes(head[_FLAC_BITS_AT : _FLAC_BITS_AT + 2], "big") >> 4 & 31) + 1
        return f"FLAC of {bits} bits" if bits >= _LEAST_FLAC_BITS and bits not in _FLAC_BITS else ""
    return ""


def behind_tags(descriptor: int) -> int:
    """Returns the place behind the ID3v2 tags that a file begins with."""
    at = 0
    for _ in range(_MOST_TAGS):
        tag = behind_id3(os.pread(descriptor, 10, at))
        if not tag:
            break
        at += tag
    return at
