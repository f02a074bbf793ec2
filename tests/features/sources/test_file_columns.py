"""Files as columns: their order, and what becomes of folders, small and large, and of objects."""

import itertools
import random
from array import array

import pytest

from features.sources import file_columns
from features.sources.file_columns import FileColumns

NAMES = [b"a", b"a-b", b"ab", b"a.wav", b"\xff", b"z\\", b"0", b"\n"]


@pytest.fixture
def small(monkeypatch):
    """Makes blocks and chunks of few files, so that few files make several."""
    monkeypatch.setattr(file_columns, "_FILES_OF_A_BLOCK", 3)
    monkeypatch.setattr(file_columns, "_FILES_AT_ONCE", 5)
    monkeypatch.setattr(file_columns, "_BYTES_OF_A_CHUNK", 100)


@pytest.mark.parametrize("seed", range(20))
def test_files_are_in_the_order_of_their_paths_bytes(small, seed):
    drawn, files, columns = random.Random(seed), [], FileColumns()
    folders = [b"/".join(parts) + b"/" for depth in (1, 2) for parts in itertools.product(NAMES, repeat=depth)]
    drawn.shuffle(folders)
    for prefix in [b"", *folders[: drawn.choice([0, 1, 7, 40])]]:
        names = [b"%d.wav" % drawn.randrange(100_000) for _ in range(drawn.choice([0, 1, 2, 3, 4, 9]))]
        names = list(dict.fromkeys(names))
        sizes, times = ([drawn.randrange(-(2**62), 2**62) for _ in names] for _ in range(2))
        is_leaf = not any(other != prefix and other.startswith(prefix) for other in [b"", *folders])
        columns.add_folder(prefix, names, array("q", sizes), array("q", times), is_leaf)
        files += [(prefix + name, size, time) for name, size, time in zip(names, sizes, times, strict=True)]
        assert len(columns) == len(files)
    table = columns.take()
    assert table.column_names == ["path", "size", "mtime_ns"]
    assert list(zip(*(column.to_pylist() for column in table.columns), strict=True)) == sorted(files)
    assert len(columns) == 0


@pytest.mark.parametrize("number", [1, 4, 5, 6, 11])
def test_objects_have_versions_and_no_times(small, number):
    columns = FileColumns()
    for place in reversed(range(number)):
        columns.add(b"%02d.wav" % place, place, version=f"v{place}")
    assert columns.take().to_pylist() == [{"path": b"%02d.wav" % place, "size": place, "version": f"v{place}"}
                                          for place in range(number)]  # fmt: skip


def test_there_may_be_none():
    table = FileColumns().take()
    assert (len(table), table.column_names) == (0, ["path", "size", "mtime_ns"])
