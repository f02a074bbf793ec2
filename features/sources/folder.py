"""Lists the clips of a folder (labels from its folders, from its names, or none) or of one file."""

import bisect
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import NothingUsableError, Reason, Reject, UsageError
from features.io.file_time import mtime_ns
from features.io.filesystem import is_uri
from features.sources.audio_names import AUDIO_EXTENSIONS
from features.sources.clips import Source, clip_table, in_parts, numbered
from features.sources.divided_folders import check_folders
from features.sources.folder_walk import is_audio
from features.sources.labels import clean_label
from features.sources.object_tree import list_objects
from features.sources.paths import absolute_path, escape_path, escape_paths
from features.sources.walk import Listing, walk

_SHOWN_FOLDERS = 5
_PATTERN_GROUPS = {"label", "group", "partition"}


def scan(input_path: str, labelled: bool, pattern: str | None = None) -> Source:
    """Lists the audio below a folder, or the one file.

    Args:
        input_path: folder or file.
        labelled: whether clips have a label: the first folder under the root, or what `pattern` finds.
        pattern: regular expression that is searched in the relative path; its named groups are label and, where it
            has them, group and partition.

    Returns:
        The clips and what was left out.

    Raises:
        NothingUsableError: all audio in it is behind what cannot be read.
        UsageError: there is no such path, no audio in it, no label where labels are required, or the pattern
            cannot be used.
    """
    root = absolute_path(input_path)
    searched = None if pattern is None else _label_pattern(pattern)
    listed = _list(root)
    if listed is None:
        raise UsageError(f"no such file or folder: {input_path}")
    kind, found = listed
    if kind == "file":
        if labelled:
            raise UsageError(
                f"{input_path} is one file without a label; give a folder with one folder per class, or a table"
            )
        if not is_audio(os.fsencode(os.path.basename(root))):
            raise UsageError(
                f"{input_path} is not audio: its name ends in none of {' '.join(sorted(AUDIO_EXTENSIONS))}"
            )
        root = os.path.dirname(root)
    if found.rejects and not found.files:
        first = found.rejects[0]
        message = (f"no audio in {input_path}: {len(found.rejects)} files and folders cannot be read; the first: "
                   f"{first.path}: {first.reason}, {first.message}")  # fmt: skip
        raise NothingUsableError(message, found.rejects)
    if not found.files:
        left = ", ".join(f"{count} {why}" for why, count in sorted(found.left_out.items()))
        raise UsageError(f"no audio in {input_path}" + (f" (left out: {left})" if left else ""))
    files = found.files.take()
    times = files["mtime_ns"] if "mtime_ns" in files.column_names else None
    versions = {"version": files["version"]} if times is None else {}
    clips = clip_table(escape_paths(files["path"]), files["size"], times, **versions)
    if labelled:
        named = _folder_names(files["path"]) if searched is None else _named_by(searched, clips["path"])
        listed, clips = clips, _with_labels(clips, named, searched, found.rejects)
        _check_labels(clips, input_path, searched, listed)
    notes = []
    if labelled and pattern is None:
        folders = [escape_path(name) for name in sorted(found.folders)]
        found.rejects = [replace(reject, label=_label_of(reject.path, folders)) for reject in found.rejects]
        notes = check_folders(clips, input_path) + _empty_folders(clips, found.rejects, folders)
    left_out = dict(sorted(found.left_out.items()))
    return Source(kind, root, clips, left_out, found.rejects, pattern=pattern, notes=notes)


def _list(root: str) -> tuple[str, Listing] | None:
    """Returns what a place is, `folder` or `file`, with the audio in it; None where nothing is there."""
    if is_uri(root):
        return list_objects(root)
    if not os.path.exists(root):
        return None
    if os.path.isdir(root):
        return "folder", walk(os.fsencode(root))
    found, status = Listing(), os.stat(root)
    found.files.add(os.fsencode(os.path.basename(root)), status.st_size, mtime_ns(status))
    return "file", found


def _label_of(path: str, folders: list[str]) -> str | None:
    folder, below, _ = path.partition("/")
    return clean_label(folder) if below or folder in folders else None


def _empty_folders(clips: pa.Table, rejects: list[Reject], folders: list[str]) -> list[str]:
    """Returns a note of the class folders without audio, if there are any."""
    labels = {*pc.unique(clips["label"]).to_pylist(), *(reject.label for reject in rejects)}
    names = [name for name in folders if clean_label(name) not in labels]
    if not names:
        return []
    more = f" and {len(names) - _SHOWN_FOLDERS} more" if len(names) > _SHOWN_FOLDERS else ""
    return [f"no audio in these folders, which are no classes: {', '.join(names[:_SHOWN_FOLDERS])}{more}"]


def _label_pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(
            f"--label-pattern is a regular expression, and {shlex.quote(text)} is not one: {error}"
        ) from error
    names = set(pattern.groupindex)
    if "label" not in names or not names <= _PATTERN_GROUPS:
        raise UsageError("--label-pattern has a named group (?P<label>…), and (?P<group>…) and (?P<partition>…) where "
                         f"names have them, no others; not {shlex.quote(text)}")  # fmt: skip
    return pattern


def _folder_names(paths: pa.ChunkedArray) -> dict[str, pa.DictionaryArray]:
    """Returns the labels of files by their paths, which are sorted: the first folder's name, null where there is none.

    What is in one folder stands together, so that each is looked at once, and not each path.
    """
    numbers: dict[str | None, int] = {}
    found, lengths, first = list[int](), list[int](), 0
    while first < len(paths):
        folder, slash, _ = paths[first].as_py().partition(b"/")
        end = first + 1
        if slash:  # the sign after it is the least that follows on what begins so
            behind = folder + bytes([slash[0] + 1])
            end = bisect.bisect_left(range(len(paths)), behind, lo=end, key=lambda row: paths[row].as_py())
        label = clean_label(escape_path(folder)) if slash else None
        found.append(numbers.setdefault(label, len(numbers)))
        lengths.append(end - first)
        first = end
    labels = pa.array(numbers, pa.string())
    return {"label": numbered(labels).take(pa.array(np.repeat(np.array(found, np.int32), lengths)))}


def _named_by(pattern: re.Pattern[str], paths: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Returns what the groups of a pattern find in paths, null where that is nothing."""

    def searched(part: pa.Array) -> pa.Array:
        hits = [pattern.search(path) for path in part.to_pylist()]
        found = {name: [(hit and hit[name]) or None for hit in hits] for name in pattern.groupindex}
        found["label"] = [clean_label(label) for label in found["label"]]
        return pa.StructArray.from_arrays([pa.array(values, pa.string()) for values in found.values()], [*found])

    found = in_parts(paths, searched)
    columns = zip(pattern.groupindex, found.flatten(), strict=True)
    return {name: column if name == "group" else numbered(column) for name, column in columns}


def _with_labels(
    clips: pa.Table, named: Mapping[str, pa.Array], pattern: re.Pattern[str] | None, rejects: list[Reject]
) -> pa.Table:
    """Returns the clips whose path has a label, with what else it names; the others become rejects."""
    labelled = named["label"].is_valid()
    message = (
        "--label-pattern finds no label in it" if pattern else
        "it lies directly in the source folder; the label is the name of the first folder below that"
    )  # fmt: skip
    for name, values in named.items():
        place = clips.column_names.index(name) if name in clips.column_names else len(clips.column_names)
        clips = clips.remove_column(place) if place < len(clips.column_names) else clips
        clips = clips.add_column(place, name, values)
    if pc.all(labelled).as_py():
        return clips
    unlabelled = clips.filter(pc.invert(labelled))
    for path, size in zip(unlabelled["path"].to_pylist(), unlabelled["size"].to_pylist(), strict=True):
        rejects.append(Reject(path, "scan", Reason.BAD_LABEL, message, size=size))
    return clips.filter(labelled).combine_chunks()


def _check_labels(clips: pa.Table, input_path: str, pattern: re.Pattern[str] | None, listed: pa.Table) -> None:
    """Raises `UsageError` where no clip of those that were listed has a label."""
    if not len(clips) and pattern:
        raise UsageError(f"--label-pattern {shlex.quote(pattern.pattern)} finds no label in any of the "
                         f"{len(listed)} paths below {input_path}, such as {listed['path'][0]}")  # fmt: skip
    if not len(clips):
        raise UsageError(
            f"no class folder in {input_path}: its {len(listed)} audio files lie directly in it; "
            "put each into a folder named after its class, or give --label-pattern"
        )
