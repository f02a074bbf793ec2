"""Manifests: files of one JSON object a line, gzipped or not, one by one or those of a folder."""

import gzip
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from features.errors import Reject, UsageError, one_line
from features.io.filesystem import is_uri
from features.io.local_copy import local_copy
from features.sources.formats.split_names import splits_of_files
from features.sources.row_clips import bad_row
from features.sources.table_layout import TableLayout, option_name
from features.sources.table_rows import Rows

PARTITION = "partition"
"""The column of the partitions that the names of manifests say."""
# lhotse takes a recording to be as long as its manifest says up to this difference; times in manifests are rounded.
ROUNDING_SECONDS = 0.025
_GZIP = b"\x1f\x8b"
_SHOWN = 60


@dataclass
class ManifestRows:
    """Rows that are collected from the lines of manifests.

    Attributes:
        columns: names of the columns.
        values: texts of each column.
        numbers: of the line of each row.
        files: name of the manifest of each row.
        rejects: of lines that cannot be used.
    """

    columns: Sequence[str]
    values: dict[str, list[str]] = field(init=False)
    numbers: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begins each column."""
        self.values = {column: [] for column in self.columns}

    def add(self, file: str, line: int, *texts: str) -> None:
        """Adds a row, a text for each column."""
        self.files.append(file)
        self.numbers.append(line)
        for values, text in zip(self.values.values(), texts, strict=True):
            values.append(text)

    def rows(self, name: str) -> Rows:
        """Returns the rows that were added, of a source of this name."""
        several = len(set(self.files)) > 1
        name = name if several or not self.files else self.files[0]
        return Rows(name, "line", list(self.columns), self.values, self.numbers, files=self.files if several else ())


def check_layout(layout: TableLayout, option: str, taken: Sequence[str]) -> None:
    """Raises `UsageError` where an option of tables is given that the format has no use for.

    Args:
        layout: the options.
        option: the one that asks for the format.
        taken: fields of the layout that the format takes.
    """
    allowed = [option_name(name) for name in taken]
    for given in layout.given:
        if given not in allowed:
            raise UsageError(f"{option} takes {', '.join(allowed)} of the options of tables, and not {given}: the "
                             "format itself says it; leave the option out")  # fmt: skip


def find_manifests(input_path: str, endings: Sequence[str], partitioned: bool) -> list[tuple[str, str]]:
    """Returns the manifests of an input, each with its partition, which is empty where the names say none.

    Args:
        input_path: a manifest, or a folder with manifests.
        endings: of their names.
        partitioned: whether the partitions are read.

    Raises:
        UsageError: there is none, or the names of some say a partition and of others none.
    """
    wanted = " or ".join(endings)
    if is_uri(input_path) or not os.path.isdir(input_path):
        if not input_path.lower().endswith(tuple(endings)):
            raise UsageError(f"{input_path} is not a manifest: its name ends in none of {wanted}")
        return [(input_path, "")]
    names = sorted(name for name in os.listdir(input_path)
                   if name.lower().endswith(tuple(endings)) and not name.startswith("."))  # fmt: skip
    if not names:
        raise UsageError(f"no manifest in {input_path}: no name of a file in it ends in {wanted}")
    splits = splits_of_files(names) if partitioned else {}
    return [(os.path.join(input_path, name), splits.get(name, "")) for name in names]


def read_objects(manifest: str, take: Callable[[str, int, dict[str, Any]], None], rejects: list[Reject]) -> None:
    """Reads the objects of a manifest, one after the other.

    Args:
        manifest: place of the file.
        take: called with the name of the file, the number of the line and its object.
        rejects: gets one for each line that is not an object.

    Raises:
        UsageError: the file cannot be read.
    """
    name = os.path.basename(manifest)
    try:
        with local_copy(manifest) as path:
            for line, content in enumerate(_lines(path), start=1):
                if not content.strip():
                    continue
                try:
                    found = json.loads(content)
                except (ValueError, RecursionError) as error:
                    rejects.append(bad_row(f"{name}, line {line}", f"a line is one JSON object, and this is not one: "
                                           f"{one_line(error)}"))  # fmt: skip
                    continue
                if isinstance(found, dict):
                    take(name, line, found)
                else:
                    shown = content.strip()[:_SHOWN].decode(errors="replace")
                    rejects.append(bad_row(f"{name}, line {line}", f"a line is one JSON object, not {shown!r}"))
    except FileNotFoundError as error:
        raise UsageError(f"no such file or folder: {manifest}") from error
    except (OSError, EOFError) as error:
        raise UsageError(f"cannot read {manifest}: {one_line(error)}") from error


def first_object(path: str) -> dict[str, Any] | None:
    """Returns the object of a local manifest's first line, None where there is none or the file is not a manifest."""
    try:
        for content in _lines(path):
            found = json.loads(content) if len(content) < 1 << 20 else None
            return found if isinstance(found, dict) else None
    except (OSError, EOFError, ValueError, RecursionError):
        return None
    return None


def _lines(path: str) -> Iterator[bytes]:
    """Yields the lines of a file, decompressed where it begins as gzip does, without a byte order mark."""
    with open(path, "rb") as file:
        is_gzip = file.read(2) == _GZIP
    with gzip.open(path, "rb") if is_gzip else open(path, "rb") as file:
        first = file.readline(1 << 24)
        yield first.removeprefix(b"\xef\xbb\xbf")
        yield from file


def text(value: object) -> str | None:
    """Returns a value of JSON as text: numbers as one writes them, nothing of null; None of objects and arrays."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None
