"""The plan of scoring: the windows of files, dealt into batches in the order of the CSV.

A plan is columns: that of a million files takes as many bytes as their paths and a few numbers each.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.audio.recording import probe_all
from features.errors import ClipError, Reject
from features.frontend.spec import FeatureSpec
from features.frontend.windows import DROP, PAD, Windowing, num_windows
from features.io.entry import AnyPath
from features.io.unit_file import UnitFile, write_units
from features.sources.paths import clip_file
from model.inference.litert import BATCH_CLIPS

BATCH_NETWORK_WINDOWS = 64
"""Windows that the front end's network takes of a batch: two seconds of BirdNET's on one core."""
_SCHEMA = pa.schema({"path": pa.string(), "first_window": pa.int64(), "num_windows": pa.int64()})
_OF_REJECTS = ("stage", "reason", "message")
HEADERS_SCHEMA = pa.schema(
    {
        "windows": pa.int64(),
        "shortened": pa.bool_(),
        "seconds": pa.float64(),
        "rate_hz": pa.int32(),
        "in_order": pa.bool_(),
        **dict.fromkeys(_OF_REJECTS, pa.string()),
    }
)
"""What the headers of files say: how many windows, whether a last one is left out, how long the file is, its rate, and
whether its windows are to be decoded in their order; or, with zeros for these, why there are none."""


@dataclass(frozen=True, slots=True)
class WindowUnit:
    """One unit of scoring: some windows of one file.

    Attributes:
        path: of the file, relative to the root, as `features.sources.paths.escape_path` writes it.
        first_window: number of the first window.
        num_windows: how many follow one another from there.
    """

    path: str
    first_window: int
    num_windows: int


Batch = list[WindowUnit]


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be done: units in the order of the CSV, dealt into batches of `BATCH_CLIPS` windows at most.

    Where the front end runs a network, that costs a hundred times what all else does: of its windows a batch has
    `BATCH_NETWORK_WINDOWS` at most then, but for a window of a recording that has more alone.

    Attributes:
        paths: of all files, escaped, in the order of the CSV.
        files: for each unit the number of its file.
        first_windows: for each unit the number of its first window.
        num_windows: for each unit how many follow one another from there.
        ends: for each batch the number of the unit after its last one.
        rejects: the files whose header cannot be read.
        shortened: whether a last window of a file is left out, as it is too short.
        seconds: for each file how long it is, 0 of a reject.
        rates_hz: for each file its sample rate, 0 of a reject.
        in_order: for each file whether its windows are to be decoded in their order, as `AudioInfo` has it.
        network_windows: for each file how many windows the front end's network takes of one of its windows, 0 of a
            front end without one.
        recorders: for each file what its recorder says, None where that was not read.
    """

    paths: pa.ChunkedArray
    files: NDArray[np.int64]
    first_windows: NDArray[np.int64]
    num_windows: NDArray[np.int64]
    ends: NDArray[np.int64]
    rejects: list[Reject]
    shortened: NDArray[np.bool_]
    seconds: NDArray[np.float64]
    rates_hz: NDArray[np.int32]
    in_order: NDArray[np.bool_]
    network_windows: NDArray[np.int64]
    recorders: pa.Table | None = None

    @property
    def batch_windows(self) -> NDArray[np.int64]:
        """Number of windows of each batch."""
        return np.diff(np.cumsum(self.num_windows)[self.ends - 1], prepend=0)

    @property
    def batch_network_windows(self) -> NDArray[np.int64]:
        """Number of windows that the front end's network takes of each batch."""
        of_units = self.num_windows * self.network_windows[self.files]
        return np.diff(np.cumsum(of_units)[self.ends - 1], prepend=0)

    @property
    def batch_seconds(self) -> NDArray[np.float64]:
        """Seconds of sound of each batch: of a file that is split, in proportion to the windows."""
        of_files = np.bincount(self.files, self.num_windows, len(self.paths))
        of_units = self.seconds[self.files] * self.num_windows / of_files[self.files]
        return np.diff(np.cumsum(of_units)[self.ends - 1], prepend=0.0)

    @property
    def batch_goes_on(self) -> NDArray[np.bool_]:
        """Whether each batch is to be labelled behind the one before it, by the same process: a recording goes on."""
        first = np.append(0, self.ends[:-1])[: len(self.ends)]
        goes_on: NDArray[np.bool_] = self.in_order[self.files[first]] & (self.first_windows[first] > 0)
        return goes_on

    def batches(self) -> Iterator[Batch]:
        """Yields the batches."""
        first = 0
        for last in self.ends.tolist():
            yield _batch(self._rows(first, last))
            first = last

    def unit_paths(self, number: int) -> list[str]:
        """Returns the path of each unit of a batch."""
        files = self.files[self.ends[number - 1] if number else 0 : self.ends[number]]
        paths: list[str] = self.paths.take(pa.array(files)).to_pylist()
        return paths

    def write(self, path: AnyPath) -> None:
        """Writes the batches as a work list."""
        write_units(path, _SCHEMA, self.ends, self._rows)

    def num_shortened(self, without: Iterable[str] = ()) -> int:
        """Returns how many files lack a last window, without those of some paths."""
        return int((self.shortened & ~self._named(without)).sum())

    def total_seconds(self, without: Iterable[str] = ()) -> float:
        """Returns how long all files are together, without those of some paths."""
        return float(self.seconds[~self._named(without)].sum())

    def units_of(self, paths: Iterable[str]) -> Counter[str]:
        """Returns how many units each of some files has."""
        files = np.flatnonzero(self._named(paths))
        units = np.bincount(self.files, minlength=len(self.paths))[files]
        counts: Counter[str] = Counter()
        for path, count in zip(self.paths.take(files).to_pylist(), units.tolist(), strict=True):
            counts[path] += count
        return counts

    def _named(self, paths: Iterable[str]) -> NDArray[np.bool_]:
        """Returns for each file whether its path is one of some."""
        return np.asarray(pc.is_in(self.paths, value_set=_strings(paths)), np.bool_)

    def _rows(self, first: int, last: int) -> pa.Table:
        paths = self.paths.take(pa.array(self.files[first:last]))
        return pa.table([paths, self.first_windows[first:last], self.num_windows[first:last]], schema=_SCHEMA)


def plan_batches(root: str, paths: Sequence[str], spec: FeatureSpec, windowing: Windowing) -> Plan:
    """Deals the windows of files into batches, in the order of the files; see `read_headers` and `deal`."""
    return deal(pa.chunked_array([_strings(paths)]), read_headers(root, paths, spec, windowing), spec)


def read_headers(root: str, paths: Iterable[str], spec: FeatureSpec, windowing: Windowing) -> pa.Table:
    """Returns what the headers of files say, a row each, of `HEADERS_SCHEMA`.

    Args:
        root: where the paths begin.
        paths: of the files, escaped.
        spec: the front end.
        windowing: where windows begin, and which last one is kept.
    """
    rows: list[tuple[int, bool, float, int, bool, str | None, str | None, str | None]] = []
    # By their length alone; recordings of one length are many, and to count takes longer than to read the header.
    counts: dict[tuple[int, int], tuple[int, bool]] = {}
    for info in probe_all(clip_file(root, path) for path in paths):
        if isinstance(info, ClipError):
            rows.append((0, False, 0.0, 0, False, info.stage, str(info.reason), info.message))
            continue
        length = info.frames, info.rate_hz
        if length not in counts:
            count = num_windows(info, spec, windowing)
            counts[length] = count, count < num_windows(info, spec, Windowing(windowing.hop_samples))
        rows.append((*counts[length], info.frames / info.rate_hz, info.rate_hz, info.in_order, None, None, None))
    columns = zip(*rows, strict=True) if rows else [()] * len(HEADERS_SCHEMA)
    return pa.table(list(map(list, columns)), schema=HEADERS_SCHEMA)


def deal(paths: pa.ChunkedArray, headers: pa.Table, spec: FeatureSpec) -> Plan:
    """Deals the windows of files into batches, in the order of the files.

    A file is split only where its windows alone are more than a batch.

    Args:
        paths: of the files, escaped.
        headers: what `read_headers` returns of them.
        spec: the front end.
    """
    windows, network_windows = headers["windows"].to_numpy(), _network_windows(spec, headers)
    costs = np.maximum(network_windows, 1)
    room = BATCH_CLIPS if spec.network_name is None else BATCH_NETWORK_WINDOWS
    most = np.maximum(room // costs, 1)  # of each file, in one unit
    pieces = -(-windows // most)
    files = np.repeat(np.arange(len(windows)), pieces)
    first_windows = most[files] * (np.arange(len(files)) - np.repeat(np.cumsum(pieces) - pieces, pieces))
    of_units = np.minimum(most[files], windows[files] - first_windows)
    refused = pa.array(np.flatnonzero(headers["reason"].is_valid()))
    reasons = (column.take(refused).to_pylist() for column in (paths, *headers.select(_OF_REJECTS).columns))
    return Plan(
        paths=paths,
        files=files,
        first_windows=first_windows,
        num_windows=of_units,
        ends=_batch_ends(of_units * costs[files], room),
        rejects=[Reject(*of_file) for of_file in zip(*reasons, strict=True)],
        shortened=np.asarray(headers["shortened"], np.bool_),
        seconds=headers["seconds"].to_numpy(),
        rates_hz=headers["rate_hz"].to_numpy(),
        in_order=np.asarray(headers["in_order"], np.bool_),
        network_windows=network_windows,
    )


def _network_windows(spec: FeatureSpec, headers: pa.Table) -> NDArray[np.int64]:
    """Returns for each file how many windows the front end's network takes of one of its windows."""
    if spec.network_sha256 is None:
        return np.zeros(len(headers), np.int64)
    if spec.clip_samples is not None:
        return np.full(len(headers), spec.count_frames(spec.clip_samples))
    samples = np.ceil(headers["seconds"].to_numpy() * spec.sample_rate_hz).astype(np.int64)
    return np.array([spec.count_frames(length) for length in samples.tolist()], np.int64)


def _batch_ends(costs: NDArray[np.int64], room: int) -> NDArray[np.int64]:
    """Returns for each batch the number of the unit after its last one: it takes what follows as long as that fits."""
    until = np.cumsum(costs).tolist()
    ends: list[int] = []
    end = cost = 0
    while end < len(until):
        # A recording that is one window, however long it is, may be more than a batch by itself.
        end = max(end + 1, bisect_right(until, cost + room, lo=end))
        cost = until[end - 1]
        ends.append(end)
    return np.array(ends, np.int64)


def shortened_sentence(count: int, least_seconds: float, tail: str = PAD) -> str:
    """Returns what the last paragraph says of last windows that were left out."""
    if not count:
        return ""
    windows = "1 last window" if count == 1 else f"{count:,} last windows"
    return f" Left out: {windows} {'not whole' if tail == DROP else f'of less than {least_seconds:g} s'}."


def read_batch(work_list: UnitFile, number: int) -> Batch:
    """Reads one batch of an open work list."""
    return _batch(work_list.read(number)[1])


def _batch(rows: pa.Table) -> Batch:
    return list(map(WindowUnit, *(column.to_pylist() for column in rows.columns)))


def _strings(texts: Iterable[str]) -> pa.Array:
    return pa.array(list(texts), pa.string())
