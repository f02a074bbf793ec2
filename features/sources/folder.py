"""Lists the clips of a folder (labels from its folders, from its names, or none) or of one file."""

import os
import re
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import NothingUsableError, Reason, Reject, UsageError
from features.io.file_time import mtime_ns
from features.io.filesystem import is_uri
from features.sources.clips import Source, clip_table
from features.sources.divided_folders import check_folders
from features.sources.labels import clean_label
from features.sources.object_tree import list_objects
from features.sources.paths import AUDIO_EXTENSIONS, absolute_path, escape_path, escape_paths
from features.sources.walk import Listing, is_audio, walk

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
    if found.rejects and not found.paths:
        first = found.rejects[0]
        message = (f"no audio in {input_path}: {len(found.rejects)} files and folders cannot be read; the first: "
                   f"{first.path}: {first.reason}, {first.message}")  # fmt: skip
        raise NothingUsableError(message, found.rejects)
    if not found.paths:
        left = ", ".join(f"{count} {why}" for why, count in sorted(found.left_out.items()))
        raise UsageError(f"no audio in {input_path}" + (f" (left out: {left})" if left else ""))
    clips = _clips(found)
    if labelled:
        clips = _with_labels(clips, searched, found.rejects)
        _check_labels(clips, input_path, searched, found)
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
    status = os.stat(root)
    return "file", Listing([os.fsencode(os.path.basename(root))], [status.st_size], [mtime_ns(status)])


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
        raise UsageError(f"--label-pattern is a regular expression, and {text!r} is not one: {error}") from error
    names = set(pattern.groupindex)
    if "label" not in names or not names <= _PATTERN_GROUPS:
        raise UsageError("--label-pattern has a named group (?P<label>…), and (?P<group>…) and (?P<partition>…) where "
                         f"names have them, no others; not {text!r}")  # fmt: skip
    return pattern


def _clips(found: Listing) -> pa.Table:
    paths = pa.array(found.paths, pa.binary())
    order = pc.sort_indices(paths)
    versions = {"version": found.versions} if found.versions else {}
    files = clip_table(escape_paths(paths), found.sizes, found.mtimes_ns, **versions)
    return files.take(order).combine_chunks()


def _with_labels(clips: pa.Table, pattern: re.Pattern[str] | None, rejects: list[Reject]) -> pa.Table:
    """Returns the clips whose path has a label, with what else it names; the others become rejects."""
    if pattern is None:
        parts = pc.split_pattern(clips["path"].combine_chunks(), "/", max_splits=1)
        folders = pc.if_else(pc.equal(pc.list_value_length(parts), 2), pc.list_element(parts, 0), None)
        by_folder = folders.dictionary_encode()
        labels = pa.array(map(clean_label, by_folder.dictionary.to_pylist()), pa.string())
        named = {"label": labels.take(by_folder.indices)}
    else:
        hits = [pattern.search(path) for path in clips["path"].to_pylist()]
        named = {name: pa.array([(hit and hit[name]) or None for hit in hits], pa.string())
                for name in pattern.groupindex}  # fmt: skip
        named["label"] = pa.array(map(clean_label, named["label"].to_pylist()), pa.string())
    labelled = named["label"].is_valid()
    message = (
        "--label-pattern finds no label in it" if pattern else
        "it lies directly in the source folder; the label is the name of the first folder below that"
    )  # fmt: skip
    unlabelled = clips.filter(pc.invert(labelled))
    for path, size in zip(unlabelled["path"].to_pylist(), unlabelled["size"].to_pylist(), strict=True):
        rejects.append(Reject(path, "scan", Reason.BAD_LABEL, message, size=size))
    for name, values in named.items():
        place = clips.column_names.index(name) if name in clips.column_names else len(clips.column_names)
        clips = clips.remove_column(place) if place < len(clips.column_names) else clips
        clips = clips.add_column(place, pa.field(name, pa.string()), values)
    return clips.filter(labelled).combine_chunks()


def _check_labels(clips: pa.Table, input_path: str, pattern: re.Pattern[str] | None, found: Listing) -> None:
    """Raises `UsageError` where no clip has a label."""
    if not len(clips) and pattern:
        raise UsageError(f"--label-pattern {pattern.pattern!r} finds no label in any of the {len(found.paths)} paths "
                         f"below {input_path}, such as {escape_path(min(found.paths))}")  # fmt: skip
    if not len(clips):
        raise UsageError(
            f"no class folder in {input_path}: its {len(found.paths)} audio files lie directly in it; "
            "put each into a folder named after its class, or give --label-pattern"
        )
