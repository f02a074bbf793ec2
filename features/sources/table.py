"""Lists the clips that a metadata table names."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace

from features.errors import UsageError
from features.io.filesystem import is_uri
from features.sources import selections
from features.sources.clips import Source
from features.sources.folder import scan
from features.sources.paths import absolute_path
from features.sources.row_clips import Reading, clips_of_rows
from features.sources.table_layout import DEFAULT_COLUMNS, TableLayout, option_name
from features.sources.table_rows import TABLE_ENDINGS, Rows, read_rows

_NAMES_END = re.compile(r"(?<![a-z])(end|stop|offset)(?![a-z])", re.IGNORECASE)


def list_clips(
    input_path: str,
    layout: TableLayout,
    labelled: bool,
    pattern: str | None = None,
    partitioned: bool = True,
    keep: Sequence[str] = (),
) -> Source:
    """Lists the clips of a folder, an audio file or a table, whichever the input is.

    Args:
        input_path: folder, audio file or table.
        layout: of a table.
        labelled: whether clips have labels.
        pattern: what finds labels in the paths of a folder, see `features.sources.folder.scan`.
        partitioned: whether a table's partitions and folds are read.
        keep: columns that are kept as they are, see `scan_table`.

    Raises:
        UsageError: the input cannot be used, or an option is for another kind of input.
    """
    if input_path.lower().endswith(TABLE_ENDINGS) and not os.path.isdir(input_path):
        if pattern is not None:
            raise UsageError(f"--label-pattern is for a folder; of the table {input_path} give --label-column")
        return scan_table(input_path, layout, labelled, partitioned, keep)
    if layout.given:
        raise UsageError(f"{layout.given[0]} is for a table as --input, a file that ends in {' '.join(TABLE_ENDINGS)}, "
                         f"and {input_path} is not one; leave the option out")  # fmt: skip
    return scan(input_path, labelled, pattern)


def scan_table(
    table: str, layout: TableLayout, labelled: bool = True, partitioned: bool = True, keep: Sequence[str] = ()
) -> Source:
    """Lists the clips that a table names.

    Args:
        table: CSV, TSV, .txt, Parquet or JSON lines, see `features.sources.table_rows.read_rows`.
        layout: where it says what.
        labelled: whether clips have labels. Without, only paths are read, each file counts once and as a whole, and
            absolute paths stay as they are written.
        partitioned: whether partitions and folds are read.
        keep: columns whose texts become `Source.kept`, of these that the table has.

    Returns:
        The clips. A row that cannot be read, whose file cannot be used, or whose label is empty, is a reject.

    Raises:
        NothingUsableError: no row can be used.
        UsageError: the table, its columns or a value cannot be used, or a clip is named twice.
    """
    root = root_of(table, layout)
    roles = tuple(DEFAULT_COLUMNS) if labelled else ()
    named = (*(name for _, name in layout.path_parts), *map(layout.column, roles))
    taken = [name for name in named if name is not None]
    rows = read_rows(table, [*taken, *keep], selections.COLUMNS if labelled else ())
    if not rows.numbers and not rows.torn:
        raise UsageError(f"no audio in {table}: it has no rows")
    used, notes = _used_columns(rows, layout, roles, partitioned)
    rows, repeated = selections.once_a_selection(rows, taken)
    selections.check_times(rows, used)
    found = clips_of_rows(rows, Reading(table, root, layout, used, labelled, keep))
    return replace(found, notes=notes + repeated)


def root_of(table: str, layout: TableLayout) -> str:
    """Returns where the paths of a table or a manifest begin; raises `UsageError` where there is no such folder."""
    root = os.path.dirname(absolute_path(table)) if layout.root is None else absolute_path(layout.root)
    if layout.root is not None and not is_uri(root) and not os.path.isdir(root):
        raise UsageError(f"--root is the folder in which the paths of {table} begin, and there is no folder {root}")
    return root


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
    if _NAMES_END.search(used.get("duration", "")):
        notes.append(f"{used['duration']!r} of {rows.name} is read as how long clips last; if it says where they end, "
                     "give it as --end-column")  # fmt: skip
    return {role: name for role, name in used.items() if partitioned or role not in ("partition", "fold")}, notes
