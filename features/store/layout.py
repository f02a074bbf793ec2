"""Where the files of a feature set lie and what they are called: no other file knows."""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from features.io.atomic import PARTIAL_SUFFIX, fsync_folder
from features.io.entry import AnyPath
from features.io.filesystem import Filesystem, Location, filesystem_of, place
from features.io.parallel import map_ahead
from features.networks.network_file import FORMATS as NETWORK_FORMATS
from features.sources.content_hash import table_hash

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
FORMATS = ("tfrecord", "parquet")
MANIFEST = "manifest.json"
RUN_LOG = "runs.jsonl"
COMMIT_LOCK, RUNNING_LOCK = LOCKS = (".lock", ".running")
# Kinds of files that do not stay forever.
STATES, SHARDS, REPORTS, TABLES, NETWORKS, LEFTOVERS = KINDS = (
    "states", "shards", "reports", "tables", "networks", "leftovers"
)  # fmt: skip
WORK, _REPAIR = "work", "work/repair"
# What stays as long as the set does.
STAYING = (MANIFEST, RUN_LOG, *LOCKS)
_CLIPS, _REJECTS = "clips", "rejects"
CLIPS_PATTERN = f"{_CLIPS}-*.parquet"
"""What the files of a clips table that is several are called."""
_LEASE = "lease"
CLOCK = "clock"  # files that say what time it is where they lie
_UNIT = "[a-z]+(?:-[0-9]+)?-[0-9a-f]{24}"
_SHARD = f"{_UNIT}\\.(?:{'|'.join(FORMATS)})"
_REPORT = f"{_UNIT}\\.parquet"
_NONE = "(?!)"
_WRITER = "[0-9]+(?:-[0-9a-f]{8})?"  # of `features.io.atomic.writer_name`
_NUMBER = "[0-9]{6}|[1-9][0-9]{6,}"
_STATE = re.compile(f"manifest-({_NUMBER})\\.json")
# By folder: the kind of files and what their names are, by the rules of `Layout` and `features.update.plan`.
_NAMES = {
    "": (TABLES, f"{_CLIPS}-(?:{_NUMBER})-[0-9a-f]{{16}}\\.parquet|{_REJECTS}-(?:{_NUMBER})-[0-9a-f]{{16}}\\.csv"),
    "states": (STATES, _STATE.pattern),
    "shards": (SHARDS, _SHARD),
    "reports": (REPORTS, _REPORT),
    "networks": (NETWORKS, f"[0-9a-f]{{64}}(?:{'|'.join(map(re.escape, NETWORK_FORMATS.values()))})"),
    WORK: (
        LEFTOVERS,
        f"units-{_WRITER}(?:\\.(?:arrow|parquet)|-{_UNIT}\\.progress)|{_LEASE}-{_WRITER}"
        f"|{CLOCK}-{_WRITER}-[0-9a-f]{{8}}",
    ),
    # Where verify --repair builds.
    _REPAIR: (LEFTOVERS, _NONE),
    f"{_REPAIR}/shards": (LEFTOVERS, _SHARD),
    f"{_REPAIR}/reports": (LEFTOVERS, _REPORT),
}
PLACES = tuple(_NAMES)
# Those that runs make and remove, the innermost first.
WORK_PLACES = sorted((place for place in PLACES if place.startswith(WORK)), reverse=True)
_PARTIAL = f"\\.{_WRITER}{re.escape(PARTIAL_SUFFIX)}"
_PATTERNS = {
    place: (kind, re.compile(names), re.compile(f"(?:{names}{'' if place else f'|{re.escape(MANIFEST)}'}){_PARTIAL}"))
    for place, (kind, names) in _NAMES.items()
}
# A folder that holds nothing else is a set whose first run did not end.
_OWN_NAMES = {RUN_LOG, *LOCKS, *(place for place in PLACES if place and "/" not in place)}
_OWN_PREFIXES = (f"{_CLIPS}-", f"{_REJECTS}-", MANIFEST)


@dataclass(frozen=True)
class Layout:
    """The files of a feature set.

    Attributes:
        root: folder of the set, or its place in an object store.
        storage_format: `tfrecord` or `parquet`.
    """

    root: Location
    storage_format: str

    @property
    def files(self) -> Filesystem:
        """What reads and writes them."""
        return filesystem_of(self.root)

    def map(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """Yields what a function that reads files of the set returns of each item; in a store many at once."""
        return map(function, items) if self.files.is_local else map_ahead(function, items)

    def at_once(self, *asked: Callable[[], Any]) -> list[Any]:
        """Returns what functions that ask for files of the set return, one after the other; in a store all at once."""
        return list(self.map(lambda ask: ask(), asked))

    def path(self, name: str) -> Location:
        """Returns where a file lies that is named relative to the set, with `/`."""
        return self.root / name

    @property
    def manifest(self) -> Location:
        """The committed state."""
        return manifest_path(self.root)

    @property
    def run_log(self) -> Location:
        """A line per run."""
        return self.root / RUN_LOG

    @property
    def commit_lock(self) -> Location:
        """The file whose lock is held to change the state."""
        return self.root / COMMIT_LOCK

    @property
    def running_lock(self) -> Location:
        """The file whose lock runs hold that have finished shards which no state names yet."""
        return self.root / RUNNING_LOCK

    @property
    def shards_folder(self) -> Location:
        """Where shards lie."""
        return self.root / "shards"

    @property
    def reports_folder(self) -> Location:
        """Where reports lie."""
        return self.root / "reports"

    @property
    def states_folder(self) -> Location:
        """Where earlier states lie."""
        return self.root / "states"

    @property
    def networks_folder(self) -> Location:
        """Where the files of networks lie, by their sha256."""
        return self.root / "networks"

    def network(self, name: str) -> Location:
        """Returns where the file of a network lies, by the name that a spec has for it."""
        return self.networks_folder / name

    def shard(self, name: str) -> Location:
        """Returns where a shard lies."""
        return self.shards_folder / f"{name}.{self.storage_format}"

    def report(self, name: str) -> Location:
        """Returns where the report of a unit lies, which has the name of its shard."""
        return self.reports_folder / f"{name}.parquet"

    def reported(self) -> set[str]:
        """Returns the names of the units that have a report."""
        if isinstance(self.reports_folder, Path):
            return {path.stem for path in self.reports_folder.glob("*.parquet")}
        return set(self.report_versions())

    def is_begun(self) -> bool:
        """Returns whether a run has begun a set here."""
        if isinstance(self.reports_folder, Path):
            return self.reports_folder.is_dir()
        return next(iter(self.files.list(self.reports_folder)), None) is not None

    def shard_sizes(self) -> dict[str, int] | None:
        """Returns the bytes of all shards that are there by their names, by one listing; None of a folder.

        The files of a folder are asked for one by one, which takes no request.
        """
        if self.files.is_local:
            return None
        ending = f".{self.storage_format}"
        listed = ((place(entry.path).name, entry.size) for entry in self.files.list(self.shards_folder))
        return {name.removesuffix(ending): size for name, size in listed if name.endswith(ending)}

    def report_versions(self) -> dict[str, str]:
        """Returns the versions of all reports that are there by their names, by one listing; none of a folder."""
        if self.files.is_local:
            return {}
        listed = ((place(entry.path).name, entry.version) for entry in self.files.list(self.reports_folder))
        return {name.removesuffix(".parquet"): version for name, version in listed if name.endswith(".parquet")}

    def state(self, number: int) -> Location:
        """Returns where an earlier state lies."""
        return self.states_folder / f"manifest-{number:06d}.json"

    @property
    def work_folder(self) -> Location:
        """Where runs keep what goes with their end."""
        return self.root / WORK

    def work_list(self, writer: str) -> Location:
        """Returns where the work list of a run lies, by the name that the run writes under."""
        return self.work_folder / f"units-{writer}.arrow"

    def lease(self, writer: str) -> Location:
        """Returns where the lease of a run lies, by a name that no other run has."""
        return self.work_folder / f"{_LEASE}-{writer}"

    def leases(self) -> list[Location]:
        """Returns the leases of runs that go on, and of those that were killed."""
        listed = (place(entry.path) for entry in self.files.list(self.work_folder, recursive=False))
        return [path for path in listed if path.name.startswith(f"{_LEASE}-")]

    @property
    def scratch(self) -> "Layout":
        """Where shards and reports are made again before they take the place of damaged ones."""
        return Layout(self.root / _REPAIR, self.storage_format)

    def make_folders(self) -> None:
        """Makes the folders of a set, and those above it, so that their names are durable; a store has none."""
        if not isinstance(self.root, Path):
            return
        new = [above for above in (self.root, *self.root.parents) if not above.exists()]
        for folder in (self.root / "shards", self.root / "reports"):
            folder.mkdir(parents=True, exist_ok=True)
        for made in new or [self.root]:
            fsync_folder(made)
            fsync_folder(made.parent)

    def remove_work_folder(self) -> None:
        """Removes the folder of work; not where another run has something in it."""
        if isinstance(self.work_folder, Path):
            with contextlib.suppress(OSError):
                self.work_folder.rmdir()


def manifest_path(folder: AnyPath) -> Location:
    """Returns where the committed state of a set lies, which names the format of its shards."""
    return place(folder) / MANIFEST


def earlier_states(folder: AnyPath) -> list[Location]:
    """Returns where the earlier states of a set lie, the earliest first."""
    listed = filesystem_of(folder).list(place(folder) / "states", recursive=False)
    found = [path for path in (place(entry.path) for entry in listed) if _STATE.fullmatch(path.name)]
    return sorted(found, key=lambda path: (len(path.name), path.name))


def clips_name(state: int, digest: str) -> str:
    """Returns what a file of the clips table of a state is called; `digest` is the `table_hash` of its bytes."""
    return f"{_CLIPS}-{state:06d}-{digest}.parquet"


def rejects_name(state: int, content: bytes) -> str:
    """Returns what the table of rejects of a state is called: its name holds a hash of its bytes."""
    return f"{_REJECTS}-{state:06d}-{table_hash(content)}.csv"


def kind_of(place: str, name: str) -> str | None:
    """Returns of which of `KINDS` a file in one of `PLACES` is by its name, None where it is not the set's own."""
    kind, names, partial = _PATTERNS[place]
    if names.fullmatch(name):
        return kind
    return LEFTOVERS if partial.fullmatch(name) else None


def state_number(path: str) -> int | None:
    """Returns the number of the state that a file holds by its path relative to the set, None for another file."""
    place, name = os.path.split(path)
    match = _STATE.fullmatch(name)
    return int(match[1]) if match and place == "states" else None


def is_own(name: str) -> bool:
    """Returns whether a file or folder of this name in a set's folder may be of a run that was interrupted."""
    return name in _OWN_NAMES or name.startswith(_OWN_PREFIXES)
