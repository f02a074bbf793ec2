"""Goes through the folders below a root, each once, and tells of the audio files in them folder by folder.

It loads next to nothing, so that `features.sources.walk_ahead` has begun before libraries are loaded.
"""

import collections
import os
import stat
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from features.io.file_time import mtime_ns
from features.sources.audio_names import AUDIO_EXTENSIONS, BACKGROUND_FOLDER, NOT_AUDIO

_ENDINGS = frozenset(map(os.fsencode, AUDIO_EXTENSIONS))
_BACKGROUND = os.fsencode(BACKGROUND_FOLDER)
# Where Windows, storage boxes and file systems keep what was deleted, copies, and thumbnails; in lower case.
_LITTER = frozenset((b"#recycle", b"#snapshot", b"@eadir", b"@recycle", b"$recycle.bin", b"lost+found",
                     b"system volume information"))  # fmt: skip
_DOT = ord(".")


class FolderFiles(NamedTuple):
    """The audio files of a folder, see `features.sources.file_columns.FileColumns.add_folder`."""

    prefix: bytes
    names: list[bytes]
    sizes: "array[int]"
    mtimes_ns: "array[int]"
    is_leaf: bool


class Passed(NamedTuple):
    """What else was seen, told at the end.

    Attributes:
        left_out: how many files were passed over, by why.
        failures: relative path, number and words of the error of each file and folder that cannot be read.
        folders: names of those in the root that are walked and are not behind a link.
    """

    left_out: collections.Counter[str]
    failures: list[tuple[bytes, int, str]]
    folders: list[bytes]


def walk_folders(root: bytes) -> Iterator[FolderFiles | Passed]:
    """Walks real folders first and folders behind links last, each once, so that a loop of links ends."""
    passed = Passed(collections.Counter(), [], [])
    seen: set[tuple[int, int]] = set()
    real, linked = [b""], collections.deque[bytes]()
    while real or linked:
        relative = real.pop() if real else linked.popleft()
        folder = os.path.join(root, relative)
        try:
            identity = os.stat(folder)
            if (identity.st_dev, identity.st_ino) in seen:
                passed.left_out["folders linked twice"] += 1
                continue
            seen.add((identity.st_dev, identity.st_ino))
            entries = os.scandir(folder)
        except OSError as error:
            _note(passed, relative, error)
            continue
        prefix = relative + b"/" if relative else b""
        with entries:
            files, folders = _list_folder(passed, prefix, entries)
        yield files
        if not relative:
            passed.folders.extend(name for name, is_link in folders if not is_link)
        # The order of names decides what is met first, not that of the disk.
        for name, is_link in sorted(folders, reverse=True):
            (linked if is_link else real).append(prefix + name)
    yield passed


def _list_folder(
    passed: Passed, prefix: bytes, entries: Iterator[os.DirEntry[bytes]]
) -> tuple[FolderFiles, list[tuple[bytes, bool]]]:
    """Returns the audio files of a folder, and the folders in it with whether each is behind a link."""
    folders: list[tuple[bytes, bool]] = []
    names, sizes, mtimes_ns = list[bytes](), array("q"), array("q")
    try:
        for entry in entries:
            name, status = entry.name, None
            if name[-4:] in _ENDINGS and name[0] != _DOT:  # as most are: of these no more is asked than what follows
                try:
                    status = entry.stat() if entry.is_file() else None
                except OSError:
                    status = None  # the same error is met again below, and said
            if status is None and (status := _look_at(passed, prefix, entry, folders)) is None:
                continue
            names.append(name)
            sizes.append(status.st_size)
            try:
                mtimes_ns.append(status.st_mtime_ns)
            except OverflowError:
                mtimes_ns.append(mtime_ns(status))
    except OSError as error:
        _note(passed, prefix[:-1], error)
    return FolderFiles(prefix, names, sizes, mtimes_ns, is_leaf=not folders), folders


def _look_at(
    passed: Passed, prefix: bytes, entry: os.DirEntry[bytes], folders: list[tuple[bytes, bool]]
) -> os.stat_result | None:
    """Notes what an entry is; returns what the system says of it where it is an audio file."""
    name = entry.name
    if name[0] == _DOT:
        passed.left_out["hidden"] += 1
    elif _is_folder(entry):
        if is_litter(name):
            left = sum(len(names) for _, _, names in os.walk(entry.path))
            passed.left_out[f"in {os.fsdecode(name)}"] += left
        else:
            folders.append((name, entry.is_symlink()))
    elif not is_audio(name):
        passed.left_out[NOT_AUDIO] += 1
    else:
        try:
            status = entry.stat()
        except OSError as error:
            _note(passed, prefix + name, error)
        else:
            if stat.S_ISREG(status.st_mode):
                return status
            passed.left_out["not a file"] += 1  # a pipe: to open it would be to wait forever
    return None


def _note(passed: Passed, path: bytes, error: OSError) -> None:
    passed.failures.append((path, error.errno or 0, error.strerror or str(error)))


def class_folders(root: bytes) -> list[bytes]:
    """Returns the sorted names of the folders in a root that are walked and are not behind a link.

    Where the root cannot be read, there are none.
    """
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.name[0] != _DOT and not is_litter(entry.name)
                          and not entry.is_symlink() and _is_folder(entry))  # fmt: skip
    except OSError:
        return []


def is_audio(name: bytes) -> bool:
    """Returns whether a file's name ends as those of audio do."""
    return name[name.rfind(b".") :].lower() in _ENDINGS


def is_hidden(name: bytes) -> bool:
    """Returns whether a file or folder is passed over as its name begins with a point."""
    return name[0] == _DOT


def is_litter(name: bytes) -> bool:
    """Returns whether a folder is passed over as what is in it was deleted, is a copy, or is no clip."""
    return name == _BACKGROUND or name.lower() in _LITTER


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself; what is asked of it next meets the same error and says so
