"""Lists the audio files in the folders below a root, each folder once."""

import collections
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from features.audio.decode import file_error
from features.errors import Reject
from features.sources import walk_ahead
from features.sources.file_columns import FileColumns
from features.sources.folder_walk import FolderFiles, Passed, walk_folders
from features.sources.paths import escape_path


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


def walk(root: bytes) -> Listing:
    """Lists what `features.sources.folder_walk.walk_folders` finds, or has found while the libraries were loaded."""
    ahead = walk_ahead.take(root)
    if ahead is not None:
        with contextlib.suppress(EOFError):  # what went wrong there is met again here, and said
            return _listed(ahead)
    return _listed(walk_folders(root))


def _listed(walked: Iterable[FolderFiles | Passed]) -> Listing:
    found = Listing()
    for part in walked:
        if isinstance(part, FolderFiles):
            found.files.add_folder(*part)
        else:
            found.rejects = [_reject(path, OSError(number, text)) for path, number, text in part.failures]
            found.left_out, found.folders = part.left_out, part.folders
    return found


def _reject(path: bytes, error: OSError) -> Reject:
    return Reject(escape_path(path) or ".", "scan", file_error(error).reason, error.strerror or str(error))
