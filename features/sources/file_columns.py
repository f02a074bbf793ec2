"""Files as columns in the order of their paths: no object of Python stands for one, so that millions take little."""

import bisect
from array import array
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Folders with fewer files are sorted together with others: of each that is sorted by itself a few objects are kept.
_FILES_OF_A_BLOCK = 256
_FILES_AT_ONCE = 65_536
_BYTES_OF_A_CHUNK = 2**30  # of paths: an array of Arrow's strings has 2 GiB at most


class FileColumns:
    """Collects files, folder by folder or one by one, and returns them as columns.

    Paths are sorted within a folder, as far as that has no others below it: what begins with its path stands together
    in the order of all, which is a third of the work of sorting whole paths.
    """

    def __init__(self) -> None:
        """Has no file yet."""
        self._number = 0
        self._blocks: list[tuple[bytes, pa.Table]] = []
        self._rest: list[pa.Table] = []
        self._paths: list[bytes] = []
        self._sizes, self._mtimes_ns = array("q"), array("q")
        self._versions: list[str] = []

    def __len__(self) -> int:
        """Returns the number of files."""
        return self._number

    def add(self, path: bytes, size: int, mtime_ns: int = 0, version: str | None = None) -> None:
        """Adds a file by its path, or an object, which has a version in place of a time; all or none of them have."""
        self._number += 1
        self._paths.append(path)
        self._sizes.append(size)
        if version is None:
            self._mtimes_ns.append(mtime_ns)
        else:
            self._versions.append(version)
        if len(self._paths) >= _FILES_AT_ONCE:
            self._flush()

    def add_folder(
        self, prefix: bytes, names: Sequence[bytes], sizes: "array[int]", mtimes_ns: "array[int]", is_leaf: bool
    ) -> None:
        """Adds the files of a folder.

        Args:
            prefix: the folder's path and a `/`, nothing for the root.
            names: of the files, in any order.
            sizes: bytes of each.
            mtimes_ns: modification time of each.
            is_leaf: whether there is no folder in it.
        """
        self._number += len(names)
        if is_leaf and len(names) >= _FILES_OF_A_BLOCK:
            paths = _binary(prefix, names)
            self._blocks.append((prefix, _in_order(_table(paths, sizes, mtimes_ns))))
            return
        self._paths += [prefix + name for name in names]
        self._sizes += sizes
        self._mtimes_ns += mtimes_ns
        if len(self._paths) >= _FILES_AT_ONCE:
            self._flush()

    def take(self) -> pa.Table:
        """Returns the files in the order of their paths' bytes, and keeps them no longer.

        Returns:
            Table of path (binary), size and mtime_ns, or version in the place of that where objects were added.
        """
        self._flush()
        if not self._rest:
            self._rest.append(_table(_binary(b"", ()), array("q"), array("q")))
        rest, self._rest = pa.concat_tables(self._rest).combine_chunks(), []
        rest = _in_order(rest)
        blocks, pieces, first = sorted(self._blocks, key=lambda block: block[0]), [], 0
        self._blocks, self._number = [], 0
        for prefix, block in blocks:
            end = _rows_before(prefix, rest["path"], first)
            pieces += [rest.slice(first, end - first), block]
            first = end
        pieces.append(rest.slice(first))
        pieces = [piece for piece in pieces if len(piece)] or [rest]
        names = rest.column_names
        columns = [[piece[name] for piece in pieces] for name in names]
        del rest, blocks, pieces
        joined = []
        while columns:  # what is joined is let go of, column by column
            joined.append(_joined(columns.pop(0)))
        return pa.table(joined, names=names)

    def _flush(self) -> None:
        if self._paths:
            self._rest.append(_table(_binary(b"", self._paths), self._sizes, self._mtimes_ns, self._versions or None))
        self._paths, self._versions = [], []
        self._sizes, self._mtimes_ns = array("q"), array("q")


def _binary(prefix: bytes, names: Sequence[bytes]) -> pa.BinaryArray:
    """Returns the names with a prefix before each."""
    number = len(names)
    ends = np.zeros(number + 1, np.int32)
    np.cumsum(np.fromiter(map(len, names), np.int32, number) + len(prefix), out=ends[1:])
    content = prefix + prefix.join(names) if names else b""
    return pa.Array.from_buffers(pa.binary(), number, [None, pa.py_buffer(ends), pa.py_buffer(content)])


def _table(
    paths: pa.BinaryArray, sizes: "array[int]", mtimes_ns: "array[int]", versions: list[str] | None = None
) -> pa.Table:
    if versions is not None:
        return pa.table({"path": paths, "size": _numbers(sizes), "version": pa.array(versions, pa.string())})
    return pa.table({"path": paths, "size": _numbers(sizes), "mtime_ns": _numbers(mtimes_ns)})


def _numbers(values: "array[int]") -> pa.Int64Array:
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def _in_order(files: pa.Table) -> pa.Table:
    return files.take(pc.sort_indices(files["path"])).combine_chunks()


def _rows_before(path: bytes, paths: pa.ChunkedArray, first: int) -> int:
    """Returns how many of some sorted paths come before one, of which it is known that so many do."""
    return bisect.bisect_left(range(len(paths)), path, lo=first, key=lambda row: paths[row].as_py())


def _joined(pieces: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Returns one column of the pieces of it, in as few chunks as an array of strings allows; empties the list."""
    chunks: list[pa.Array] = []
    taken: list[pa.Array] = []
    size = 0
    for chunk in (chunk for piece in pieces for chunk in piece.chunks):
        if taken and size + chunk.nbytes > _BYTES_OF_A_CHUNK:
            chunks.append(pa.concat_arrays(taken))
            taken, size = [], 0
        taken.append(chunk)
        size += chunk.nbytes
    pieces.clear()
    chunks.append(taken[0] if len(taken) == 1 else pa.concat_arrays(taken))
    return pa.chunked_array(chunks)
