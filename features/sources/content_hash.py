"""What is in a file, by hashes: what has the same hash has the same features."""

import contextlib
import hashlib
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from features.io.entry import AnyPath
from features.io.filesystem import filesystem_of, is_uri
from features.io.local_copy import local_copy
from features.io.regular_file import open_regular
from features.runtime.processes import usable_cores
from features.runtime.progress import Progress
from features.sources.paths import clip_file

# How hashes begin; those without are BLAKE2b (RFC 7693) of 128 bits, which sets of earlier versions have.
_KIND = "xxh3-"
_BLAKE2B_BYTES = 16
_TABLE_DIGITS = 16
# Files between two updates of the progress line.
_BLOCK_FILES = 256


def content_hash(content: bytes, like: str | None = None) -> str:
    """Returns the hash by which contents are compared: XXH3 of 128 bits, in hexadecimal, with a name before it.

    It is fifteen times as fast as a cryptographic hash, and distinguishes what differs by accident, not what was
    made to look the same.

    Args:
        content: of a file.
        like: a hash that this one is to be compared with, which may be of the older kind.
    """
    if _is_older(like):
        return hashlib.blake2b(content, digest_size=_BLAKE2B_BYTES).hexdigest()
    return f"{_KIND}{xxhash.xxh3_128_hexdigest(content)}"


def _is_older(like: str | None) -> bool:
    return like is not None and not like.startswith(_KIND)


def is_current(hashes: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns of each hash whether it is of the kind that `content_hash` makes of what it is not told to compare."""
    return pc.starts_with(hashes, _KIND).fill_null(False)


def number_of(content_hash: str) -> int:
    """Returns a hash of the current kind as a number of 128 bits."""
    return int(content_hash.removeprefix(_KIND), 16)


def table_hash(content: bytes) -> str:
    """Returns what the name of a table of a set holds of its content."""
    return hashlib.sha256(content).hexdigest()[:_TABLE_DIGITS]


class TableHash:
    """`table_hash` of what is written bit by bit."""

    def __init__(self) -> None:
        """Begins with nothing."""
        self._sha256 = hashlib.sha256()

    def update(self, content: bytes) -> None:
        """Takes what follows."""
        self._sha256.update(content)

    def digest(self) -> str:
        """Returns the hash of what was taken so far."""
        return self._sha256.hexdigest()[:_TABLE_DIGITS]


def table_file_hash(path: AnyPath) -> str:
    """Returns `table_hash` of a file without holding it in memory, or of an object."""
    if is_uri(path):
        return table_hash(filesystem_of(path).read(path))
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_TABLE_DIGITS]


def file_hash(path: str, like: str | None = None) -> str:
    """Returns `content_hash` of a file, or of an object of a store, without holding it in memory."""
    if is_uri(path):
        with local_copy(path) as copied:
            return file_hash(copied, like)
    descriptor, _ = open_regular(path)
    with open(descriptor, "rb") as file:
        if _is_older(like):
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_BLAKE2B_BYTES)).hexdigest()
        return f"{_KIND}{hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()}"


def hash_files(root: str, paths: Iterable[str]) -> dict[str, str]:
    """Hashes files in threads, with a progress line; objects of a store more at a time, as their store is waited for.

    Args:
        root: where paths begin.
        paths: of the files; each is read once however often it is named.

    Returns:
        Hash by path; a file that cannot be read has none, and its reject follows when it is decoded.
    """
    from concurrent.futures import ThreadPoolExecutor  # which few commands need

    from features.io.parallel import map_ahead

    listed = list(dict.fromkeys(paths))
    hashes: dict[str, str] = {}

    def take(path: str) -> None:
        with contextlib.suppress(OSError):
            hashes[path] = file_hash(clip_file(root, path))

    progress = Progress("hash", len(listed), "files")
    objects = {path for path in listed if is_uri(clip_file(root, path))}
    for _ in map_ahead(take, [path for path in listed if path in objects]):
        progress.update(len(hashes))
    listed = [path for path in listed if path not in objects]
    with ThreadPoolExecutor(usable_cores()) as pool:
        for first in range(0, len(listed), _BLOCK_FILES):
            for _ in pool.map(take, listed[first : first + _BLOCK_FILES]):
                pass
            progress.update(len(hashes))
    progress.close()
    return hashes
