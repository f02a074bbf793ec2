"""Options of scoring, some of which predict shares, and what they say together."""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass

from features.errors import UsageError
from features.frontend.windows import PAD, TAILS
from features.runtime.quantities import counted
from features.sources.paths import absolute_path
from features.sources.recording_time import TimeRules, read_pattern, read_zone
from features.sources.table_layout import option_name
from model.labels.cut_outs import check_cut_outs_folder
from model.labels.embeddings import EMBEDDING_TYPES, check_embeddings_name
from model.labels.events import DEFAULT_THRESHOLD, EventOptions
from model.labels.selection_tables import SELECTION_FORMS
from model.scoring.recordings import OF_HEADERS, ColumnOptions

_PER_CLASS = 10
_MOST_PER_CLASS = 10_000
_SHOWN_LABELS = 8


@dataclass(frozen=True)
class ClipOptions:
    """What is cut out of the recordings.

    Attributes:
        folder: that takes the cut-outs, None where there are none.
        requested_per_class: as `--per-class` says it, None for the default.
    """

    folder: str | None = None
    requested_per_class: int | None = None

    @property
    def per_class(self) -> int:
        """How many of the best windows of each label are cut out, and how many are drawn evenly."""
        return _PER_CLASS if self.requested_per_class is None else self.requested_per_class

    def check(self, input_path: str, overwrite: bool) -> None:
        """Raises `UsageError` where they contradict each other, or the folder cannot be written without a loss.

        Args:
            input_path: where the recordings are.
            overwrite: whether cut-outs of an earlier run may be replaced.
        """
        if self.folder is None:
            if self.requested_per_class is not None:
                raise UsageError("--per-class says how many windows of a label --clips cuts out; give --clips DIR")
            return
        if not 1 <= self.per_class <= _MOST_PER_CLASS:
            raise UsageError(f"--per-class is 1 to {_MOST_PER_CLASS:,}, not {self.per_class}")
        check_cut_outs_folder(self.folder, overwrite)
        source = os.path.realpath(input_path)
        if os.path.isdir(source) and os.path.commonpath([source, os.path.realpath(self.folder)]) == source:
            raise UsageError(f"--clips {self.folder} lies within --input {input_path}, and the next run would label "
                             "what is cut out too; give a folder elsewhere")  # fmt: skip


@dataclass(frozen=True)
class EmbeddingOptions:
    """Where embeddings are written, and as what.

    Attributes:
        path: of their table, None where there are none.
        requested_dtype: as `--embeddings-dtype` says it, None for the default.
    """

    path: str | None = None
    requested_dtype: str | None = None

    @property
    def dtype(self) -> str | None:
        """Type of the numbers, one of `EMBEDDING_TYPES`; None where there are none."""
        return None if self.path is None else self.requested_dtype or EMBEDDING_TYPES[0]

    def check(self) -> None:
        """Raises `UsageError` where they contradict each other, or the file cannot have this name."""
        if self.path is not None:
            check_embeddings_name(self.path)
        elif self.requested_dtype is not None:
            raise UsageError("--embeddings-dtype says how --embeddings are kept; give --embeddings FILE.parquet")


def add_embedding_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--embeddings` and `--embeddings-dtype`."""
    parser.add_argument(
        "--embeddings", metavar="FILE.parquet", help="write what the layer before the last gives, a row a window"
    )
    parser.add_argument(
        "--embeddings-dtype", choices=EMBEDDING_TYPES, help=f"type that embeddings are kept in ({EMBEDDING_TYPES[0]})"
    )


def embedding_options(options: argparse.Namespace) -> EmbeddingOptions:
    """Returns what the options of `add_embedding_options` say."""
    return EmbeddingOptions(options.embeddings, options.embeddings_dtype)


def add_clip_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--clips` and `--per-class`."""
    group = parser.add_argument_group("what to listen to")
    group.add_argument("--clips", metavar="DIR", help="cut windows of each label out of the recordings, into folders")
    group.add_argument(
        "--per-class", type=int, metavar="N",
        help=f"the N most probable windows of each label, and N drawn evenly over the probabilities ({_PER_CLASS})",
    )  # fmt: skip


def clip_options(options: argparse.Namespace) -> ClipOptions:
    """Returns what the options of `add_clip_options` say."""
    folder = None if options.clips is None else absolute_path(options.clips)
    return ClipOptions(folder, options.per_class)


def add_window_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--hop-seconds`, `--tail` and `--min-window-seconds`."""
    parser.add_argument(
        "--hop-seconds", type=float, metavar="S",
        help="from the start of a window to that of the next (the length of a window)",
    )  # fmt: skip
    parser.add_argument(
        "--tail", choices=TAILS, default=PAD,
        help="what remains of a recording behind its last whole window: a window padded with zeros, none, or one that "
             "overlaps those before and ends with the recording (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--min-window-seconds", type=float, metavar="S",
        help="with --tail pad, leave out a last window of several that is shorter than this (a twentieth of a window)",
    )  # fmt: skip


def add_column_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which columns outputs have of each recording."""
    group = parser.add_argument_group("what is written of each recording")
    group.add_argument(
        "--start-time", action="store_true",
        help="add a last column start_time: when each row begins, by the header or the name of its recording",
    )  # fmt: skip
    group.add_argument(
        "--time-pattern", metavar="REGEX",
        help="what finds a recording's time in its path, before header and name: named groups year, month, day, hour, "
             "minute, and second, fraction, zone",
    )  # fmt: skip
    group.add_argument(
        "--timezone", metavar="ZONE", help="of times that have none of their own: Europe/Berlin, UTC or +02:00"
    )
    group.add_argument(
        "--keep-columns", metavar="A,B", default="",
        help=f"add columns of the table, or {', '.join(OF_HEADERS)} of recorders' headers",
    )  # fmt: skip


def column_options(options: argparse.Namespace) -> ColumnOptions:
    """Returns which columns are requested; raises `UsageError` where an option needs another, or cannot be used."""
    for name in ("time_pattern", "timezone"):
        if getattr(options, name) is not None and not options.start_time:
            raise UsageError(
                f"{option_name(name)} is for the column start_time; give --start-time too, or leave it out"
            )
    rules = TimeRules(
        pattern=None if options.time_pattern is None else read_pattern(options.time_pattern),
        zone=None if options.timezone is None else read_zone(options.timezone),
    )
    keep = (name.strip() for name in options.keep_columns.split(","))
    return ColumnOptions(tuple(dict.fromkeys(filter(None, keep))), options.start_time, rules)


def add_event_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of events and of files that other programs open."""
    group = parser.add_argument_group("events, of each class for itself")
    group.add_argument(
        "--events", metavar="EVENTS.csv|.parquet|.jsonl",
        help="write them here; one begins at a window that reaches --threshold "
        f"({DEFAULT_THRESHOLD:g} where it is not given)",
    )  # fmt: skip
    group.add_argument("--smooth", type=int, metavar="K", help="take the median of K windows first, an odd number (1)")
    group.add_argument("--keep-threshold", type=float, metavar="P", help="one goes on down to this (the threshold)")
    group.add_argument("--merge-gap", type=float, metavar="S", help="join those that are at most S seconds apart (0)")
    group.add_argument("--min-duration", type=float, metavar="S", help="leave out shorter ones (0)")
    parser.add_argument(
        "--labels", action="append", default=[], metavar="|".join(SELECTION_FORMS),
        help="write the events, or else the labels of windows, also as a file for each recording that this program "
        "opens; may be repeated",
    )  # fmt: skip


def event_options(options: argparse.Namespace) -> EventOptions:
    """Returns what was given of the options of events."""
    return EventOptions(
        path=options.events,
        keep_threshold=options.keep_threshold,
        smooth=options.smooth,
        merge_gap_seconds=options.merge_gap,
        min_duration_seconds=options.min_duration,
    )


def events_sentence(events: Mapping[str, int] | None, path: str, kept: int = 0) -> str:
    """Returns what is said at the end of events, the most frequent labels first.

    Args:
        events: how many of each label are new; None where none were asked for, or nothing is new.
        path: of their table.
        kept: how many recordings have events that are not among them.
    """
    if events is None:
        return ""
    shown = [f"{label} {number:,}" for label, number in list(events.items())[:_SHOWN_LABELS]]
    if len(events) > _SHOWN_LABELS:
        shown.append(f"{len(events) - _SHOWN_LABELS:,} further labels")
    said = f" ({', '.join(shown)})" if shown else ""
    number, new = sum(events.values()), "new " if kept else ""
    return f" {counted(number, f'{new}event')}{said} {'is' if number == 1 else 'are'} in {path}."
