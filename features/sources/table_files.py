"""The files that a table names: what their file systems say of them, and which is meant where none is so named."""

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from features.audio.decode import file_error
from features.audio.recording import probe_at
from features.audio.remote import version_of
from features.errors import ClipError, Reason, UsageError
from features.io.entry import Entry
from features.io.file_time import mtime_ns
from features.io.filesystem import filesystem_of, is_uri
from features.io.parallel import map_ahead
from features.io.store_errors import PlaceError, UnlistableError
from features.sources.file_finder import FileFinder
from features.sources.object_tree import ObjectTree
from features.sources.paths import escape_path, escaped_path, place_of
from features.sources.table_rows import Rows, is_text

# A folder of a store is listed to look up many objects of it, unless it holds rather many others.
_LISTED_FROM = 50
_MOST_OTHERS = 20


@dataclass(frozen=True)
class TableFile:
    """A file that a table names: its state, the rate and length where they are needed, or why it cannot be used.

    Attributes:
        size: its bytes.
        mtime_ns: its modification time, None for an object of a store.
        version: of an object of a store, see `features.sources.clips.Clip`.
        rate_hz: of its sound, None where that is not asked for.
        frames: how many its header promises, None where the rate is not asked for.
        error: why it cannot be used, None where it can.
    """

    size: int = 0
    mtime_ns: int | None = None
    version: str | None = None
    rate_hz: int | None = None
    frames: int | None = None
    error: ClipError | None = None


class TableFiles:
    """Looks up files, each once; of many objects of one store in one listing."""

    def __init__(self, root: str, probed: bool) -> None:
        """Keeps where relative paths begin, and whether rates are needed."""
        self._root, self._probed = os.fsencode(root), probed
        self._tree: ObjectTree | None = None
        self._found: dict[bytes, TableFile] = {}

    def __getitem__(self, path: bytes) -> TableFile:
        """Returns a file that was looked up."""
        return self._found[path]

    def look_up(self, paths: Iterable[bytes]) -> None:
        """Looks up files by their paths, as `features.sources.paths.below` gives them."""
        new = [path for path in dict.fromkeys(paths) if path not in self._found]
        places = [place_of(self._root, path) for path in new]
        objects = [place for place in places if is_uri(place)]
        listed = self._listed(objects)

        def look(place: str) -> TableFile:
            return _look(place, listed.get(place), self._probed)

        at_once = map_ahead(look, objects)
        self._found |= {path: next(at_once) if is_uri(place) else look(place)
                        for path, place in zip(new, places, strict=True)}  # fmt: skip

    def exists(self, path: bytes) -> bool:
        """Returns whether there is a file of this name, whatever it is."""
        place = place_of(self._root, path)
        if not is_uri(place):
            return os.path.lexists(place)
        self.look_up([path])
        error = self._found[path].error
        return error is None or error.reason != Reason.MISSING

    def meant(self, rows: Rows, paths: Sequence[bytes]) -> list[bytes]:
        """Returns the paths as the file system has them where another system has written them; looks these up.

        Args:
            rows: of the table.
            paths: of the file of each row, which have been looked up.

        Raises:
            UsageError: it is not clear which file is meant, or a name is not UTF-8.
        """
        finder = FileFinder(self._root, lambda: self._tree)
        meant: dict[bytes, bytes] = {}
        for path in dict.fromkeys(paths):
            error, escaped = self._found[path].error, escaped_path(path)
            if error is None and escaped is not None and self.exists(escaped):
                where = rows.where(paths.index(path))
                raise UsageError(f"{where}: a file has this name, and soundmill writes the name of another one so: "
                                 f"{escape_path(path)} and {escape_path(escaped)}; rename one of them")  # fmt: skip
            if error is None or error.reason != Reason.MISSING:
                continue
            found = finder.find(path)
            if len(found) > 1:
                names = " and ".join(map(escape_path, found))
                raise UsageError(f"{rows.where(paths.index(path))}: no file is named {escape_path(path)}, and {names} "
                                 "are named alike; write it as it is")  # fmt: skip
            if not found and not is_text(os.fsdecode(path)):
                raise UsageError(f"{rows.where(paths.index(path))}: {escape_path(path)} is not there, and is not "
                                 "UTF-8; save the table as UTF-8")  # fmt: skip
            if found and found[0] != path:
                meant[path] = found[0]
        self.look_up(meant.values())
        return [meant.get(path, path) for path in paths]

    def _listed(self, objects: Sequence[str]) -> dict[str, Entry]:
        """Returns what listings say of objects, by their places: of all, of some, or of none."""
        if len(objects) < _LISTED_FROM:
            return {}
        entries: dict[str, Entry] = {}
        by_bucket: dict[str, list[str]] = {}
        for place in objects:
            by_bucket.setdefault("/".join(place.split("/", 3)[:3]), []).append(place)
        for places in by_bucket.values():
            if len(places) < _LISTED_FROM:
                continue
            root = os.fsdecode(self._root)
            below_root = all(place.startswith(f"{root}/") for place in places)
            folder = root if below_root else os.path.commonpath(places).replace(":/", "://", 1)
            try:
                tree = ObjectTree.of(folder, most=_MOST_OTHERS * len(places))
            except (PermissionError, PlaceError, UnlistableError):  # who may not list may read: each is asked for
                continue
            entries |= {entry.path: entry for entry in tree.entries.values()}
            if below_root and tree.is_whole:
                self._tree = tree
        return entries


def _look(place: str, entry: Entry | None, probed: bool) -> TableFile:
    """Looks a file up; `entry` is what a listing says of an object, None where there was none or it was not in it."""
    try:
        if is_uri(place):
            entry = entry or filesystem_of(place).status(place)
            found = TableFile(entry.size, version=version_of(entry))
        else:
            status = os.stat(place)
            if not stat.S_ISREG(status.st_mode):  # a pipe: to open it would be to wait forever
                raise IsADirectoryError(
                    None, "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is not a regular file"
                )
            found = TableFile(status.st_size, mtime_ns(status))
        if not probed:
            return found
        info = probe_at(place)
        return replace(found, rate_hz=info.rate_hz, frames=info.frames)
    except ClipError as error:
        return TableFile(error=error)
    except PlaceError as error:
        return TableFile(error=ClipError("scan", Reason.MISSING, str(error)))
    except OSError as error:
        return TableFile(error=ClipError("scan", file_error(error).reason, error.strerror or str(error)))
