"""The folder in which scoring keeps its parts, here or in an object store, and what of jobs and plannings is in it."""

import os
import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from features.errors import UsageError
from features.io.atomic import atomic_folder
from features.io.entry import AnyPath
from features.io.filesystem import Location, exists, filesystem_of
from features.io.parallel import map_ahead
from features.store.layout import WORK
from features.store.locks import CLAIM

_PLANNING = "planning-"
_MANIFEST = re.compile(r"manifest-[0-9a-f]{8}\.parquet")
# Folders of jobs and of plannings, partial ones among them, and the files of versions in which jobs had no folders.
_OWN_NAME = re.compile(
    rf"(?:{_PLANNING})?[0-9a-f]{{64}}|{_MANIFEST.pattern}|job\.json|batches\.parquet|network\.tflite|\d{{8}}\.(csv|json)"
)


def names_in(folder: Location) -> list[str]:
    """Returns the names of what lies in a folder; of one in a store those of its files, and of the folders in it."""
    if isinstance(folder, Path):
        return os.listdir(folder)
    below = (entry.path[len(folder) + 1 :] for entry in filesystem_of(folder).list(folder))
    return list(dict.fromkeys(path.partition("/")[0] for path in below))


def begin_folder(folder: Location, name: str, write: Callable[[AnyPath], None]) -> None:
    """Makes a folder with one file, where it is not there with that: both appear in one step.

    Args:
        folder: of a job or a planning.
        name: of the file.
        write: writes a file in the place that it is given.
    """
    if not isinstance(folder, Path):
        if not exists(folder / name):
            write(folder / name)
    elif not folder.is_dir():
        with atomic_folder(folder) as partial:
            write(partial / name)


def check_folder(folder: Location) -> None:
    """Raises `UsageError` where something else stands in the place of the parts."""
    try:
        others = [name for name in names_in(folder) if name not in (CLAIM, WORK) and not _OWN_NAME.match(name)]
    except FileNotFoundError:
        return
    except NotADirectoryError:
        others = [folder.name]
    if others:
        raise UsageError(f"{folder} is in the way: scoring keeps its parts there; move it or remove it")


def planning_folder(folder: Location, digest: str) -> Location:
    """Returns the folder of the planning that has a digest, below that of the parts."""
    return folder / f"{_PLANNING}{digest}"


def manifest_place(folder: Location, crc32c: int) -> Location:
    """Returns where a manifest of the output lies, by its checksum, before any file of this output appears."""
    return folder / f"manifest-{crc32c:08x}.parquet"


def manifests_in(folder: Location) -> list[Location]:
    """Returns where manifests lie of outputs that may have appeared in part, as a run was killed."""
    try:
        return [folder / name for name in sorted(names_in(folder)) if _MANIFEST.fullmatch(name)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove_parts(folder: Location, but: Collection[Location | None] = ()) -> None:
    """Removes all jobs and plannings but those of some folders; the file stays that says who has claimed the folder.

    Manifests of the output stay too, where there are such folders.
    """
    manifests = [path.name for path in manifests_in(folder)] if but else []
    kept = {CLAIM, WORK, *manifests, *(path.name for path in but if path)}
    if not isinstance(folder, Path):
        store = filesystem_of(folder)
        gone = [entry.path for entry in store.list(folder)
                if entry.path[len(folder) + 1 :].partition("/")[0] not in kept]  # fmt: skip
        for _ in map_ahead(store.delete, gone):
            pass
        return
    for entry in list(os.scandir(folder)):
        if entry.name in kept:
            continue
        if entry.is_dir(follow_symlinks=False):
            # A worker whose driver was killed may still write into it: what it leaves is not used, and is removed the
            # next time.
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)
