"""TFRecord files of `tf.train.Example`, written and read without TensorFlow.

The frame of a record is: length (uint64, little-endian), masked CRC-32C of these eight bytes, the record, masked
CRC-32C of the record. The record is a `tf.train.Example` in protocol buffer encoding, its tensor last, so that the
bytes of the tensor are written as they stand in memory.
"""

import functools
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from features.io.atomic import AtomicFile
from features.io.crc32c import joined_crc32c
from features.io.varint import varint

_MASK_DELTA = 0xA282EAD8
_CRC = struct.Struct("<I")
_DELIMITED = 2
_BYTES_LIST, _INT64_LIST = 1, 3  # field numbers within tf.train.Feature
# Tags of fields 1, 2 and 3 that have a length.
_FIRST, _SECOND, _NUMBERS = (number << 3 | _DELIMITED for number in (1, 2, 3))


def masked_crc32c(crc: int) -> int:
    """Returns the rotated and shifted CRC-32C that TFRecord stores."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def write_records(
    file: AtomicFile,
    fields: Iterable[Mapping[str, bytes | int]],
    name: str,
    tensors: Iterable[NDArray[np.generic]],
) -> list[tuple[int, int]]:
    """Appends examples, by one write of all.

    Args:
        file: where they go.
        fields: small features of each example; text is UTF-8 bytes.
        name: key of the tensors.
        tensors: one for each example, contiguous; their bytes are written as they stand in memory.

    Returns:
        Offset of each tensor's first byte in the file, and the CRC-32C of its bytes.
    """
    parts: list[bytes | NDArray[np.generic]] = []
    places = []
    whole, end = file.crc32c, file.num_bytes
    for small, tensor in zip(fields, tensors, strict=True):
        size = tensor.nbytes
        head = _example_head(small, name, size)
        frame = _length_frame(len(head) + size) + head
        crc = google_crc32c.value(tensor)
        tail = _CRC.pack(masked_crc32c(joined_crc32c(google_crc32c.value(head), crc, size)))
        whole = google_crc32c.extend(joined_crc32c(google_crc32c.extend(whole, frame), crc, size), tail)
        places.append((end + len(frame), crc))
        end += len(frame) + size + len(tail)
        parts += frame, tensor, tail
    file.write(*parts, crc32c=whole)
    return places


@functools.lru_cache(4096)
def _length_frame(length: int) -> bytes:
    """Returns what stands before a record of this length."""
    encoded = struct.pack("<Q", length)
    return encoded + _CRC.pack(masked_crc32c(google_crc32c.value(encoded)))


def records(content: memoryview) -> Iterator[dict[str, Any]]:
    """Yields the examples of a TFRecord file whose checksum is known to be right.

    Args:
        content: the whole file.

    Yields:
        {key: bytes as a view into `content`, or int}.

    Raises:
        ValueError: the frames do not fit together.
    """
    position = 0
    while position < len(content):
        if position + 16 > len(content):
            raise ValueError(f"a record is cut off at byte {position}")
        (length,) = struct.unpack_from("<Q", content, position)
        if position + 16 + length > len(content):
            raise ValueError(f"a record of {length} bytes is cut off at byte {position}")
        yield _parse_example(content[position + 12 : position + 12 + length])
        position += 16 + length


def _tag(field: int, length: int) -> bytes:
    return bytes([field << 3 | _DELIMITED]) + varint(length)


def _example_head(fields: Mapping[str, bytes | int], name: str, tensor_bytes: int) -> bytes:
    """Returns the bytes of an example up to those of its tensor."""
    values = [value if isinstance(value, bytes) else varint(value & 0xFFFFFFFFFFFFFFFF) for value in fields.values()]
    kinds = tuple([_BYTES_LIST if isinstance(value, bytes) else _INT64_LIST for value in fields.values()])
    return _form((*fields, name), kinds, (*map(len, values), tensor_bytes)) % tuple(values)


@functools.lru_cache(4096)
def _form(names: tuple[str, ...], kinds: tuple[int, ...], lengths: tuple[int, ...]) -> bytes:
    """Returns an example up to the last of its values, which is a list of bytes, with `%b` where the others go.

    Args:
        names: keys of all values.
        kinds: of the lists of all but the last.
        lengths: of the values in bytes.
    """
    heads = []
    for name, kind, length in zip(names, (*kinds, _BYTES_LIST), lengths, strict=True):
        key = name.encode()
        key = _tag(1, len(key)) + key
        value = _tag(1, length)
        listed = _tag(kind, len(value) + length) + value
        feature = _tag(2, len(listed) + length) + listed
        heads.append(_tag(1, len(key) + len(feature) + length) + key + feature)
    whole = sum(map(len, heads)) + sum(lengths)
    return b"%b".join(head.replace(b"%", b"%%") for head in (_tag(1, whole) + heads[0], *heads[1:]))


def _read_varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _parse_example(view: memoryview) -> dict[str, Any]:
    """Parses an example whose fields come in the order in which `write_records` has them, as TensorFlow's do.

    Raises:
        ValueError: they come in another.
    """
    try:
        example: dict[str, Any] = {}
        _, position = _read_length(view, 0, _FIRST)
        while position < len(view):
            length, position = _read_length(view, position, _FIRST)
            end = position + length
            length, position = _read_length(view, position, _FIRST)
            key = bytes(view[position : position + length])
            _, position = _read_length(view, position + length, _SECOND)
            kind = view[position]
            _, position = _read_length(view, position, kind)
            length, position = _read_length(view, position, _FIRST)
            value: Any = view[position : position + length]
            position += length
            if kind == _NUMBERS:
                value = _read_varint(value, 0)[0]
            elif kind != _FIRST:
                raise ValueError(f"a feature has a list of kind {kind}")
            if position != end or end > len(view):
                raise ValueError(f"a feature ends at byte {position} of {len(view)} and not at {end}")
            example[key.decode()] = value
    except IndexError as error:
        raise ValueError("an example is not laid out as soundmill's and TensorFlow's are") from error
    return example


def _read_length(view: memoryview, position: int, tag: int) -> tuple[int, int]:
    """Returns the length of a field and where its bytes begin; raises `ValueError` where it has another tag."""
    if view[position] != tag:
        raise ValueError(f"a field has tag {view[position]} where {tag} is expected")
    length = view[position + 1]
    return (length, position + 2) if length < 0x80 else _read_varint(view, position + 1)
