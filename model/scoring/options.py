"""Options that score and predict share."""

import argparse

from features.errors import UsageError
from features.sources.recording_time import TimeRules, read_pattern, read_zone
from features.sources.table_layout import option_name
from model.scoring.recordings import OF_HEADERS, ColumnOptions


def add_window_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--min-window-seconds`."""
    parser.add_argument(
        "--min-window-seconds", type=float, metavar="S",
        help="leave out a recording's last window, if it is not its only one, below this (a twentieth of a window)",
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
