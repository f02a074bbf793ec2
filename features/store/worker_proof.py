"""What a worker proves before it works: that it sees the driver's recordings, and computes with the same libraries.

Workers may be on other hosts. One that lacks the disk of the recordings would take all of them for missing, one with
other libraries or decoders would give other values: that ends the run, and is no reject.
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import RunError, UsageError
from features.io.filesystem import filesystem_of, is_uri
from features.io.parallel import map_ahead
from features.runtime.threads import pin_threads
from features.sources.paths import clip_file
from features.store.lease import Lease, this_process

# Some files may go or may not be readable at all: of so many, spread over the list, the first that are there are taken.
_CANDIDATES, _PROBES = 16, 3
_NONE = "none"


@dataclass(frozen=True)
class WorkerProof:
    """What the driver sees, and each worker has to see too.

    Attributes:
        root: where the clips' paths begin.
        probes: path and size of some of its files, as they were listed.
        versions: of the libraries and programs that decode and compute, by their names.
    """

    root: str
    probes: tuple[tuple[str, int], ...]
    versions: Mapping[str, str]

    def check(self, lease: Lease, versions: Mapping[str, str]) -> None:
        """Proves it, once in a process for a run; and has a worker's libraries compute on one thread from then on.

        Args:
            lease: of the run; that it was read and dated proves that the output is seen and can be written.
            versions: as they are here.

        Raises:
            RunError: something is not as the driver sees it.
        """
        proven = lease.token, *sorted(self.versions.items())
        with _proving:
            if proven in _proven:
                return
            if not lease.is_held_here:
                pin_threads()
                self.check_source()
            self._check_versions(versions)
            _proven.add(proven)

    def check_source(self) -> None:
        """Raises `RunError` where the recordings are not to be seen; what is missing then is no reject."""
        if not self.probes or any(_is_seen(self.root, path, size) for path, size in self.probes):
            return
        path, size = self.probes[0]
        raise RunError(
            f"{this_process()} does not see the recordings in {self.root}, where the driver saw {clip_file('', path)} "
            f"of {size:,} bytes; mount on every worker's host what the driver reads, under the same path, and run it "
            "again"
        )

    def _check_versions(self, here: Mapping[str, str]) -> None:
        names = sorted(self.versions.keys() | here.keys())
        pairs = [(name, here.get(name, _NONE), self.versions.get(name, _NONE)) for name in names]
        if others := [f"{name} {own}, not {wanted}" for name, own, wanted in pairs if own != wanted]:
            raise RunError(
                f"{this_process()} has other libraries or decoders than the driver, and would compute other values: "
                f"{'; '.join(others)}; install the same versions on every worker's host, and run it again"
            )


def make_proof(root: str, files: pa.Table, versions: Mapping[str, str]) -> WorkerProof:
    """Returns what workers have to prove, as this process sees it.

    Args:
        root: where the paths begin.
        files: table with `path` and `size`.
        versions: of the libraries and programs that decode and compute.
    """
    candidates, probes = list(_candidates(files)), list[tuple[str, int]]()
    at_once = map_ahead if is_uri(root) else map
    while candidates and len(probes) < _PROBES:
        asked, candidates = candidates[:_PROBES], candidates[_PROBES:]
        seen = at_once(lambda one: _is_seen(root, *one), asked)
        probes += [one for one, is_seen in zip(asked, seen, strict=True) if is_seen]
    return WorkerProof(root, tuple(probes[:_PROBES]), dict(versions))


def _candidates(files: pa.Table) -> Iterator[tuple[str, int]]:
    files = files.filter(pc.greater(files["size"], 0))
    if len(files):
        numbers = np.unique(np.linspace(0, len(files) - 1, _CANDIDATES).astype(np.int64))
        chosen = files.select(["path", "size"]).take(pa.array(numbers))
        yield from zip(chosen["path"].to_pylist(), chosen["size"].to_pylist(), strict=True)


def _is_seen(root: str, path: str, size: int) -> bool:
    """Returns whether a file is there and can be read, of this size or more: what is recorded just now grows."""
    place = clip_file(root, path)
    try:
        return len(filesystem_of(place).read_range(place, size - 1, 1)) == 1
    except (OSError, UsageError):  # of a store also: no credentials, or it does not answer
        return False


_proven: set[tuple[object, ...]] = set()
_proving = threading.Lock()
