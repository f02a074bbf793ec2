"""Walks the folders below a root and lists the audio files in them, each folder once."""

import collections
import os
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from features.audio.decode import file_error
from features.errors import Reject
from features.io.file_time import mtime_ns
from features.sources.file_columns import FileColumns
from features.sources.paths import AUDIO_EXTENSIONS, BACKGROUND_FOLDER, NOT_AUDIO, escape_path

_ENDINGS = frozenset(map(os.fsencode, AUDIO_EXTENSIONS))
_BACKGROUND = os.fsencode(BACKGROUND_FOLDER)
# Where Windows, storage boxes and file systems keep what was deleted, copies, and thumbnails; in lower case.
_LITTER = frozenset((b"#recycle", b"#snapshot", b"@eadir", b"@recycle", b"$recycle.bin", b"lost+found",
                     b"system volume information"))  # fmt: skip
_DOT = ord(".")


@dataclass
class Listing:
    """Audio files below a root.

    Attributes:
        files: their paths, relative to the root, as the file system has them, with sizes and times or versions.
        left_out: how many files were passed over, by why.
        rejects: files and folders that were seen and cannot be read.
        folders: names of those in the root that are walked and are not behind a link.
    """

    files: FileColumns = field(default_factory=FileColumns)
    left_out: collections.Counter[str] = field(default_factory=collections.Counter)
    rejects: list[Reject] = field(default_factory=list)
    folders: list[bytes] = field(default_factory=list)


def is_audio(name: bytes) -> bool:
    """Returns whether a file's name ends as those of audio do."""
    return name[name.rfind(b".") :].lower() in _ENDINGS


def walk(root: bytes) -> Listing:
    """Walks real folders first and folders behind links last, each once, so that a loop of links ends."""
    found = Listing()
    seen: set[tuple[int, int]] = set()
    real, linked = [b""], collections.deque[bytes]()
    while real or linked:
        relative = real.pop() if real else linked.popleft()
        folder = os.path.join(root, relative)
        try:
            identity = os.stat(folder)
            if (identity.st_dev, identity.st_ino) in seen:
                found.left_out["folders linked twice"] += 1
                continue
            seen.add((identity.st_dev, identity.st_ino))
            entries = os.scandir(folder)
        except OSError as error:
            found.rejects.append(_reject(relative, error))
            continue
        prefix = relative + b"/" if relative else b""
        with entries:
            folders = _list_folder(found, prefix, entries)
        if not relative:
            found.folders = [name for name, is_link in folders if not is_link]
        # The order of names decides what is met first, not that of the disk.
        for name, is_link in sorted(folders, reverse=True):
            (linked if is_link else real).append(prefix + name)
    return found


def _list_folder(found: Listing, prefix: bytes, entries: Iterator[os.DirEntry[bytes]]) -> list[tuple[bytes, bool]]:
    """Adds the audio files of a folder; returns the folders in it, and whether each is behind a link."""
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
            if status is None and (status := _look_at(found, prefix, entry, folders)) is None:
                continue
            names.append(name)
            sizes.append(status.st_size)
            try:
                mtimes_ns.append(status.st_mtime_ns)
            except OverflowError:
                mtimes_ns.append(mtime_ns(status))
    except OSError as error:
        found.rejects.append(_reject(prefix[:-1], error))
    found.files.add_folder(prefix, names, sizes, mtimes_ns, is_leaf=not folders)
    return folders


def _look_at(
    found: Listing, prefix: bytes, entry: os.DirEntry[bytes], folders: list[tuple[bytes, bool]]
) -> os.stat_result | None:
    """Notes what an entry is; returns what the system says of it where it is an audio file."""
    name = entry.name
    if name[0] == _DOT:
        found.left_out["hidden"] += 1
    elif _is_folder(entry):
        if is_litter(name):
            left = sum(len(names) for _, _, names in os.walk(entry.path))
            found.left_out[f"in {os.fsdecode(name)}"] += left
        else:
            folders.append((name, entry.is_symlink()))
    elif not is_audio(name):
        found.left_out[NOT_AUDIO] += 1
    else:
        try:
            status = entry.stat()
        except OSError as error:
            found.rejects.append(_reject(prefix + name, error))
        else:
            if stat.S_ISREG(status.st_mode):
                return status
            found.left_out["not a file"] += 1  # a pipe: to open it would be to wait forever
    return None


def class_folders(root: bytes) -> list[bytes]:
    """Returns the sorted names of the folders in a root that `walk` walks and that are not behind a link.

    Where the root cannot be read, there are none.
    """
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.name[0] != _DOT and not is_litter(entry.name)
                          and not entry.is_symlink() and _is_folder(entry))  # fmt: skip
    except OSError:
        return []


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


def _reject(path: bytes, error: OSError) -> Reject:
    return Reject(escape_path(path) or ".", "scan", file_error(error).reason, error.strerror or str(error))
