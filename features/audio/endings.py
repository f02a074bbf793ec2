"""Where files end that are no chunks of stated lengths: ASF, SPHERE and AMR."""

import os
import re
import struct
from typing import NamedTuple

_ID3_FOOTER = 0x10
_ASF, _ASF_FILE_PROPERTIES = b"\x30\x26\xb2\x75", bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_WITHIN_BYTES = 65_536
_ASF_SIZE_AT, _ASF_FLAGS_AT, _ASF_LIVE = 40, 88, 1
_SPHERE = b"NIST_1A\n"
_SPHERE_HEADER_BYTES = 1024
# Bytes of a frame of AMR behind its first, by the mode that this names; None for modes that there are not.
_AMR = {
    b"#!AMR\n": (12, 13, 15, 17, 19, 20, 26, 31, 5, None, None, None, None, None, 0, 0),
    b"#!AMR-WB\n": (17, 23, 32, 36, 40, 46, 50, 58, 60, 5, None, None, None, None, 0, 0),
}


class Ending(NamedTuple):
    """What a file says of its end.

    Attributes:
        cut_off: whether there should be more of it.
        whole: whether it is shown to be whole, whatever a decoder says of frames without sound.
    """

    cut_off: bool
    whole: bool = False


def ending(descriptor: int, head: bytes, size: int) -> Ending | None:
    """Looks at the end of an open file; its position stays.

    Args:
        descriptor: of the file.
        head: how it begins.
        size: its bytes.

    Returns:
        What it says, None where it is none of the kinds known here or does not say.
    """
    if head[:4] == _ASF:
        return Ending(_asf_bytes(descriptor) > size)
    if head.startswith(_SPHERE):
        return Ending(_sphere_bytes(descriptor) > size)
    for mark, lengths in _AMR.items():
        if head.startswith(mark):
            end = _amr_end(descriptor, len(mark), size, lengths)
            return Ending(cut_off=end > size, whole=end == size)
    return None


def behind_id3(head: bytes) -> int:
    """Returns where an ID3v2 tag ends with which a file begins, 0 where there is none."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return 10 + size + (10 if head[5] & _ID3_FOOTER else 0)


def _asf_bytes(descriptor: int) -> int:
    """Returns how many bytes an ASF file has by its header; 0 where it does not say, as while it is broadcast."""
    head = os.pread(descriptor, _ASF_WITHIN_BYTES, 0)
    at = head.find(_ASF_FILE_PROPERTIES)
    if at < 0 or len(head) < at + _ASF_FLAGS_AT + 4:
        return 0
    live = struct.unpack_from("<I", head, at + _ASF_FLAGS_AT)[0] & _ASF_LIVE
    return 0 if live else int(struct.unpack_from("<Q", head, at + _ASF_SIZE_AT)[0])


def _sphere_bytes(descriptor: int) -> int:
    """Returns how many bytes a SPHERE file has by its header; 0 where it does not say, or its samples are packed."""
    head = os.pread(descriptor, _SPHERE_HEADER_BYTES, 0)
    first = head[len(_SPHERE) :].split(b"\n", 1)[0].strip()
    coding = re.search(rb"^sample_coding -s\d+ (\S+)", head, re.MULTILINE)
    counts = [re.search(rb"^%s -\w+ (\d{1,15})\s" % name, head, re.MULTILINE)
              for name in (b"sample_count", b"sample_n_bytes", b"channel_count")]  # fmt: skip
    if not first.isdigit() or (coding and coding[1] not in (b"pcm", b"ulaw", b"alaw", b"mu-law", b"a-law")):
        return 0
    samples = 1
    for count in counts:
        samples *= int(count[1]) if count else 0
    return int(first) + samples if samples else 0


def _amr_end(descriptor: int, at: int, size: int, lengths: tuple[int | None, ...]) -> int:
    """Returns where the last frame ends, or the place of the first that is none."""
    content = os.pread(descriptor, size - at, at)
    place = 0
    while place < len(content):
        length = lengths[content[place] >> 3 & 15]
        if length is None:
            break
        place += 1 + length
    return at + place
