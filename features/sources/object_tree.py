"""The objects below a folder of a store, as one listing names them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from features.audio.remote import version_of
from features.errors import Reason, Reject
from features.io.entry import Entry
from features.io.filesystem import filesystem_of
from features.sources.audio_names import NOT_AUDIO
from features.sources.folder_walk import is_audio, is_hidden, is_litter
from features.sources.walk import Listing


@dataclass
class ObjectTree:
    """Objects and the folders that their names make.

    Attributes:
        root: URI of the folder.
        entries: what the store says of each object, by its path relative to the root.
        names: of the objects and folders in each folder, by its path relative to the root, which is empty for that.
        is_whole: whether nothing is missing: the listing was not ended for being too long.
    """

    root: str
    entries: dict[bytes, Entry] = field(default_factory=dict)
    names: dict[bytes, set[bytes]] = field(default_factory=dict)
    is_whole: bool = True

    @classmethod
    def of(cls, root: str, most: int | None = None) -> "ObjectTree":
        """Lists a folder; raises what `Filesystem.list` does.

        Args:
            root: URI of the folder.
            most: objects after which the listing ends; None for all.
        """
        tree = cls(root)
        for number, entry in enumerate(filesystem_of(root).list(root)):
            if number == most:
                tree.is_whole = False
                break
            path = os.fsencode(entry.path[len(root) + 1 :])
            tree.entries[path] = entry
            while path:
                folder, _, name = path.rpartition(b"/")
                names = tree.names.setdefault(folder, set())
                if name in names:
                    break
                names.add(name)
                path = folder
        return tree


def list_objects(root: str) -> tuple[str, Listing] | None:
    """Lists the audio objects of a folder of a store by the rules of `walk_folders`, in one listing.

    Args:
        root: URI of a folder, or of an object.

    Returns:
        `folder`, or `file` for an object, with what is there; None where nothing is.
    """
    store = filesystem_of(root)
    try:
        found = _walk(root, store.list(root))
    except PermissionError as error:
        return "folder", Listing(rejects=[Reject(".", "scan", Reason.PERMISSION, error.strerror or str(error))])
    if found.files or found.left_out or "/" not in root.partition("://")[2]:
        return "folder", found
    try:
        entry = store.status(root)
    except FileNotFoundError:
        return None
    found.files.add(os.fsencode(os.path.basename(root)), entry.size, version=version_of(entry))
    return "file", found


def _walk(root: str, entries: Iterable[Entry]) -> Listing:
    found = Listing()
    folders: set[bytes] = set()
    hidden: set[bytes] = set()
    empty: set[bytes] = set()
    for entry in entries:
        path = os.fsencode(entry.path[len(root) + 1 :])
        *above, name = path.split(b"/")
        passed = next((depth for depth, part in enumerate(above) if is_hidden(part) or is_litter(part)), None)
        if passed != 0:
            folders.update(b"/".join(above[: depth + 1]) for depth in range(len(above)))
        if passed is not None and is_litter(above[passed]):
            found.left_out[f"in {os.fsdecode(above[passed])}"] += 1
        elif passed is not None or is_hidden(name):
            hidden.add(b"/".join([*above, name][: len(above) + 1 if passed is None else passed + 1]))
        elif is_audio(name):
            found.files.add(path, entry.size, version=version_of(entry))
        elif entry.size or b"." in name:
            found.left_out[NOT_AUDIO] += 1
        else:
            empty.add(path)
    # What marks a folder in some programs is an object of its name without a content.
    for count, why in ((len(hidden), "hidden"), (len(empty - folders), NOT_AUDIO)):
        if count:
            found.left_out[why] += count
    found.folders = sorted(folder for folder in folders if b"/" not in folder)
    return found
