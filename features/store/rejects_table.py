"""The table of rejects of a state: one row per file that could not be used."""

from collections.abc import Iterable, Sequence

from features.errors import Reject
from features.io.filesystem import Location
from features.sources.rejects import COLUMNS, STATE_COLUMNS, VERSION_COLUMN, in_order, to_csv
from features.store.layout import Layout, rejects_name
from features.store.manifest import Manifest

REJECT_COLUMNS = (*COLUMNS, *STATE_COLUMNS, "label")


def rejects_table(rejects: Iterable[Reject], columns: Sequence[str] = REJECT_COLUMNS) -> str:
    """Returns the table of rejects of a set as CSV, with their versions where any has one."""
    rejects = in_order(rejects)
    return to_csv(rejects, (*columns, VERSION_COLUMN) if any_version(rejects) else columns)


def has_rejects(layout: Layout, base: Manifest, rejects: Sequence[Reject]) -> bool:
    """Returns whether these are the rejects of a state; not where its table is gone or damaged: it is written anew."""
    try:
        content = layout.files.read(layout.path(base.rejects_file)).decode()
    except (OSError, UnicodeDecodeError):
        return False
    # A table from before there were labels in it stays as it is.
    return content == rejects_table(rejects) or content == rejects_table(rejects, REJECT_COLUMNS[:-1])


def write_rejects(layout: Layout, base: Manifest | None, rejects: Iterable[Reject]) -> Location:
    """Writes the table of rejects of a run that commits nothing, as no clip was usable; returns where it lies."""
    content = rejects_table(rejects).encode()
    table = layout.path(rejects_name((base.state if base else 0) + 1, content))
    layout.files.write(table, content)
    return table


def any_version(rejects: Iterable[Reject]) -> bool:
    """Returns whether any reject is an object of a store, which has a version."""
    return any(reject.version for reject in rejects)
