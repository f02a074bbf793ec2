"""Where the tensors of a Parquet shard lie in its bytes, so that they are viewed there and not copied."""

import struct

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

# What the header of a data page begins with, in Thrift's compact protocol: its type, and the tag of its size.
_PAGE_START = b"\x15\x00\x15"
_PAGE_HEADER_BYTES = 128  # at most, of a page without statistics


def tensor_offsets(content: NDArray[np.uint8], metadata: pq.FileMetaData, row_bytes: int) -> list[int] | None:
    """Returns the first byte of the tensor of each row, None where they do not stand there as they are.

    A page of plain values has a length and as many bytes for each, behind a header that says how long it is. Of each
    the length is looked at, and that the pages of a row group end where its column does.

    Args:
        content: the whole file, whose checksum is known to be right.
        metadata: of the file.
        row_bytes: of a tensor.
    """
    offsets: list[int] = []
    length = np.frombuffer(struct.pack("<I", row_bytes), np.uint8)
    for number in range(metadata.num_row_groups):
        column = metadata.row_group(number).column(0)
        if column.path_in_schema != "features" or column.compression != "UNCOMPRESSED" or column.has_dictionary_page:
            return None
        at, end = column.data_page_offset, column.data_page_offset + column.total_compressed_size
        while at < end:
            header = content[at : at + _PAGE_HEADER_BYTES].tobytes()
            begin, size = header.find(length.tobytes(), len(_PAGE_START)), _page_bytes(header)
            if not header.startswith(_PAGE_START) or begin < 0 or size % (len(length) + row_bytes):
                return None
            rows = content[at + begin : at + begin + size].reshape(-1, len(length) + row_bytes)
            if not (rows[:, : len(length)] == length).all():
                return None
            first, at = at + begin + len(length), at + begin + size
            offsets += range(first, at, rows.shape[1])
        if at != end:
            return None
    return offsets if len(offsets) == metadata.num_rows else None


def _page_bytes(header: bytes) -> int:
    """Returns the size that a page's header says, a number of seven bits a byte, twice what it is."""
    value = 0
    for place, byte in enumerate(header[len(_PAGE_START) :]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            break
    return value >> 1
