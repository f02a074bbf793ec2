import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.io.plain_parquet import MAGIC, Chunk, Column, RowGroup, footer, numbers_page, page_header, texts_page
from features.io.varint import varint

COLUMNS = (Column("blob"), Column("tëxt", is_text=True), Column("number", is_number=True))
NUMBERS = [0, 1, -1, 63, 64, 2**31, 2**63 - 1, -(2**63)]


def written(path, groups):
    """Writes groups of (blob, text, number) rows, each column of a group as two pages where it has two rows or more."""
    content, listed = MAGIC, []
    for rows in groups:
        chunks = []
        for number, make in enumerate((texts_page, texts_page, numbers_page)):
            values = [row[number].encode() if isinstance(row[number], str) else row[number] for row in rows]
            cut = len(rows) // 2
            pages = b"".join(make(part) for part in (values[:cut], values[cut:]) if part)
            chunks.append(Chunk(len(content), len(pages)))
            content += pages
        listed.append(RowGroup(len(rows), tuple(chunks)))
    path.write_bytes(content + footer(COLUMNS, listed))


def rows_of(count, length=5):
    return [(bytes([n % 256]) * length, "ä%" * (n % 4), NUMBERS[n % len(NUMBERS)]) for n in range(count)]


@pytest.mark.parametrize("groups", [[], [1], [2, 1], [3] * 14, [3] * 15, [1] * 200])
def test_pyarrow_reads_what_was_written(tmp_path, groups):
    """A list of 15 has its size in another place than one of 14."""
    expected = [rows_of(count) for count in groups]
    written(tmp_path / "file", expected)
    table = pq.read_table(tmp_path / "file")
    table.validate(full=True)
    assert table.schema == pa.schema(
        [
            pa.field("blob", pa.binary(), nullable=False),
            pa.field("tëxt", pa.string(), nullable=False),
            pa.field("number", pa.int64(), nullable=False),
        ]
    )
    assert [tuple(row.values()) for row in table.to_pylist()] == [row for rows in expected for row in rows]
    metadata = pq.read_metadata(tmp_path / "file")
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == groups


@pytest.mark.parametrize("length", [0, 1, 127, 128, 129, 16_383, 16_384, 2**21])
def test_pages_of_any_size(tmp_path, length):
    expected = rows_of(3, length)
    written(tmp_path / "file", [expected])
    assert pq.read_table(tmp_path / "file")["blob"].to_pylist() == [row[0] for row in expected]


def test_each_group_and_column_is_found_by_itself(tmp_path):
    expected = [rows_of(3), rows_of(5, 40)]
    written(tmp_path / "file", expected)
    with pq.ParquetFile(tmp_path / "file") as file:
        for number, rows in enumerate(expected):
            for place, column in enumerate(COLUMNS):
                read = file.read_row_group(number, columns=[column.name])[column.name].to_pylist()
                assert read == [row[place] for row in rows]


def test_a_header_is_that_of_pyarrow(tmp_path):
    values = [b"a" * 300] * 5
    table = pa.table({"blob": pa.array(values, pa.binary())}, schema=pa.schema([pa.field("blob", pa.binary(), False)]))
    pq.write_table(table, tmp_path / "file", compression="none", use_dictionary=False, write_statistics=False)
    *fields, end_of_data, end = page_header(5, 5 * 304)
    theirs = (tmp_path / "file").read_bytes()[len(MAGIC) :]
    assert theirs.startswith(bytes(fields) + b"\x1c\0")  # and statistics that hold nothing
    assert (end_of_data, end) == (0, 0)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**63, "80" * 9 + "01")]
)
def test_varints_are_those_of_the_documentation_of_protocol_buffers(value, expected):
    assert varint(value).hex() == expected
