"""Reads a folder as `load_dataset("audiofolder")` of Hugging Face's `datasets` does.

Either files `metadata.csv`, `.jsonl` or `.parquet`, whose rows name files relative to their own folder, or the label is
the name of the folder that a file lies in. Partitions are said by names of folders, or where none says one, by a column
`partition` or `fold`, or by names of files.
Where `datasets` passes over metadata, it is read all the same: beside folders of partitions instead of in them.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from features.errors import Reason, Reject, UsageError
from features.io.filesystem import is_uri
from features.sources.clips import Source
from features.sources.folder import scan
from features.sources.folder_walk import is_hidden, is_litter
from features.sources.formats.manifests import PARTITION, check_layout
from features.sources.formats.split_names import split_of_folders, split_of_name
from features.sources.labels import clean_label
from features.sources.paths import absolute_path
from features.sources.row_clips import Reading, clips_of_rows, torn_rejects
from features.sources.table_layout import DEFAULT_COLUMNS, TableLayout, option_name
from features.sources.table_rows import Rows, read_rows

AUDIOFOLDER = "audiofolder"
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_FILE = "file_name"
_TAKEN = (
    "label_column",
    "partition_column",
    "fold_column",
    "group_column",
    "start_column",
    "end_column",
    "duration_column",
)


def scan_audiofolder(input_path: str, layout: TableLayout, partitioned: bool = True) -> Source:
    """Lists the clips of an audiofolder.

    Args:
        input_path: the folder.
        layout: of its options those of columns of the metadata, but for that of paths.
        partitioned: whether partitions are read.

    Returns:
        The clips.

    Raises:
        UsageError: the input, the metadata or an option cannot be used, or a clip is named twice.
        NothingUsableError: no file can be used.
    """
    check_layout(layout, f"--input-format {AUDIOFOLDER}", _TAKEN)
    if is_uri(input_path):
        raise UsageError(f"--input-format {AUDIOFOLDER} reads a folder of the file system, not {input_path}; of an "
                         "object store give "
                         "a table with the URIs, or a folder with one folder per class")  # fmt: skip
    if not os.path.isdir(input_path):
        raise UsageError(f"--input-format {AUDIOFOLDER} reads a folder, and {input_path} is not one")
    root = absolute_path(input_path)
    metadata = find_metadata(root)
    if metadata:
        return _of_metadata(input_path, root, metadata, layout, partitioned)
    if layout.given:
        raise UsageError(f"{layout.given[0]} names a column of {' or '.join(METADATA)}, and {input_path} has no such "
                         "file; leave the option out")  # fmt: skip
    return _of_folders(input_path, partitioned)


def find_metadata(root: str) -> list[str]:
    """Returns the files of metadata of a folder, relative to it, in the order of their names.

    Raises:
        UsageError: they are of several formats.
    """
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            name for name in folders if not is_hidden(os.fsencode(name)) and not is_litter(os.fsencode(name))
        )
        found += [os.path.relpath(os.path.join(folder, name), root) for name in METADATA if name in names]
    endings = sorted({os.path.basename(path) for path in found})
    if len(endings) > 1:
        raise UsageError(
            f"{root} has {' and '.join(endings)}, and they may say the same twice; move all of one kind away"
        )
    return found


def _of_metadata(input_path: str, root: str, metadata: Sequence[str], layout: TableLayout, partitioned: bool) -> Source:
    """Lists what metadata names."""
    tables = [read_rows(os.path.join(root, path), [_FILE, *filter(None, map(layout.column, DEFAULT_COLUMNS))])
              for path in metadata]  # fmt: skip
    for rows in tables:
        rows.require(_FILE, "its first column")
        rows.require(layout.column("label") or "", "--label-column")
    rejects = [replace(reject, path=_below(path, reject.path)) for path, rows in zip(metadata, tables, strict=True)
               for reject in torn_rejects(rows)]  # fmt: skip
    tables = [replace(rows, name=path, torn=()) for path, rows in zip(metadata, tables, strict=True)]
    used = _used(tables, layout, partitioned)
    values = {name: [value for rows in tables for value in rows.values[name]]
              for name in (_FILE, *(column for role, column in used.items() if role != "path"))}  # fmt: skip
    values[_FILE] = [
        _below(path, value) for path, rows in zip(metadata, tables, strict=True) for value in rows.values[_FILE]
    ]
    numbers = [number for rows in tables for number in rows.numbers]
    files = [rows.name for rows in tables for _ in rows.numbers] if len(tables) > 1 else ()
    joined = Rows(metadata[0] if len(metadata) == 1 else os.path.basename(root), tables[0].unit, list(values), values,
    numbers,
                  separator=tables[0].separator, files=files)  # fmt: skip
    left_out = {}
    if partitioned and layout.partition_column is None and layout.fold_column is None:
        splits = _splits(values[_FILE], of_names=not {"partition", "fold"} & used.keys())
        if any(splits):
            inside = [row for row, split in enumerate(splits) if split is not None or not values[_FILE][row].strip()]
            left_out = _outside(len(splits) - len(inside))
            joined = replace(joined, values={**values, PARTITION: [split or "" for split in splits]}).select(inside)
            used = {role: name for role, name in used.items() if role != "fold"} | {"partition": PARTITION}
    if not numbers and not rejects:
        raise UsageError(f"no audio in {input_path}: no row in {' or '.join(metadata[:3])}")
    layout = TableLayout(path_column=_FILE)
    source = clips_of_rows(joined, Reading(input_path, root, layout, used), rejects)
    return replace(source, kind=AUDIOFOLDER, table=None, left_out=left_out)


def _used(tables: Sequence[Rows], layout: TableLayout, partitioned: bool) -> dict[str, str]:
    """Returns the column of each role, of metadata that all has it."""
    used = {"path": _FILE}
    for role in DEFAULT_COLUMNS:
        name = layout.column(role)
        is_given = getattr(layout, f"{role}_column") is not None
        there = [rows for rows in tables if name in rows.columns]
        if name is None or (role in ("partition", "fold") and not partitioned) or not (there or is_given):
            continue
        if len(there) < len(tables) or is_given:
            for rows in tables:
                rows.require(name, option_name(f"{role}_column"))
        used[role] = name
    if "partition" in used and "fold" in used:
        del used["fold" if layout.fold_column is None else "partition"]
    return used


def _below(metadata: str, name: str) -> str:
    """Returns a path relative to the root, of one that is relative to the folder of its metadata."""
    folder = os.path.dirname(metadata)
    return os.path.join(folder, name) if folder and name.strip() else name


def _of_folders(input_path: str, partitioned: bool) -> Source:
    """Lists the files of folders, whose names are the labels."""
    source = scan(input_path, labelled=False)
    paths = source.clips["path"].to_pylist()
    depths = Counter(path.count("/") for path in paths)
    if len(depths) > 1:
        shown = [min(path for path in paths if path.count("/") == depth) for depth in sorted(depths)[:2]]
        raise UsageError(f"the files of {input_path} lie at different depths, such as {shown[0]} and {shown[1]}, so "
                         "that audiofolder has no labels; leave --input-format out where the first folder is the "
                         "label")  # fmt: skip
    splits = _splits(paths)
    labels: list[str | None] = []
    taken: list[bool] = []
    rejects: list[Reject] = list(source.rejects)
    for path, split in zip(paths, splits, strict=True):
        folders = path.split("/")[:-1]
        is_split = bool(folders) and split_of_name(folders[-1]) is not None
        label = clean_label(folders[-1]) if folders and not is_split else None
        if label is None:
            where = "of its partition; the label is the name of a folder below that" if is_split else "that is read"
            message = f"it lies directly in the folder {where}"
            rejects.append(Reject(path, "scan", Reason.BAD_LABEL, message))
        labels.append(label)
        taken.append(label is not None and (split is not None or not any(splits)))
    clips = source.clips.set_column(source.clips.column_names.index("label"), "label", pa.array(labels, pa.string()))
    if partitioned and any(splits):
        clips = clips.append_column("partition", pa.array(splits, pa.string()))
    left_out = {**source.left_out, **_outside(sum(label is not None for label in labels) - sum(taken))}
    clips = clips.filter(pa.array(taken, pa.bool_())).combine_chunks()
    if not len(clips):
        raise UsageError(f"no label in {input_path}: {rejects[-1].path}: {rejects[-1].message}; metadata.csv with the "
                         "columns file_name and label says them otherwise")  # fmt: skip
    return replace(source, kind=AUDIOFOLDER, clips=clips, rejects=rejects, left_out=left_out)


def _outside(count: int) -> dict[str, int]:
    """Returns what is left out by reason: files in no partition, where others are in one."""
    return {"files in no partition": count} if count else {}


def _splits(paths: Sequence[str], of_names: bool = True) -> list[str | None]:
    """Returns the partition that the folders of each path say; where none of them says one, that of the names.

    Args:
        paths: of the files.
        of_names: whether names of files say partitions.
    """
    parts = [path.split("/") for path in paths]
    by_folders = [split_of_folders(folders[:-1]) for folders in parts]
    if any(by_folders) or not of_names:
        return by_folders
    return [split_of_name(folders[-1]) for folders in parts]
