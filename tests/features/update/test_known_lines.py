import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.errors import RunError
from features.store.known_rows import CACHE_SCHEMA
from features.update import known_lines
from features.update.known_lines import NOTHING, KnownLines


def known(number: int = 10) -> pa.Table:
    """Clips of two shards and two decoders, then three rejects."""
    values = {
        "path": [f"jä/{line}.wav" for line in range(number)],
        "start": [0] * number,
        "size": list(range(number)),
        "content_hash": [None if line == 4 else f"xxh3-{line:032x}" for line in range(number)],
        "decoder": [[None, "wav", "ffmpeg 7"][line % 3] for line in range(number)],
        "row": [*range(4), *range(number - 7), None, None, None],
        "shard": ["training-1"] * 4 + ["testing-1"] * (number - 7) + [None] * 3,
        "reason": [None] * (number - 3) + ["empty", "silent", "damaged"],
    }
    columns = [
        pa.array(values.get(name, [None] * number), CACHE_SCHEMA.field(name).type) for name in CACHE_SCHEMA.names
    ]
    return pa.table(columns, schema=CACHE_SCHEMA)


class Reader:
    """What reads a table in parts, and how often it began and came to its end."""

    def __init__(self, table: pa.Table, *bounds: int) -> None:
        self.table, self.ends, self.begun, self.ended = table, [0, *bounds, len(table)], 0, 0

    def __call__(self, columns):
        self.begun += 1
        for first, last in zip(self.ends, self.ends[1:], strict=False):
            yield self.table.slice(first, last - first)
        self.ended += 1


@pytest.fixture(params=[(), (7,), (2, 2, 5, 7), (9,)], ids=str)
def lines(request, tmp_path):
    reader = Reader(known(), *request.param)
    lines = KnownLines(reader, tmp_path)
    assert pa.concat_tables(list(lines.parts())).equals(known())
    return lines, reader


def test_numbers_are_those_of_the_table(lines):
    held, _ = lines
    shards = [None if number == NOTHING else held.shards[number] for number in held.shard.tolist()]
    decoders = [None if number == NOTHING else held.decoders[number] for number in held.decoder.tolist()]
    assert shards == known()["shard"].to_pylist()
    assert decoders == known()["decoder"].to_pylist()
    assert held.row.tolist() == known()["row"].fill_null(NOTHING).to_pylist()
    assert held.rejects.equals(known().slice(7))
    assert held.rejects_of(np.array([9, 7]))["reason"].to_pylist() == ["damaged", "empty"]


def test_lines_are_taken_from_a_file_that_nobody_sees(lines, tmp_path):
    held, reader = lines
    assert held.take(np.array([NOTHING, NOTHING]), ["path"])["path"].to_pylist() == [None, None]
    assert reader.begun == 1, "nothing was asked for"
    wanted = np.array([8, NOTHING, 0, 4, 4, 9])
    taken = held.take(wanted, ["path", "content_hash", "reason"])
    listed = known().select(taken.column_names).to_pylist()
    nothing = dict.fromkeys(taken.column_names)
    expected = [nothing if line == NOTHING else listed[line] for line in wanted.tolist()]
    assert taken.to_pylist() == expected
    assert held.take(np.arange(10), ["size"])["size"].to_pylist() == list(range(10))
    assert reader.begun == 2
    assert os.listdir(tmp_path) == []


def test_lines_of_some_value(lines):
    held, _ = lines
    tables = held.filtered("path", pa.array(["jä/9.wav", "jä/1.wav", "none"]), ["size", "path"])
    assert pa.concat_tables(tables).to_pydict() == {"size": [1, 9], "path": ["jä/1.wav", "jä/9.wav"]}


def test_rejects_are_read_once():
    """Their table may be gone or another one by then: the lines stay those that were compared."""
    table = known()

    def read(_):
        yield table.slice(0, 7)
        yield table.slice(7) if reader.begun == 0 else pytest.fail("the rejects were read again")

    reader = Reader(table)
    held = KnownLines(read)
    list(held.parts())
    reader.begun = 1
    assert held.take(np.array([9, 6]), ["reason"])["reason"].to_pylist() == ["damaged", None]


@pytest.mark.parametrize(("first", "last"), [(0, 0), (7, 10), (0, 7)], ids=["none", "rejects alone", "clips alone"])
def test_few_lines(first, last):
    table = known().slice(first, last - first)
    held = KnownLines(lambda _: [table])
    list(held.parts())
    assert len(held) == len(table)
    assert held.take(np.arange(len(table)), ["path"])["path"].to_pylist() == table["path"].to_pylist()


def test_a_folder_that_cannot_be_written_to_is_left_alone(tmp_path):
    held = KnownLines(lambda _: [known()], tmp_path / "none")
    list(held.parts())
    assert pc.count(held.take(np.arange(10), ["path"])["path"]).as_py() == 10


def test_no_room_is_an_error_that_names_the_place(monkeypatch, tmp_path):
    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(known_lines, "_temporary_file", full)
    held = KnownLines(lambda _: [known()], tmp_path)
    list(held.parts())
    with pytest.raises(RunError, match=f"a file in {tmp_path}: No space left on device; make room"):
        held.take(np.arange(10), ["path"])
