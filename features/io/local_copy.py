"""Files of stores as files of this machine, for libraries that open paths."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

from features.errors import UsageError
from features.io.filesystem import filesystem_of
from features.io.temporary import temporary_folder

_PART_BYTES = 8 * 2**20


@contextlib.contextmanager
def local_copy(place: str) -> Iterator[str]:
    """Yields the path of a file: of a store's a copy, whose name ends as it does, and which goes with the block.

    Raises:
        OSError: it cannot be read.
    """
    if filesystem_of(place).is_local:
        yield place
        return
    with tempfile.TemporaryDirectory(dir=temporary_folder()) as folder:
        path = os.path.join(folder, f"copy{ending_of(place)}")
        copy(place, path)
        yield path


def copy(place: str, path: str) -> None:
    """Copies a file to a path, piece by piece; raises `OSError` where it cannot be read or written."""
    source, at = filesystem_of(place), 0
    with open(path, "wb") as file:
        while part := source.read_range(place, at, _PART_BYTES):
            file.write(part)
            at += len(part)
            if len(part) < _PART_BYTES:
                return


def ending_of(place: str) -> str:
    """Returns how a name ends, by which decoders go, as a temporary file may have it."""
    return os.path.splitext(os.path.basename(place))[1]


def check_file_place(option: str, path: str) -> None:
    """Raises `UsageError` where an option names a file of this machine that cannot be written there."""
    if os.path.isdir(path):
        raise UsageError(f"{option} is a file, but {path} is a folder")
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        raise UsageError(f"no folder for {option} {path}; make {folder} first")


def check_local(option: str, place: str | None) -> None:
    """Raises `UsageError` where an option names a place in a store and can only name one of this machine."""
    if place is not None and not filesystem_of(place).is_local:
        raise UsageError(f"{option} is a place on this machine, not {place}; give a path, and copy what is there then")
