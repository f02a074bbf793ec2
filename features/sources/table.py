"""Lists the clips that a metadata table names."""

import math
import os
import re
import stat
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from features.audio.decode import file_error, probe
from features.errors import ClipError, NothingUsableError, Reason, Reject, UsageError
from features.io.csv_text import read_csv_label
from features.io.file_time import mtime_ns
from features.sources.clips import Source, clip_table
from features.sources.file_finder import FileFinder
from features.sources.folder import scan
from features.sources.labels import clean_label
from features.sources.partition import PARTITIONS, both_tested, read_partition
from features.sources.paths import absolute_path, below, escape_path, escape_paths
from features.sources.table_layout import DEFAULT_COLUMNS, TableLayout, option_name
from features.sources.table_rows import TABLE_ENDINGS, Rows, is_text, read_rows

_LATEST_SAMPLE = 2.0**62  # past the end of every recording, and still a 64-bit number
_SHOWN_PAIRS = 5
_NO_NAME = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")  # zero, and surrogates that do not stand for a byte


@dataclass(frozen=True)
class _File:
    """A file that a table names: its state, the rate where that is needed, or why it cannot be used."""

    status: os.stat_result | None = None
    rate_hz: int | None = None
    error: ClipError | None = None


def list_clips(
    input_path: str, layout: TableLayout, labelled: bool, pattern: str | None = None, partitioned: bool = True
) -> Source:
    """Lists the clips of a folder, an audio file or a table, whichever the input is.

    Args:
        input_path: folder, audio file or table.
        layout: of a table.
        labelled: whether clips have labels.
        pattern: what finds labels in the paths of a folder, see `features.sources.folder.scan`.
        partitioned: whether a table's partitions and folds are read.

    Raises:
        UsageError: the input cannot be used, or an option is for another kind of input.
    """
    if input_path.lower().endswith(TABLE_ENDINGS) and not os.path.isdir(input_path):
        if pattern is not None:
            raise UsageError(f"--label-pattern is for a folder; of the table {input_path} give --label-column")
        return scan_table(input_path, layout, labelled, partitioned)
    if layout.given:
        raise UsageError(f"{layout.given[0]} is for a table as --input, a file that ends in {' '.join(TABLE_ENDINGS)}, "
                         f"and {input_path} is not one; leave the option out")  # fmt: skip
    return scan(input_path, labelled, pattern)


def scan_table(table: str, layout: TableLayout, labelled: bool = True, partitioned: bool = True) -> Source:
    """Lists the clips that a table names.

    Args:
        table: CSV, TSV, Parquet or JSON lines, see `features.sources.table_rows.read_rows`.
        layout: where it says what.
        labelled: whether clips have labels. Without, only paths are read, and each file counts once and as a whole.
        partitioned: whether partitions and folds are read.

    Returns:
        The clips. A row whose file cannot be used, or whose label is empty, is a reject.

    Raises:
        NothingUsableError: no row can be used.
        UsageError: the table, its columns or a value cannot be used, or a clip is named twice.
    """
    root = os.path.dirname(absolute_path(table)) if layout.root is None else absolute_path(layout.root)
    if layout.root is not None and not os.path.isdir(root):
        raise UsageError(f"--root is the folder in which the paths of {table} begin, and there is no folder {root}")
    roles = tuple(DEFAULT_COLUMNS) if labelled else ()
    wanted = [*(name for _, name in layout.path_parts), *map(layout.column, roles)]
    rows = read_rows(table, [name for name in wanted if name is not None])
    if not rows.numbers:
        raise UsageError(f"no audio in {table}: it has no rows")
    used, notes = _used_columns(rows, layout, roles, partitioned)
    paths = _paths(rows, layout, os.fsencode(root))
    columns = _columns(rows, used)
    times = {role: _seconds(rows, used[role], role) for role in ("start", "duration") if role in used}
    files = {path: _look(os.path.join(os.fsencode(root), path), bool(times)) for path in dict.fromkeys(paths)}
    paths = _found(rows, paths, files, os.fsencode(root), bool(times))
    samples = {role: _samples(seconds, paths, files) for role, seconds in times.items()}
    starts: list[float] = samples.get("start", [0] * len(paths))
    firsts: dict[tuple[bytes, float], int] = {}
    for row, key in enumerate(zip(paths, starts, strict=True)):
        firsts.setdefault(key, row)
    if labelled and len(firsts) < len(paths):
        raise _named_twice(rows, paths, starts, firsts)
    kept: list[int] = []
    rejects: list[Reject] = []
    for (path, _), row in sorted(firsts.items()):
        error = files[path].error
        if error is None and labelled and columns["label"][row] is None:
            error = ClipError("scan", Reason.BAD_LABEL, "the label is empty")
        if error is None:
            kept.append(row)
        else:
            message = f"{rows.where(row)}: {error.message}"
            label = columns["label"][row] if labelled else None
            rejects.append(Reject(escape_path(path), error.stage, error.reason, message, label=label))
    if not kept:
        first = rejects[0]
        message = (f"no audio in {table}: all {len(rejects)} rows were rejected; the first: {first.path}: "
                   f"{first.reason}, {first.message} (--root says where paths begin)")  # fmt: skip
        raise NothingUsableError(message, rejects)
    if "duration" in samples:  # a part that lasts at all is a sample at least
        samples["duration"] = [max(1, duration) for duration in samples["duration"]]
    values: tuple[tuple[str, list[Any]], ...] = (*samples.items(), *columns.items())
    chosen = {name: [column[row] for row in kept] for name, column in values}
    stats = [status for row in kept if (status := files[paths[row]].status) is not None]
    names = escape_paths(pa.array([paths[row] for row in kept], pa.binary()))
    clips = clip_table(names, [file.st_size for file in stats], list(map(mtime_ns, stats)), **chosen)
    return Source("table", root, clips, {}, rejects, absolute_path(table), columns=used, notes=notes)


def _used_columns(
    rows: Rows, layout: TableLayout, roles: tuple[str, ...], partitioned: bool
) -> tuple[dict[str, str], list[str]]:
    """Decides which column is read for what, and refuses one that is named and not there, or there twice."""
    path = "path_column" if layout.path_template is None else "path_template"
    checked = [(name, path) for _, name in layout.path_parts if name is not None]
    used = {"path": checked[0][0]} if layout.path_template is None else {"path_template": layout.path_template}
    for role in roles:
        name, option = layout.column(role), f"{role}_column"
        if name is not None and (role == "label" or getattr(layout, option) is not None or name in rows.columns):
            checked.append((name, option))
            used[role] = name
    for name, option in checked:
        rows.require(name, option_name(option))
    notes = []
    if "partition" in used and "fold" in used:
        if layout.fold_column is not None:
            del used["partition"]
        else:
            if layout.partition_column is None and partitioned:
                notes.append(f"{rows.name} has columns {used['partition']!r} and {used['fold']!r}; the first says the "
                             "partitions, --fold-column names the second")  # fmt: skip
            del used["fold"]
    return {role: name for role, name in used.items() if partitioned or role not in ("partition", "fold")}, notes


def _paths(rows: Rows, layout: TableLayout, root: bytes) -> list[bytes]:
    """Returns the path of each row relative to the root."""
    parts = layout.path_parts
    names = [name for _, name in parts if name is not None]
    paths = []
    for row, values in enumerate(zip(*(rows.values[name] for name in names), strict=True)):
        if "" in values:
            raise rows.refusal(row, names[values.index("")], "a row names a file", "fill it in")
        texts = iter(values)
        text = "".join(before + (next(texts) if name is not None else "") for before, name in parts)
        if _NO_NAME.search(text):
            raise UsageError(f"{rows.where(row)}: no file can have the name {text!r}")
        paths.append(below(root, os.fsencode(text)))
    return paths


def _found(rows: Rows, paths: list[bytes], files: dict[bytes, _File], root: bytes, probed: bool) -> list[bytes]:
    """Returns the paths as the file system has them where another system has written them; adds these to the files."""
    finder = FileFinder(root)
    meant: dict[bytes, bytes] = {}
    for path, file in list(files.items()):
        if file.error is None or file.error.reason != Reason.MISSING:
            continue
        found = finder.find(path)
        if len(found) > 1:
            names = " and ".join(map(escape_path, found))
            raise UsageError(f"{rows.where(paths.index(path))}: no file is named {escape_path(path)}, and {names} are "
                             "named alike; write it as it is")  # fmt: skip
        if not found and not is_text(os.fsdecode(path)):
            raise UsageError(f"{rows.where(paths.index(path))}: {escape_path(path)} is not there, and is not UTF-8; "
                             "save the table as UTF-8")  # fmt: skip
        if found and found[0] != path:
            meant[path] = found[0]
            files[found[0]] = _look(os.path.join(root, found[0]), probed)
    return [meant.get(path, path) for path in paths]


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
        meant = {value: read_partition(value) for value in dict.fromkeys(values)}
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


def _seconds(rows: Rows, column: str, role: str) -> list[float]:
    numbers = []
    for row, text in enumerate(rows.values[column]):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or number < 0 or (number == 0 and role == "duration"):
            rule = f"a {role} is a number of seconds and {'not below 0' if role == 'start' else 'above 0'}"
            raise rows.refusal(row, column, rule, f"change it, or name another --{role}-column")
        numbers.append(number)
    return numbers


def _look(file: bytes, probed: bool) -> _File:
    try:
        status = os.stat(file)
        if not stat.S_ISREG(status.st_mode):  # a pipe: to open it would be to wait forever
            raise IsADirectoryError(
                None, "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is not a regular file"
            )
        rate_hz = probe(os.fsdecode(file)).rate_hz if probed else None
    except ClipError as error:
        return _File(error=error)
    except OSError as error:
        return _File(error=ClipError("scan", file_error(error).reason, error.strerror or str(error)))
    return _File(status, rate_hz)


def _samples(seconds: list[float], paths: list[bytes], files: dict[bytes, _File]) -> list[float]:
    """Returns times in samples of each file's own rate; those of a file that cannot be read stay as they are."""
    rates = [files[path].rate_hz for path in paths]
    return [time if rate is None else round(min(time * rate, _LATEST_SAMPLE))
            for time, rate in zip(seconds, rates, strict=True)]  # fmt: skip


def _named_twice(
    rows: Rows, paths: list[bytes], starts: list[float], firsts: dict[tuple[bytes, float], int]
) -> UsageError:
    keys = enumerate(zip(paths, starts, strict=True))
    pairs = [(firsts[key], row) for row, key in keys if firsts[key] != row]
    shown = "; ".join(f"{escape_path(paths[row])} in {rows.unit}s {rows.numbers[first]} and {rows.numbers[row]}"
                      for first, row in pairs[:_SHOWN_PAIRS])  # fmt: skip
    more = f"; and {len(pairs) - _SHOWN_PAIRS} more" if len(pairs) > _SHOWN_PAIRS else ""
    return UsageError(f"a path and a start name one clip, but {rows.name} has twice {shown}{more}; take one of each "
                      "out, or give --start-column where they are parts of a recording")  # fmt: skip
