"""What stands around the values of a Parquet file whose values are all there, plain and uncompressed.

pyarrow's writer takes a row group at a time, copies it into pages, and these into bytes of Python before they are
written. With these headers values are written from where they lie. The format is that of
https://github.com/apache/parquet-format; its structures are in Thrift's compact protocol.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from features.io.varint import varint

MAGIC = b"PAR1"
"""What a file begins with, and ends with."""
# In the form that readers take apart. The version is that of this layout, whose bytes do not change with a release.
_CREATED_BY = b"soundmill version 1.0.0 (build plain)"
_FORMAT_VERSION = 2
# Numbers of Thrift's types, and of what Parquet's structures name.
_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12
_DATA_PAGE, _PLAIN, _RLE, _REQUIRED, _UNCOMPRESSED, _UTF8 = 0, 0, 3, 0, 0, 0
_INT64, _BYTE_ARRAY = 2, 6

_Value = tuple[int, bytes]  # type and bytes of a value in Thrift


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: of it.
        is_number: whether its values are 64-bit integers, else bytes with their length before them, in 32 bits.
        is_text: whether the bytes are UTF-8.
    """

    name: str
    is_number: bool = False
    is_text: bool = False

    @property
    def kind(self) -> int:
        """Number of the type of its values."""
        return _INT64 if self.is_number else _BYTE_ARRAY


@dataclass(frozen=True)
class Chunk:
    """The pages of a column in a row group, which follow one another.

    Attributes:
        offset: of the first.
        num_bytes: of all of them, with their headers.
    """

    offset: int
    num_bytes: int


@dataclass(frozen=True)
class RowGroup:
    """Rows whose columns lie one after the other.

    Attributes:
        rows: number of rows.
        chunks: of all columns, in their order.
    """

    rows: int
    chunks: tuple[Chunk, ...]


def page_header(rows: int, num_bytes: int) -> bytes:
    """Returns what stands before so many plain values, which take so many bytes."""
    of_data = {1: _i32(rows), 2: _i32(_PLAIN), 3: _i32(_RLE), 4: _i32(_RLE)}  # of levels that are not there too
    return _struct({1: _i32(_DATA_PAGE), 2: _i32(num_bytes), 3: _i32(num_bytes), 5: _struct(of_data)})[1]


def texts_page(values: Sequence[bytes]) -> bytes:
    """Returns a page of texts, with its header."""
    content = b"".join([struct.pack("<I", len(value)) + value for value in values])
    return page_header(len(values), len(content)) + content


def numbers_page(values: Sequence[int]) -> bytes:
    """Returns a page of numbers, with its header."""
    content = struct.pack(f"<{len(values)}q", *values)
    return page_header(len(values), len(content)) + content


def footer(columns: Sequence[Column], groups: Sequence[RowGroup]) -> bytes:
    """Returns what follows the last page, up to the end of the file."""
    root = _struct({4: _binary(b"schema"), 5: _i32(len(columns))})
    content = _struct(
        {
            1: _i32(_FORMAT_VERSION),
            2: _list(_STRUCT, [root, *map(_described, columns)]),
            3: _i64(sum(group.rows for group in groups)),
            4: _list(_STRUCT, [_row_group(columns, group) for group in groups]),
            6: _binary(_CREATED_BY),
        }
    )[1]
    return content + struct.pack("<I", len(content)) + MAGIC


def _described(column: Column) -> _Value:
    fields = {1: _i32(column.kind), 3: _i32(_REQUIRED), 4: _binary(column.name.encode())}
    if column.is_text:
        fields |= {6: _i32(_UTF8), 10: _struct({1: _struct({})})}
    return _struct(fields)


def _row_group(columns: Sequence[Column], group: RowGroup) -> _Value:
    chunks = [
        _struct(
            {
                2: _i64(0),  # where older writers have repeated what stands here
                3: _struct(
                    {
                        1: _i32(column.kind),
                        2: _list(_I32, [_i32(_PLAIN), _i32(_RLE)]),
                        3: _list(_BINARY, [_binary(column.name.encode())]),
                        4: _i32(_UNCOMPRESSED),
                        5: _i64(group.rows),
                        6: _i64(chunk.num_bytes),
                        7: _i64(chunk.num_bytes),
                        9: _i64(chunk.offset),
                    }
                ),
            }
        )
        for column, chunk in zip(columns, group.chunks, strict=True)
    ]
    num_bytes = sum(chunk.num_bytes for chunk in group.chunks)
    return _struct({1: _list(_STRUCT, chunks), 2: _i64(num_bytes), 3: _i64(group.rows),
                    5: _i64(group.chunks[0].offset), 6: _i64(num_bytes)})  # fmt: skip


def _i32(value: int) -> _Value:
    return _I32, varint(2 * value)  # of numbers below 0 it would be the odd ones


def _i64(value: int) -> _Value:
    return _I64, varint(2 * value)


def _binary(value: bytes) -> _Value:
    return _BINARY, varint(len(value)) + value


def _list(kind: int, values: Sequence[_Value]) -> _Value:
    size = bytes([len(values) << 4 | kind]) if len(values) < 15 else bytes([0xF0 | kind]) + varint(len(values))
    return _LIST, size + b"".join([content for _, content in values])


def _struct(fields: Mapping[int, _Value]) -> _Value:
    """Returns a structure of fields by their numbers, which grow, by 15 at most."""
    parts, before = list[bytes](), 0
    for number, (kind, content) in fields.items():
        parts += bytes([(number - before) << 4 | kind]), content
        before = number
    return _STRUCT, b"".join([*parts, b"\0"])
