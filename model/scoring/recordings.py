"""What is known of each recording beside its sound, and what a scoring writes of it: columns that are kept, and times.

Headers are read for it where those of the sound are read, in units of files where there are many.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.audio.recorder_header import read_recorder_headers
from features.errors import Reject, UsageError
from features.runtime.log import LOG
from features.runtime.quantities import counted
from features.sources.clips import Source
from features.sources.paths import clip_file
from features.sources.recording_time import HEADER, NAME, PATTERN, SOURCES, UNKNOWN, TimeRules, find_start
from features.sources.start_times import StartTimes
from model.labels.recording_columns import START_TIME, RecordingColumns

_RECORDED_AT = "recorded_at"
OF_HEADERS = ("latitude", "longitude", "temperature_c")
"""Columns that headers of recorders have: degrees to the north and to the east by WGS 84, degrees Celsius."""
RECORDERS_SCHEMA = pa.schema({_RECORDED_AT: pa.string(), **dict.fromkeys(OF_HEADERS, pa.float64())})
"""What recorders say in the headers of files, nothing where they do not say so; a time by ISO 8601."""
# Columns that outputs have anyway.
_TAKEN = frozenset({"path", "start_seconds", "end_seconds", "label", "probability", "rank", "peak_probability",
                    "mean_probability", "windows", "embedding", START_TIME})  # fmt: skip
_TEXTS_AT_ONCE = 65_536
_SHOWN = {PATTERN: "by --time-pattern", HEADER: "from headers", NAME: "from names", UNKNOWN: "unknown"}


@dataclass(frozen=True)
class ColumnOptions:
    """Which columns outputs have of each recording.

    Attributes:
        keep: columns of the table that names the recordings, or of `OF_HEADERS`.
        start_time: whether each row has its time of day.
        rules: what says when a recording began beside its header and its name.
    """

    keep: tuple[str, ...] = ()
    start_time: bool = False
    rules: TimeRules = field(default_factory=TimeRules)

    def __post_init__(self) -> None:
        """Refuses columns that outputs have anyway."""
        for name in self.keep:
            if name in _TAKEN or name.startswith("probability_"):
                raise UsageError(f"--keep-columns names columns to add, and {name!r} is one that outputs have; leave "
                                 "it out, or rename it in the table")  # fmt: skip

    @property
    def described(self) -> dict[str, object]:
        """All of it, as JSON has it."""
        pattern, zone = self.rules.pattern, self.rules.zone
        return {
            "keep": list(self.keep),
            "start_time": self.start_time,
            "time_pattern": None if pattern is None else pattern.pattern,
            "timezone": None if zone is None else str(zone),
        }

    def reads_headers(self, source: Source) -> bool:
        """Returns whether headers of recorders are wanted; raises `UsageError` for a column that is nowhere."""
        there = [] if source.kept is None else source.kept.column_names
        missing = [name for name in self.keep if name not in there]
        for name in missing:
            if name not in OF_HEADERS:
                table = "the input is not a table" if source.table is None else f"{source.table} does not have it"
                raise UsageError(f"--keep-columns takes columns of a table as --input, and {', '.join(OF_HEADERS)} of "
                                 f"headers; {name!r} is none of these, and {table}")  # fmt: skip
        return self.start_time or bool(missing)


def read_recorders(root: str, paths: Iterable[str]) -> pa.Table:
    """Returns what recorders say in the headers of files, a row each, of `RECORDERS_SCHEMA`.

    Args:
        root: where the paths begin.
        paths: of the files, escaped.
    """
    headers = read_recorder_headers(clip_file(root, path) for path in paths)
    rows = [(time and time.isoformat(), *others) for time, *others in headers]
    columns = zip(*rows, strict=True) if rows else [()] * len(RECORDERS_SCHEMA)
    return pa.table(list(map(list, columns)), schema=RECORDERS_SCHEMA)


@dataclass(frozen=True, eq=False)
class Recordings:
    """What is known of recordings.

    Attributes:
        columns: that outputs have of them; None where none were requested.
        warnings: of their times.
        paths: of them, escaped.
        sources: for each what its time was taken from, as a number in `SOURCES`; None where times were not requested.
    """

    columns: RecordingColumns | None
    warnings: list[Reject]
    paths: pa.ChunkedArray
    sources: NDArray[np.int8] | None

    def counts(self, without: Iterable[str]) -> dict[str, int]:
        """Returns how many times were taken from each of `SOURCES`, without those of some paths."""
        if self.sources is None:
            return {}
        left_out = pc.is_in(self.paths, value_set=pa.array(list(without), pa.string()))
        of_source = np.bincount(self.sources[~np.asarray(left_out, np.bool_)], minlength=len(SOURCES))
        return dict(zip(SOURCES, of_source.tolist(), strict=True))


def describe_recordings(source: Source, recorders: pa.Table | None, options: ColumnOptions) -> Recordings:
    """Puts together what is known of the recordings of a source.

    Args:
        source: of the recordings, with the columns of its table that are kept.
        recorders: what `read_recorders` returns of them, None where no header was read.
        options: which columns are wanted.
    """
    paths = source.clips["path"]
    if not options.keep and not options.start_time:
        return Recordings(None, [], paths, None)
    of_table = {} if source.kept is None else dict(zip(source.kept.column_names, source.kept.columns, strict=True))
    of_headers = {} if recorders is None else {name: recorders[name] for name in OF_HEADERS}
    kept = pa.table({name: {**of_headers, **of_table}[name] for name in options.keep})
    if not options.start_time or recorders is None:
        return Recordings(RecordingColumns(paths.combine_chunks(), kept), [], paths, None)
    warnings: list[Reject] = []
    sources: list[int] = []

    def starts() -> Iterator[datetime | None]:
        for path, header in zip(_texts(paths), _texts(recorders[_RECORDED_AT]), strict=True):
            start = find_start(path, header and datetime.fromisoformat(header), options.rules)
            sources.append(SOURCES.index(start.source))
            warnings.extend(Reject(path, "scan", code, message) for code, message in start.warnings)
            yield start.time

    columns = RecordingColumns(paths.combine_chunks(), kept, StartTimes(list(starts())))
    if options.rules.pattern is not None and SOURCES.index(PATTERN) not in sources:
        LOG.warning("--time-pattern %r finds no time in any of %s, such as %s",
                    options.rules.pattern.pattern, counted(len(paths), "path"), paths[0])  # fmt: skip
    return Recordings(columns, warnings, paths, np.array(sources, np.int8))


def _texts(column: pa.ChunkedArray) -> Iterator[Any]:
    """Yields texts without holding all of them at once."""
    for first in range(0, len(column), _TEXTS_AT_ONCE):
        yield from column.slice(first, _TEXTS_AT_ONCE).to_pylist()


def start_times_sentence(counts: dict[str, int]) -> str:
    """Returns what the last paragraph says of the times, by `Recordings.counts`."""
    if not any(counts.values()):
        return ""
    return f" Start times: {', '.join(f'{count:,} {_SHOWN[source]}' for source, count in counts.items() if count)}."
