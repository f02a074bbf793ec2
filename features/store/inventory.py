"""What lies in the folder of a feature set: its own files, the states that name them, and what is not its own."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from features.errors import RunError, UsageError
from features.sources.paths import escape_path
from features.store.layout import KINDS, PLACES, STATES, STAYING, Layout, kind_of, state_number
from features.store.manifest import Manifest


@dataclass(frozen=True)
class SetFile:
    """A file of a feature set that does not stay forever.

    Attributes:
        path: relative to the set, with `/`.
        kind: one of `KINDS`.
        bytes: its size.
        mtime_ns: its modification time.
    """

    path: str
    kind: str
    bytes: int
    mtime_ns: int

    @property
    def state(self) -> int | None:
        """Number of the state that it holds, None where it is another file."""
        return state_number(self.path)


@dataclass(frozen=True)
class Inventory:
    """What lies in the folder of a set beside its manifest, its run log and its locks.

    Attributes:
        files: its own files, by kind and path.
        foreign: paths of what is not its own, escaped; those of folders end in `/`.
        links: paths of what would be its own and is a link, which nothing follows.
    """

    files: list[SetFile]
    foreign: list[str]
    links: list[str]

    @property
    def states(self) -> dict[int, SetFile]:
        """The files of states by number, the earliest first."""
        return dict(sorted((file.state, file) for file in self.files if file.state is not None))


@dataclass(frozen=True)
class Unreferenced:
    """The files of a set that its committed state does not name.

    Attributes:
        by_none: those that no state names.
        by_earlier: those that earlier states name alone, and these states.
        states: numbers of the earlier states that are there.
        unreadable: why a state cannot be read, by its path; what it alone names counts as named by none.
    """

    by_none: list[SetFile]
    by_earlier: list[SetFile]
    states: list[int]
    unreadable: dict[str, str]


def take_inventory(layout: Layout) -> Inventory:
    """Looks through the folder of a set; neither follows links nor goes into folders that are not the set's."""
    if not isinstance(layout.root, Path):
        return _of_objects(layout)
    files: list[SetFile] = []
    foreign: list[str] = []
    links: list[str] = []
    for place in PLACES:
        if place.startswith(tuple(f"{link}/" for link in links)):
            continue
        if place and (layout.root / place).is_symlink():
            links.append(place)
            continue
        for entry in _entries(layout.root / place):
            path = f"{place}/{entry.name}" if place else entry.name
            if path in PLACES or path in STAYING:
                continue
            found = kind_of(place, entry.name)
            if found is None or not entry.is_file(follow_symlinks=False):
                ending = "/" if entry.is_dir(follow_symlinks=False) else ""
                held = links if found and entry.is_symlink() else foreign
                held.append(escape_path(os.fsencode(path)) + ending)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # a run has removed or renamed it
                continue
            files.append(SetFile(path, found, status.st_size, status.st_mtime_ns))
    files.sort(key=lambda file: (KINDS.index(file.kind), file.path))
    return Inventory(files, sorted(foreign), sorted(links))


def _of_objects(layout: Layout) -> Inventory:
    """Looks through the objects of a set, by one listing; what is below a place that is not the set's is foreign."""
    files: list[SetFile] = []
    foreign: set[str] = set()
    for entry in layout.files.list(layout.root):
        path = entry.path[len(str(layout.root)) + 1 :]
        place, _, name = path.rpartition("/")
        if path in STAYING:
            continue
        found = kind_of(place, name) if place in PLACES else None
        if found is None:
            top = next((path[: len(above) + 1] for above in _above(place) if above not in PLACES), None)
            foreign.add(path if top is None else top)
            continue
        files.append(SetFile(path, found, entry.size, entry.mtime_ns))
    files.sort(key=lambda file: (KINDS.index(file.kind), file.path))
    return Inventory(files, sorted(foreign), [])


def _above(place: str) -> list[str]:
    """Returns a folder and those that it lies in, the outermost first."""
    parts = place.split("/") if place else []
    return ["/".join(parts[: number + 1]) for number in range(len(parts))]


def unreferenced(layout: Layout, manifest: Manifest) -> Unreferenced:
    """Finds what the committed state of a set does not name; reads only, and takes no lock.

    Args:
        layout: of the set.
        manifest: its committed state.
    """
    inventory = take_inventory(layout)
    committed, earlier = names_of(manifest), set[str]()
    linked = [path for path in inventory.links if path.startswith(STATES)]
    unreadable = {path: f"{layout.path(path)} is a link, which is not followed" for path in linked}
    for file in inventory.states.values():
        try:
            earlier |= names_of(read_state(layout, file))
        except FileNotFoundError:
            continue
        except RunError as error:
            unreadable[file.path] = str(error)
    others = [file for file in inventory.files if file.path not in committed]
    by_earlier = [file for file in others if file.kind == STATES or file.path in earlier]
    by_none = [file for file in others if not (file.kind == STATES or file.path in earlier)]
    return Unreferenced(by_none, by_earlier, [n for n in inventory.states if n < manifest.state], unreadable)


def names_of(manifest: Manifest) -> set[str]:
    """Returns the files that a state names, relative to its set: tables, shards with their reports, and a network."""
    # Paths are made once: of a hundred thousand shards they would take seconds.
    layout = manifest.layout("")
    patterns = [str(layout.shard("{}")), str(layout.report("{}"))]
    shards = manifest.all_shards
    named = {pattern.format(shard.name) for shard in shards for pattern in patterns}
    networks = set() if manifest.network is None else {str(layout.network(manifest.network["file"]))}
    return named | networks | {part.file for part in manifest.clips_tables} | {manifest.rejects_file}


def read_state(layout: Layout, file: SetFile) -> Manifest:
    """Reads an earlier state.

    Raises:
        FileNotFoundError: it is no longer there.
        RunError: it cannot be read.
    """
    path = layout.path(file.path)
    try:
        return Manifest.from_json(layout.files.read(path).decode(), str(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, UsageError) as error:
        raise RunError(f"{path} is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)) from error


def total_bytes(files: Iterable[SetFile]) -> int:
    """Returns how many bytes files have together."""
    return sum(file.bytes for file in files)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):  # a set has a folder when it has something to put there
        return
