"""Reads the lists that come with a collection and say which clips are held out."""

import functools
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import UsageError
from features.io.filesystem import join
from features.io.local_copy import local_copy
from features.io.text_encoding import text_encoding
from features.runtime.log import LOG
from features.runtime.quantities import counted
from features.sources.audio_names import BACKGROUND_FOLDER
from features.sources.file_finder import FileFinder
from features.sources.object_tree import ObjectTree
from features.sources.paths import escape_path
from features.sources.table_rows import is_text

_SHOWN = 5


@dataclass
class _Entries:
    """The entries of one list: paths of files that are there, and texts of those that are not."""

    found: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


def read_lists(root: str, names: Mapping[str, str], paths: pa.ChunkedArray) -> tuple[dict[str, str], list[str]]:
    """Reads the lists of a root, whichever system wrote them.

    Args:
        root: where they lie, and where their entries begin.
        names: file name of the list of each partition.
        paths: of the clips.

    Returns:
        Partition by path, and notes that name missing and double entries.

    Raises:
        UsageError: a list cannot be read, a clip is in two of them, or more than half of the entries of one are
            missing, not counting those below folders that are not there: these clips would be trained on.
    """
    listed: dict[str, str] = {}
    notes: list[str] = []
    finder = FileFinder(os.fsencode(root), functools.cache(lambda: ObjectTree.of(root)))
    for partition, name in names.items():
        entries = _read(join(root, name), finder, paths)
        both = sorted(set(entries.found) & listed.keys())
        if both:
            raise UsageError(f"a clip is in one partition, but {_some(both)} in {' and '.join(names.values())}"
                             f" of {root}; take it out of one, or give --split")  # fmt: skip
        double = sorted(entry for entry, count in Counter(entries.found).items() if count > 1)
        found, missing = set(entries.found), sorted(set(entries.missing))
        if len(missing) > len(found):
            raise UsageError(
                f"{name} of {root} holds out {len(found) + len(missing)} files, and {len(missing)} of them are not "
                f"there, such as {missing[0]}; write paths as they are below {root}, move {name} away, or give --split"
            )
        if double:
            notes.append(f"{name} names {len(double)} entries more than once: {_some(double)}")
        if missing:
            notes.append(f"{name} names {len(missing)} files that are not there: {_some(missing)}")
        if entries.elsewhere:
            elsewhere = counted(len(set(entries.elsewhere)), "file")
            LOG.info("%s names %s besides, in folders that are not there", name, elsewhere)
        listed.update(dict.fromkeys(found, partition))
    return listed, notes


def _read(path: str, finder: FileFinder, paths: pa.ChunkedArray) -> _Entries:
    entries = _Entries()
    try:
        with (
            local_copy(path) as copy,
            open(copy, encoding=text_encoding(copy), errors="surrogateescape") as file,
        ):
            lines = [line.rstrip("\n") for line in file]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"cannot read {path}: {error}; save it as UTF-8") from error
    names = [os.fsencode(line) for line in lines]
    texts = list({escape_path(text) for name in names for text in (name, name.strip())})
    # Of the clips, which may be many more, those alone become objects of Python that a list names.
    clips = frozenset(paths.filter(pc.is_in(paths, value_set=pa.array(texts, pa.string()))).to_pylist())
    for number, (line, written) in enumerate(zip(lines, names, strict=True), start=1):
        exact = next((text for text in map(escape_path, (written, written.strip())) if text in clips), None)
        if exact is not None:
            entries.found.append(exact)
        elif line.strip():
            _look_up(f"{path}, line {number}", written, finder, entries)
    return entries


def _look_up(where: str, written: bytes, finder: FileFinder, entries: _Entries) -> None:
    """Sorts an entry in that is no clip as it is written."""
    if b"\0" in written:
        raise UsageError(f"{where}: no file can have the name {os.fsdecode(written)!r}; save the list as UTF-8")
    shown = escape_path(written.strip())
    parts = [part for part in written.strip().replace(b"\\", b"/").split(b"/") if part not in (b"", b".")]
    if not parts or parts[0] == os.fsencode(BACKGROUND_FOLDER):
        return
    found = finder.find(written)
    if len(found) > 1:
        raise UsageError(f"{where}: no file is named {shown}, and {_some([*map(escape_path, found)])} are named alike; "
                         "write it as it is")  # fmt: skip
    if found:
        entries.found.append(escape_path(found[0]))
    elif not is_text(os.fsdecode(written)):
        raise UsageError(f"{where}: {shown} is not there, and is not UTF-8; save the list as UTF-8")
    elif finder.find(parts[0]) or len(parts) == 1 or _is_deeper(parts, finder):
        entries.missing.append(shown)
    else:
        entries.elsewhere.append(shown)


def _is_deeper(parts: list[bytes], finder: FileFinder) -> bool:
    """Returns whether an entry names a file that is there, and folders before it that are not."""
    return any(finder.find(b"/".join(parts[first:])) for first in range(1, len(parts)))


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
