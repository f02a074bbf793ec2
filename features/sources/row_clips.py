"""Clips of the rows of a table or a manifest: their files, labels, groups, partitions and times."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from features.errors import ClipError, NothingUsableError, Reason, Reject, UsageError
from features.io.csv_text import read_csv_label
from features.sources.clips import Source, clip_table
from features.sources.labels import clean_label
from features.sources.partition import PARTITIONS, both_tested, read_partition
from features.sources.paths import absolute_path, below, escape_path, escape_paths, is_absolute, place_of
from features.sources.table_files import TableFile, TableFiles
from features.sources.table_layout import TableLayout
from features.sources.table_rows import Rows, is_text
from features.sources.table_times import ROLES as TIME_ROLES
from features.sources.table_times import Times, read_times

_SHOWN_PAIRS = 5
_WHOLE_NUMBER = re.compile(r"\s*([0-9]+)[.,]0+\s*")
_NO_NAME = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")  # zero, and surrogates that do not stand for a byte


@dataclass(frozen=True)
class Reading:
    """How the clips of rows are read.

    Attributes:
        place: the table, as it was given; for messages.
        root: absolute path at which its paths begin.
        layout: what a row's path is put together from.
        used: the column of each role: `label`, `group`, `partition` or `fold`, and `TIME_ROLES`.
        labelled: whether clips have labels, see `features.sources.table.scan_table`.
        keep: columns that are kept as they are.
        rounding_seconds: a clip that ends this much behind its file at most ends with it, since its times were rounded.
    """

    place: str
    root: str
    layout: TableLayout
    used: dict[str, str]
    labelled: bool = True
    keep: Sequence[str] = ()
    rounding_seconds: float = 0.0


def clips_of_rows(rows: Rows, reading: Reading, rejects: Sequence[Reject] = ()) -> Source:
    """Lists the clips of rows.

    Args:
        rows: of a table or a manifest.
        reading: how they are read.
        rejects: of rows that could not be read.

    Returns:
        The clips. A row whose file cannot be used, or whose label is empty, is a reject, beside those that were given.

    Raises:
        NothingUsableError: no row can be used.
        UsageError: a value cannot be used, or a clip is named twice.
    """
    rejects, root, labelled = [*rejects, *torn_rejects(rows)], os.fsencode(reading.root), reading.labelled
    files = TableFiles(reading.root, any(role in reading.used for role in TIME_ROLES))
    rows, written = _named_rows(rows, reading.layout, files, rejects)
    paths = [below(root, path) for path in written]
    columns, times = _columns(rows, reading.used), read_times(rows, reading.used)
    files.look_up(paths)
    paths = files.meant(rows, paths)
    names = paths if labelled else _names(written, paths, root)
    frames = [_frames(row, files[path], times, reading.rounding_seconds) for row, path in enumerate(paths)]
    keys = {row: (path, frames[row][0]) for row, path in enumerate(paths) if row not in times.wrong}
    firsts: dict[tuple[bytes, float], int] = {key: row for row, key in reversed(keys.items())}
    carried = _carried(rows, reading.keep, [(firsts[key], row) for row, key in keys.items()])
    if labelled and len(firsts) < len(keys):
        raise _named_twice(rows, keys, firsts, "start" in reading.used)
    kept: list[int] = []
    for row in sorted(firsts.values(), key=lambda row: (names[row], frames[row][0])) + list(times.wrong):
        path, label = escape_path(names[row]), columns["label"][row] if labelled else None
        error = files[paths[row]].error
        if row in times.wrong:
            error = ClipError("scan", Reason.BAD_ROW, times.wrong[row])
        elif error is None and labelled and label is None:
            error = ClipError("scan", Reason.BAD_LABEL, "the label is empty")
        if error is None:
            kept.append(row)
        else:
            message = f"{rows.where(row)}: {error.message}"
            rejects.append(Reject(path, error.stage, error.reason, message, label=label))
    if not kept:
        first = rejects[0]
        message = (f"no audio in {reading.place}: all {len(rejects)} rows were rejected; the first: {first.path}: "
                   f"{first.reason}, {first.message} (--root says where paths begin)")  # fmt: skip
        raise NothingUsableError(message, rejects)
    chosen: dict[str, list[Any]] = {name: [column[row] for row in kept] for name, column in columns.items()}
    if times.seconds:
        chosen |= {"start": [frames[row][0] for row in kept], "duration": [frames[row][1] for row in kept]}
    found = [files[paths[row]] for row in kept]
    escaped = escape_paths(pa.array([names[row] for row in kept], pa.binary()))
    chosen["version"] = [file.version for file in found]
    clips = clip_table(escaped, [file.size for file in found], [file.mtime_ns for file in found], **chosen)
    return Source("table", reading.root, clips, {}, rejects, absolute_path(reading.place), columns=reading.used,
                  kept=carried.take(pa.array(kept, pa.int64())) if reading.keep else None)  # fmt: skip


def bad_row(where: str, fault: str) -> Reject:
    """Returns the reject of a row that names no file: where it stands is in the place of the path."""
    return Reject(escape_path(os.fsencode(where)), "scan", Reason.BAD_ROW, fault)


def torn_rejects(rows: Rows) -> list[Reject]:
    """Returns the rejects of the rows that have not a field for each column."""
    return [bad_row(f"{rows.name}, {rows.unit} {number}", fault) for number, fault in rows.torn]


def _frames(row: int, file: TableFile, times: Times, rounding_seconds: float) -> tuple[float, int | None]:
    """Returns where a row's clip begins and how many frames it has; of a file without a rate, seconds and None."""
    if file.rate_hz is None:
        return times.start_seconds(row), None
    start, number = times.frames(row, file.rate_hz)
    if number is not None and file.frames is not None:
        beyond = start + number - file.frames
        if 0 < beyond <= rounding_seconds * file.rate_hz and beyond < number:
            number -= beyond
    return start, number


def _named_rows(rows: Rows, layout: TableLayout, files: TableFiles, rejects: list[Reject]) -> tuple[Rows, list[bytes]]:
    """Returns the rows that name a file, and their paths as written; the others become rejects.

    In a template `1.0` is `1` where the file that it gives as it is written is not there.
    """
    parts = layout.path_parts
    names = [name for _, name in parts if name is not None]
    named: list[int] = []
    paths: list[bytes] = []
    for row, values in enumerate(zip(*(rows.values[name] for name in names), strict=True)):
        text = _filled(parts, values)
        empty = next((name for name, value in zip(names, values, strict=True) if not value.strip()), None)
        if empty is not None:
            rejects.append(bad_row(rows.where(row), f"a row names a file, but {empty!r} is empty"))
        elif _NO_NAME.search(text):
            rejects.append(bad_row(rows.where(row), f"no file can have the name {text!r}"))
        else:
            named.append(row)
            whole = _filled(parts, map(_without_decimals, values))
            if whole != text and layout.path_template is not None and not files.exists(os.fsencode(text)):
                text = whole
            paths.append(os.fsencode(text))
    return (rows if len(named) == len(rows.numbers) else rows.select(named)), paths


def _filled(parts: Sequence[tuple[str, str | None]], values: Iterable[str]) -> str:
    """Returns the path that a row's values make of the parts of a template."""
    texts = iter(values)
    return "".join(before + (next(texts) if name is not None else "") for before, name in parts)


def _names(written: list[bytes], paths: list[bytes], root: bytes) -> list[bytes]:
    """Returns the paths with those that were written as absolute ones, or as URIs, as they were written.

    Where the file is named otherwise, they are its absolute path.
    """
    return [path if not is_absolute(os.fsdecode(text)) else text if below(root, text) == path
            else os.fsencode(absolute_path(place_of(root, path)))
            for text, path in zip(map(bytes.strip, written), paths, strict=True)]  # fmt: skip


def _columns(rows: Rows, used: dict[str, str]) -> dict[str, list[str | None]]:
    """Returns labels, groups and partitions, and refuses values that are not allowed."""
    columns: dict[str, list[str | None]] = {}
    for role in ("label", "group"):
        if role not in used:
            continue
        name, values = used[role], rows.values[used[role]]
        for value in dict.fromkeys(values):
            if not is_text(value):
                raise rows.refusal(values.index(value), name, f"a {role} is UTF-8", "save the table as UTF-8")
        if role == "label":
            labels = map(clean_label, values)
            columns[role] = [read_csv_label(label) if label and rows.of_csv else label for label in labels]
        else:
            columns[role] = [value or None for value in values]
    if "partition" in used or "fold" in used:
        name = used["partition" if "partition" in used else "fold"]
        values = rows.values[name]
        meant = {value: read_partition(_without_decimals(value)) for value in dict.fromkeys(values)}
        for value in [value for value, partition in meant.items() if partition is None]:
            rule = f"a partition is {', '.join(PARTITIONS)} or a fold such as 1 or fold-1"
            way_out = "change it, name another --partition-column or --fold-column, or give --split"
            raise rows.refusal(values.index(value), name, rule, way_out)
        if both := both_tested(meant):
            raise UsageError(
                f"{rows.name} has {both[0]!r} and {both[1]!r} in its column {name!r}, and either may be "
                "what is tested; take one out, name another --partition-column, or give --split"
            )
        columns["partition"] = [meant[value] for value in values]
    return columns


def _carried(rows: Rows, keep: Sequence[str], pairs: Iterable[tuple[int, int]]) -> pa.Table:
    """Returns columns that are kept as they are, and refuses two values of one for the same clip.

    Args:
        rows: of the table.
        keep: names of columns, of which some may not be there.
        pairs: the first row of each clip, with each of its rows.
    """
    there = [name for name in keep if name in rows.columns]
    for name in there:
        rows.require(name, "--keep-columns")
        for row, value in enumerate(rows.values[name]):
            if not is_text(value):
                raise rows.refusal(row, name, "what is kept is UTF-8", "save the table as UTF-8")
    for first, row in pairs:
        for name in there:
            if rows.values[name][first] != rows.values[name][row]:
                rule = f"a recording has one value, {rows.values[name][first]!r} in {rows.where(first)}"
                raise rows.refusal(row, name, rule, f"leave {name} out of --keep-columns, or give one of the rows")
    return pa.table({name: pa.array([value or None for value in rows.values[name]], pa.string()) for name in there})


def _without_decimals(value: str) -> str:
    """Returns `1` for `1.0`, which a program makes of it that keeps a column of whole numbers as decimal ones."""
    found = _WHOLE_NUMBER.fullmatch(value)
    return found[1] if found else value


def _named_twice(
    rows: Rows, keys: dict[int, tuple[bytes, float]], firsts: dict[tuple[bytes, float], int], are_parts: bool
) -> UsageError:
    pairs = [(firsts[key], row) for row, key in keys.items() if firsts[key] != row]
    shown = "; ".join(f"{escape_path(keys[row][0])} in {rows.both(first, row)}" for first, row in pairs[:_SHOWN_PAIRS])
    more = f"; and {len(pairs) - _SHOWN_PAIRS} more" if len(pairs) > _SHOWN_PAIRS else ""
    way_out = "" if are_parts else ", or give --start-column where they are parts of a recording"
    return UsageError(f"a path and a start name one clip, but {rows.name} has twice {shown}{more}; take one of each "
                      f"out{way_out}")  # fmt: skip
