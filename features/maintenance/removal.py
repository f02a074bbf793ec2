"""What goes from a feature set, in which order, and what stays."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from features.errors import RunError
from features.io.atomic import fsync_folder
from features.io.entry import AnyPath
from features.io.filesystem import Location, Uri
from features.runtime.log import LOG
from features.runtime.progress import Progress
from features.store.inventory import Inventory, SetFile, names_of, read_state, take_inventory
from features.store.layout import (
    KINDS,
    LEFTOVERS,
    NETWORKS,
    REPORTS,
    SHARDS,
    STATES,
    WORK,
    WORK_PLACES,
    Layout,
    kind_of,
)
from features.store.locks import alone, is_running, now_ns
from features.store.manifest import Manifest, load_manifest


@dataclass(frozen=True)
class Choice:
    """What goes from a set, and what stays.

    Attributes:
        layout: of the set.
        committed: number of the committed state.
        latest: numbers of the earlier states that stay as the latest.
        young: numbers of those that stay as they were superseded a short time ago.
        going: files that go, states first.
        waiting: files that no state names that stays, too young to go.
        inventory: all that is there.
    """

    layout: Layout
    committed: int
    latest: list[int]
    young: list[int]
    going: list[SetFile]
    waiting: list[SetFile]
    inventory: Inventory

    @property
    def states(self) -> list[int]:
        """Numbers of the states that go."""
        return [file.state for file in self.going if file.state is not None]


def choose(
    layout: Layout, manifest: Manifest, keep: int, min_age_ns: int, now_ns: int, held: Iterable[Location] = ()
) -> Choice:
    """Finds out what goes; reads only.

    Args:
        layout: of the set.
        manifest: its committed state.
        keep: how many of the latest earlier states stay.
        min_age_ns: a state that was superseded less long ago stays, and so does a file that is younger; 0 for any age.
        now_ns: the time, in nanoseconds since the epoch.
        held: leases of runs that go on, which go with these.

    Raises:
        RunError: it cannot be found out what an earlier state names.
    """

    def is_old(file: SetFile) -> bool:
        return not min_age_ns or now_ns - file.mtime_ns >= min_age_ns

    inventory = take_inventory(layout)
    states = inventory.states
    # A number that is no smaller was left by a commit that did not end, or before an old state was restored by hand.
    earlier = [number for number in states if number < manifest.state]
    latest = earlier[max(0, len(earlier) - keep) :] if keep else []
    # The file of a state was written as the next one took its place.
    staying = {number for number, file in states.items() if number in latest or not is_old(file)}
    named = names_of(manifest) | {f"{WORK}/{path.name}" for path in held}
    for number, names in _states(layout, inventory):
        if number in staying:
            named |= names
        if number in staying and number in earlier:
            named.add(states[number].path)
    others = [file for file in inventory.files if file.path not in named]
    waiting = [file for file in others if not is_old(file)]
    young = [number for number in earlier if number in staying and number not in latest]
    return Choice(
        layout=layout,
        committed=manifest.state,
        latest=latest,
        young=young,
        going=[file for file in others if is_old(file)],
        waiting=waiting,
        inventory=inventory,
    )


def prune(folder: AnyPath, keep: int = 0, min_age_ns: int = 0, dry_run: bool = False) -> Choice:
    """Removes from a set what no state names that stays.

    Args:
        folder: the set.
        keep: how many earlier states stay, the latest.
        min_age_ns: a state that was superseded less long ago stays, and so does a file that is younger.
        dry_run: only finds out what would go.

    Returns:
        What went, or would go.

    Raises:
        UsageError: the folder is not a complete feature set.
        RunError: a featurize is running, a state cannot be read, or a file cannot be removed.
    """
    manifest = load_manifest(folder)  # before the locks, which are files in it
    layout = manifest.layout(folder)
    if dry_run:
        held = layout.leases() if is_running(layout) else []
        return choose(layout, manifest, keep, min_age_ns, now_ns(layout), held)
    with alone(layout):
        choice = choose(layout, load_manifest(folder), keep, min_age_ns, now_ns(layout))
        _remove(layout, choice.going)
    return choice


def _states(layout: Layout, inventory: Inventory) -> Iterator[tuple[int, set[str]]]:
    """Yields number and named files of all states in `states`; raises `RunError` where they cannot be known."""
    way_out = "; nothing was removed. Where that state is not read any more, remove the file and prune again"
    for path in inventory.links:
        if path.startswith(STATES):
            raise RunError(f"{layout.path(path)} is a link, which prune does not follow, so it is not known what "
                           "earlier states name; nothing was removed. Put in its place what it leads to")  # fmt: skip
    for number, file in inventory.states.items():
        try:
            yield number, names_of(read_state(layout, file))
        except (RunError, FileNotFoundError) as error:
            raise RunError(f"which shards state {number} names cannot be read: {error}{way_out}") from error


def _remove(layout: Layout, files: list[SetFile]) -> None:
    """Removes states and then what they named: killed in between, it leaves no state that names a missing file."""
    progress = Progress("prune", len(files), "files")
    done = 0

    def remove(file: SetFile) -> None:
        LOG.debug("removing %s", file.path)
        try:
            layout.files.delete(layout.path(file.path))
        except OSError as error:
            raise RunError(f"cannot remove {layout.path(file.path)}: {error.strerror}; {done:,} files were removed "
                           "before it, see who owns the folder and prune again") from error  # fmt: skip

    try:
        for kind in KINDS:
            held = [file for file in files if file.kind == kind]
            for _ in layout.map(remove, held):
                done += 1
                progress.update(done)
            for place in sorted({os.path.dirname(file.path) for file in held}) if layout.files.is_local else ():
                fsync_folder(layout.path(place))
    finally:
        progress.close()
    if layout.files.is_local and any(file.path.startswith(f"{WORK}/") for file in files):
        for place in WORK_PLACES:
            with contextlib.suppress(OSError):  # it is not there, or something younger is in it
                os.rmdir(layout.path(place))


def remove_partials(layout: Layout) -> None:
    """Removes the halves of files that killed processes left; not where a run is at work, as one may be its.

    In an object store there are none: what is there is whole.
    """
    if isinstance(layout.root, Uri) or is_running(layout):
        return
    with contextlib.suppress(RunError), alone(layout):
        for place in ("", SHARDS, REPORTS, NETWORKS):
            folder = layout.path(place)
            with contextlib.suppress(FileNotFoundError):  # a set without a network has no folder for one
                names = [name for name in os.listdir(folder) if kind_of(place, name) == LEFTOVERS]
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(os.path.join(folder, name))
